package dir

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/internal/files"
	"relay/internal/logtest"
	"relay/internal/panics"
)

// A file that panics where it is parsed costs itself only. Its stack is logged
// once, however often it is scanned.
func TestPanicCostsOneFile(t *testing.T) {
	t.Parallel()
	f, ca, logs := newFixture(t), certstest.TestCA(t), new(logtest.Buffer)
	for _, name := range []string{"bad.test", "good.test"} {
		f.write("d/"+name+".pem", ca.TestIssue(t, []string{name}, options{}).Bundle())
	}
	s := f.scanner("d")
	s.logger = slog.New(slog.NewTextHandler(logs, nil))
	s.parse = func(content []byte) (*certs.Certificate, []string, error) {
		c, notes, err := certs.ParsePEM(content)
		if err == nil && c.ServerNames[0] == "bad.test" {
			panic("no such block")
		}
		return c, notes, err
	}
	for range 3 {
		got, err := s.scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.certificates) != 1 || len(got.problems) != 1 || !strings.Contains(got.problems[0].Reason, "a bug in Relay was hit") {
			t.Errorf("certificates %v, problems %v", got.certificates, got.problems)
		}
	}
	if lines := logs.Lines("recovered from a panic"); len(lines) != 1 || !strings.Contains(lines[0], "panic_test.go") {
		t.Errorf("logged %q, want one stack", lines)
	}
}

// A panic on the watcher's goroutine ends Serve, for the supervisor to see.
func TestWatcherPanics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	source, err := New(Config{Paths: []string{f.root}}, certstest.NewSink(), slog.New(slog.DiscardHandler), prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	w := files.NewWatcher(func(fsnotify.Event) bool { panic("no such path") }, slog.New(slog.DiscardHandler))
	defer w.Close()
	w.Add(f.root)
	f.write("a.pem", nil)
	never := time.NewTimer(time.Hour)
	defer never.Stop()
	if err := source.wait(t.Context(), w, never, never); !panics.Is(err) {
		t.Errorf("waiting ended by %v, want the panic", err)
	}
}
