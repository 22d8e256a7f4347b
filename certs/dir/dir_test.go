package dir

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/certs/certstest"
	"relay/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is a poll interval that no test lives to see.
const never = time.Hour

func TestServeNoticesChanges(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	first := ca.TestIssue(t, []string{"a.test"}, options{})
	second := ca.TestIssue(t, []string{"a.test"}, options{})
	for name, test := range map[string]struct {
		poll    time.Duration
		path    string
		prepare func(*testing.T, *fixture)
		renew   func(*testing.T, *fixture)
		notice  func(*testing.T, *Source)
	}{
		"a file written anew": {
			poll: never, path: "d",
			prepare: func(_ *testing.T, f *fixture) { f.write("d/a.pem", first.Bundle()) },
			renew:   func(_ *testing.T, f *fixture) { f.write("d/a.pem", second.Bundle()) },
		},
		"a file renamed into place": {
			poll: never, path: "d",
			prepare: func(_ *testing.T, f *fixture) { f.write("d/a.pem", first.Bundle()) },
			renew: func(t *testing.T, f *fixture) {
				f.write("d/xyza.pem.new", second.Bundle())
				if err := os.Rename(f.path("d/xyza.pem.new"), f.path("d/a.pem")); err != nil {
					t.Fatal(err)
				}
			},
		},
		"marathon-acme's folder": {
			poll: never, path: "d",
			prepare: func(_ *testing.T, f *fixture) { f.write("d/certs/a.pem", first.Bundle()) },
			renew:   func(_ *testing.T, f *fixture) { f.write("d/certs/a.pem", second.Bundle()) },
		},
		"a single file": {
			poll: never, path: "d/a.pem",
			prepare: func(_ *testing.T, f *fixture) { f.write("d/a.pem", first.Bundle()) },
			renew:   func(_ *testing.T, f *fixture) { f.write("d/a.pem", second.Bundle()) },
		},
		"a Kubernetes volume": {
			poll: never, path: "d",
			prepare: func(t *testing.T, f *fixture) {
				f.write("d/..one/tls.crt", certstest.Join(first.Leaf, first.Chain))
				f.write("d/..one/tls.key", first.Key)
				f.link(t, "..one", "d/..data")
				f.link(t, "..data/tls.crt", "d/tls.crt")
				f.link(t, "..data/tls.key", "d/tls.key")
			},
			renew: func(t *testing.T, f *fixture) {
				f.write("d/..two/tls.crt", certstest.Join(second.Leaf, second.Chain))
				f.write("d/..two/tls.key", second.Key)
				f.link(t, "..two", "d/..data_tmp")
				if err := os.Rename(f.path("d/..data_tmp"), f.path("d/..data")); err != nil {
					t.Fatal(err)
				}
				f.remove("d/..one")
			},
		},
		"certbot's links": {
			poll: never, path: "le/live",
			prepare: func(t *testing.T, f *fixture) { f.certbot(t, "a.test", "1", first) },
			renew:   func(t *testing.T, f *fixture) { f.certbot(t, "a.test", "2", second) },
		},
		"polling, where nothing is reported": {
			poll: 50 * time.Millisecond, path: "d",
			prepare: func(t *testing.T, f *fixture) {
				f.write("elsewhere/a.pem", first.Bundle())
				f.write("d/z.pem", first.Bundle())
				f.link(t, f.path("elsewhere/a.pem"), "d/a.pem")
				f.remove("d/z.pem")
			},
			renew: func(_ *testing.T, f *fixture) { f.write("elsewhere/a.pem", second.Bundle()) },
		},
		"a reload, where nothing is reported": {
			poll: never, path: "d",
			prepare: func(t *testing.T, f *fixture) {
				f.write("elsewhere/a.pem", first.Bundle())
				f.write("d/z.pem", first.Bundle())
				f.link(t, f.path("elsewhere/a.pem"), "d/a.pem")
				f.remove("d/z.pem")
			},
			renew: func(_ *testing.T, f *fixture) { f.write("elsewhere/a.pem", second.Bundle()) },
			notice: func(t *testing.T, s *Source) {
				if err := s.Reload(t.Context()); err != nil {
					t.Error(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			test.prepare(t, f)
			sink := certstest.NewSink()
			s, _ := serve(t, Config{Paths: []string{f.path(test.path)}, PollInterval: test.poll}, sink)
			sink.WaitFor(t, "the first certificate", func(s certstest.Sync) bool { return s.Fingerprint("a.test") == first.Fingerprint })
			test.renew(t, f)
			if test.notice != nil {
				test.notice(t, s)
			}
			got := sink.WaitFor(t, "the renewed certificate", func(s certstest.Sync) bool { return s.Fingerprint("a.test") == second.Fingerprint })
			if got.Source != "dir" || len(got.Certificates) != 1 {
				t.Errorf("%s: %v", got.Source, got.Certificates)
			}
		})
	}
}

func TestServeDropsARemovedFileByItself(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	f := newFixture(t)
	f.write("d/a.pem", ca.TestIssue(t, []string{"a.test"}, options{}).Bundle())
	f.write("d/b.pem", ca.TestIssue(t, []string{"b.test"}, options{}).Bundle())
	sink := certstest.NewSink()
	serve(t, Config{Paths: []string{f.path("d")}, PollInterval: never}, sink)
	sink.WaitFor(t, "both", func(s certstest.Sync) bool { return len(s.Certificates) == 2 })
	f.remove("d/a.pem")
	sink.WaitFor(t, "a removal to confirm", func(s certstest.Sync) bool {
		return len(s.Certificates) == 2 && strings.Contains(s.Problem("a.pem"), "gone")
	})
	sink.WaitFor(t, "one less", func(s certstest.Sync) bool { return len(s.Certificates) == 1 && len(s.Problems) == 0 })
}

func TestReloadSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("d/a.pem", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}).Bundle())
	sink := certstest.NewSink()
	s, _ := serve(t, Config{Paths: []string{f.path("d")}, PollInterval: never}, sink)
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := s.Status()
	if good.Source != "dir" || good.Certificates != 1 || good.LastGoodRead.IsZero() || good.LastError != "" {
		t.Errorf("status %+v", good)
	}
	if err := os.Rename(f.path("d"), f.path("away")); err != nil {
		t.Fatal(err)
	}
	err := s.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), f.path("d")) {
		t.Fatalf("got %v, want an error that names the directory", err)
	}
	if bad := s.Status(); bad.LastError != err.Error() || bad.Certificates != 1 {
		t.Errorf("status %+v", bad)
	}
	if last := sink.Last(); len(last.Certificates) != 1 {
		t.Error("the failed read reached the sink")
	}
	if err := os.Rename(f.path("away"), f.path("d")); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err != nil || s.Status().LastError != "" {
		t.Error(err, s.Status())
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	bad := ca.TestIssue(t, []string{"bad.test"}, options{})
	good := ca.TestIssue(t, []string{"a.test"}, options{})
	f := newFixture(t)
	f.write("d/a.pem", good.Bundle())
	f.write("d/mismatch.pem", certstest.Join(bad.Key, good.Leaf))
	f.write("d/half.pem", bad.Key[:150])
	f.write("d/broken.pem", certstest.Join(good.Leaf, bytes.Replace(bad.Key, []byte("M"), []byte("N"), 1)))
	f.chmod(t, "d/a.pem", 0o644)
	sink := certstest.NewSink()
	s, logs := serve(t, Config{Paths: []string{f.path("d")}}, sink)
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := sink.Last()
	if len(last.Problems) != 4 {
		t.Fatalf("problems %v", last.Problems)
	}
	text := logs.String()
	for _, p := range last.Problems {
		if !strings.Contains(text, p.Subject) {
			t.Errorf("%s is not in the log", p.Subject)
		}
		text += p.Reason
	}
	if n := strings.Count(logs.String(), "half.pem"); n != 1 {
		t.Errorf("a problem that lasts was logged %d times", n)
	}
	for _, issued := range []*certstest.Issued{good, bad} {
		for _, line := range strings.Split(string(issued.Key), "\n") {
			if len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(text, line) {
				t.Errorf("key material was told: %s", line)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]Config{"no path": {}, "an empty path": {Paths: []string{""}}} {
		if _, err := New(config, certstest.NewSink(), slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// serve runs a source until the test ends.
func serve(t *testing.T, config Config, sink *certstest.Sink) (*Source, *logtest.Buffer) {
	t.Helper()
	logs := &logtest.Buffer{}
	logger := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(config, sink, logger, prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx); ctx.Err() == nil {
			t.Errorf("Serve ended by itself: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return s, logs
}
