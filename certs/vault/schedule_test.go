package vault

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/certs/certstest"
	"relay/internal/logtest"
)

// Replicas that were started together do not stay together.
func TestPollsAreSpread(t *testing.T) {
	t.Parallel()
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := jittered(time.Minute)
		least, most = min(least, d), max(most, d)
	}
	if least < 48*time.Second || least > 50*time.Second || most > 72*time.Second || most < 70*time.Second {
		t.Errorf("from %s to %s, want a minute, up to a fifth less or more", least, most)
	}
}

func TestCertificatesAreReadFourAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		vault, ca := newFakeVault(), certstest.TestCA(t)
		for i := range 20 {
			name := fmt.Sprintf("n%d.test", i)
			vault.publish(t, name, ca.TestIssue(t, []string{name}, options{}))
		}
		var now, most atomic.Int32
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			vault.ServeHTTP(w, r)
		})
		sink := certstest.NewSink()
		net := newNetwork(t, map[string]http.Handler{"vault.test": slow})
		start(t, Config{Addresses: []string{"http://vault.test"}, Token: "hush-token", dial: net.dial}, sink, &logtest.Buffer{})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := len(sink.Last().Names()); n != 20 || most.Load() != 4 {
			t.Errorf("%d names, %d requests at once, want 20 and 4", n, most.Load())
		}
	})
}

// When Vault goes away in the middle of a read, not every certificate is tried.
func TestVaultGoesAwayInTheMiddleOfARead(t *testing.T) {
	const many = 100
	publish := func(w *world) {
		for i := range many {
			name := fmt.Sprintf("n%d.test", i)
			w.vault.publish(w.T, name, w.issue(name))
		}
	}
	inWorld(t, publish, func(w *world) {
		before := w.sink.Last()
		publish(w)
		w.vault.take()
		w.vault.change(func(f *fakeVault) {
			f.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/certificates/") {
					return false
				}
				reply(rw, 500, `{"errors":["storage"]}`)
				return true
			}
		})
		if err := w.reload(); err == nil || !strings.Contains(err.Error(), "none of the 100 changed certificates") || !strings.Contains(err.Error(), "storage") {
			t.Errorf("got %v", err)
		}
		if n := countPrefix(w.vault.take(), "GET /v1/secret/data/certificates/"); n < giveUpAfter || n > giveUpAfter+concurrency {
			t.Errorf("%d certificates were tried", n)
		}
		for i := range many {
			name := fmt.Sprintf("n%d.test", i)
			if got := w.sink.Last().Fingerprint(name); got != before.Fingerprint(name) {
				t.Fatalf("%s: another certificate, or none, is served", name)
			}
		}
		w.vault.change(func(f *fakeVault) { f.intercept = nil })
		w.sleep(nextPoll)
		for _, c := range w.sink.Last().Certificates {
			if c.Fingerprint == before.Fingerprint(c.Name) {
				t.Fatalf("%s was not read again", c.Name)
			}
		}
	})
}
