package vault

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/internal/logtest"
)

// A certificate that panics where it is fetched, on a goroutine of its own, or
// where it is parsed costs itself only, until it is another one. The stack is
// logged once, however often it is read.
func TestPanicCostsOneCertificate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, vault: newFakeVault(), ca: certstest.TestCA(t), sink: certstest.NewSink(), logs: &logtest.Buffer{}}
		for _, name := range []string{"good.test", "fetch.test", "parse.test"} {
			w.vault.publish(t, name, w.issue(name))
		}
		net := newNetwork(t, map[string]http.Handler{"vault.test": w.vault})
		source, err := New(Config{Addresses: []string{"http://vault.test"}, Token: "hush-token", PollInterval: poll, dial: net.dial},
			w.sink, slog.New(slog.NewTextHandler(w.logs, nil)), prometheus.NewPedanticRegistry())
		if err != nil {
			t.Fatal(err)
		}
		var mended atomic.Bool
		source.transport.base.Proxy = func(r *http.Request) (*url.URL, error) {
			if strings.HasSuffix(r.URL.Path, "/fetch.test") && !mended.Load() {
				panic("no such proxy")
			}
			return nil, nil
		}
		source.reader.known.parse = func(data map[string]json.RawMessage) (*certs.Certificate, []string, error) {
			c, notes, err := parseCertificate(data)
			if err == nil && c.ServerNames[0] == "parse.test" && !mended.Load() {
				panic("no such field")
			}
			return c, notes, err
		}
		w.source = source
		run(t, source)
		w.sleep(6 * poll)
		w.names("good.test")
		if lines := w.logs.Lines("recovered from a panic"); len(lines) != 2 || !strings.Contains(strings.Join(lines, ""), "panic_test.go") {
			t.Errorf("logged %q, want two stacks", lines)
		}
		for _, name := range []string{"fetch.test", "parse.test"} {
			if got := w.sink.Last().Problem(name); !strings.Contains(got, "a bug in Relay was hit") {
				t.Errorf("%s: problem %q", name, got)
			}
		}
		renewed := w.issue("good.test")
		w.vault.publish(t, "good.test", renewed)
		w.sleep(2 * poll)
		if got := w.sink.Last().Fingerprint("good.test"); got != renewed.Fingerprint {
			t.Error("good.test is not renewed")
		}
		mended.Store(true)
		w.vault.publish(t, "parse.test", w.issue("parse.test"))
		w.sleep(2 * poll)
		w.names("fetch.test", "good.test", "parse.test")
	})
}
