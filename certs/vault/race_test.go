package vault

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/certs/certstest"
	"relay/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type options = certstest.Options

const poll = time.Minute

// nextPoll is long enough for exactly one poll when slept from a poll on.
const nextPoll = poll*12/10 + time.Millisecond

// world is a fake Vault with a Source that reads it, in a synctest bubble.
type world struct {
	*testing.T
	vault  *fakeVault
	ca     *certstest.CA
	sink   *certstest.Sink
	source *Source
	logs   *logtest.Buffer
}

func inWorld(t *testing.T, prepare, test func(*world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, vault: newFakeVault(), ca: certstest.TestCA(t), sink: certstest.NewSink(), logs: &logtest.Buffer{}}
		prepare(w)
		net := newNetwork(t, map[string]http.Handler{"vault.test": w.vault})
		w.source = start(t, Config{Addresses: []string{"http://vault.test"}, Token: "hush-token", PollInterval: poll, dial: net.dial}, w.sink, w.logs)
		synctest.Wait()
		test(w)
	})
}

// start serves until the test ends.
func start(t *testing.T, config Config, sink *certstest.Sink, logs *logtest.Buffer) *Source {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	source, err := New(config, sink, logger, prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	run(t, source)
	return source
}

// run serves until the test ends.
func run(t *testing.T, source *Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := source.Serve(ctx); ctx.Err() == nil {
			t.Errorf("Serve ended by itself: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func (w *world) issue(name string) *certstest.Issued {
	return w.ca.TestIssue(w.T, []string{name}, options{})
}

func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) reload() error { return w.source.Reload(w.Context()) }

func (w *world) names(want ...string) {
	w.Helper()
	if diff := cmp.Diff(want, w.sink.Last().Names()); diff != "" {
		w.Errorf("names: %s", diff)
	}
}

func (w *world) problem(name, want string) {
	w.Helper()
	if got := w.sink.Last().Problem(name); !strings.Contains(got, want) || want == "" && got != "" {
		w.Errorf("problem of %s is %q, want %q", name, got, want)
	}
}

func (w *world) serves(name string, issued *certstest.Issued) {
	w.Helper()
	if got := w.sink.Last().Fingerprint(name); got != issued.Fingerprint {
		w.Errorf("another certificate, or none, is served for %s", name)
	}
}

func TestTwoRequestsPerPollWhenNothingChanged(t *testing.T) {
	inWorld(t, func(w *world) {
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
		w.vault.publish(w.T, "b.test", w.issue("b.test"))
	}, func(w *world) {
		w.names("a.test", "b.test")
		w.vault.take()
		for range 3 {
			w.sleep(nextPoll)
		}
		for _, r := range w.vault.take() {
			if r != "GET /v1/secret/data/live" && r != "GET /v1/secret/metadata/authorities?list=true" {
				t.Errorf("unneeded request %s", r)
			}
		}
		w.vault.publish(w.T, "b.test", w.issue("b.test"))
		w.sleep(nextPoll)
		requests := w.vault.take()
		if n := countPrefix(requests, "GET /v1/secret/data/certificates/"); n != 1 {
			t.Errorf("%d certificates were read for one that changed: %q", n, requests)
		}
	})
}

func TestSignalBeforeTheReplicaCaughtUp(t *testing.T) {
	var first, second *certstest.Issued
	inWorld(t, func(w *world) {
		first, second = w.issue("a.test"), w.issue("a.test")
		w.vault.publish(w.T, "a.test", first)
	}, func(w *world) {
		began := time.Now()
		if err := w.reload(); err != nil {
			t.Fatal(err)
		}
		w.sleep(2 * time.Second) // the read after one second finds nothing either
		w.vault.publish(w.T, "a.test", second)
		w.sink.WaitFor(t, "the renewed certificate", func(s certstest.Sync) bool { return s.Fingerprint("a.test") == second.Fingerprint })
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %s, not 3s", took)
		}
		count := w.sink.Last().Count
		w.sleep(9 * time.Second)
		if got := w.sink.Last().Count; got != count {
			t.Errorf("%d more reads after the change was found", got-count)
		}
	})
}

func TestFollowUpsEnd(t *testing.T) {
	inWorld(t, func(w *world) { w.vault.publish(w.T, "a.test", w.issue("a.test")) }, func(w *world) {
		if err := w.reload(); err != nil {
			t.Fatal(err)
		}
		count := w.sink.Last().Count
		w.sleep(20 * time.Second)
		if got := w.sink.Last().Count - count; got != 3 {
			t.Errorf("%d reads followed the signal, want 3", got)
		}
	})
}

func TestSignalStorm(t *testing.T) {
	inWorld(t, func(w *world) { w.vault.publish(w.T, "a.test", w.issue("a.test")) }, func(w *world) {
		w.vault.take()
		release := make(chan struct{})
		w.vault.change(func(f *fakeVault) {
			f.intercept = func(http.ResponseWriter, *http.Request) bool { <-release; return false }
		})
		results := make(chan error, 201)
		go func() { results <- w.reload() }()
		synctest.Wait() // the first read is running
		for range 200 {
			go func() { results <- w.reload() }()
		}
		synctest.Wait()
		close(release)
		for range 201 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := countPrefix(w.vault.take(), "GET /v1/secret/data/live"); n != 2 {
			t.Errorf("%d reads for the storm, want 2", n)
		}
	})
}

func TestCertificateWrittenButLiveStillOld(t *testing.T) {
	var first *certstest.Issued
	inWorld(t, func(w *world) {
		first = w.issue("a.test")
		w.vault.publish(w.T, "a.test", first)
		w.vault.store("a.test", w.issue("a.test"))
	}, func(w *world) {
		w.serves("a.test", first)
		w.problem("a.test", "")
	})
}

// A mount that was restored counts versions anew.
func TestSameVersionWithAnotherFingerprint(t *testing.T) {
	var second *certstest.Issued
	inWorld(t, func(w *world) { w.vault.publish(w.T, "a.test", w.issue("a.test")) }, func(w *world) {
		second = w.issue("a.test")
		w.vault.change(func(f *fakeVault) { f.entries["a.test"] = nil })
		w.vault.publish(w.T, "a.test", second)
		w.sleep(nextPoll)
		w.serves("a.test", second)
		w.problem("a.test", "")
	})
}

func TestVersionThatLiveNamesIsGone(t *testing.T) {
	var second *certstest.Issued
	inWorld(t, func(w *world) {
		first := w.issue("a.test")
		second = w.issue("a.test")
		w.vault.publish(w.T, "a.test", first)
		w.vault.store("a.test", second)
		w.vault.change(func(f *fakeVault) { f.entries["a.test"][0] = nil })
	}, func(w *world) {
		w.serves("a.test", second)
		w.problem("a.test", "version 2 is used")
		w.problem("a.test", "live expects the fingerprint")
	})
}

func TestCertificateGoneFromVault(t *testing.T) {
	var kept *certstest.Issued
	inWorld(t, func(w *world) {
		kept = w.ca.TestIssue(w.T, []string{"a.test"}, options{NotAfter: time.Now().Add(time.Hour)})
		w.vault.publish(w.T, "a.test", kept)
		w.vault.publish(w.T, "b.test", w.issue("b.test"))
		w.vault.publish(w.T, "never.test", w.issue("never.test"))
		w.vault.change(func(f *fakeVault) { delete(f.entries, "never.test") })
	}, func(w *world) {
		w.names("a.test", "b.test") // a cold start skips the name
		w.problem("never.test", "nothing is served for it")
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
		w.vault.change(func(f *fakeVault) { f.entries["a.test"] = []map[string]string{nil, nil} })
		w.sleep(nextPoll)
		w.serves("a.test", kept)
		w.problem("a.test", "last good certificate stays in use")
		w.sleep(time.Hour) // until it expires
		w.names("b.test")
	})
}

func TestNameLeavesLiveAfterTwoReads(t *testing.T) {
	inWorld(t, func(w *world) {
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
		w.vault.publish(w.T, "b.test", w.issue("b.test"))
	}, func(w *world) {
		w.vault.setLive("a.test", nil)
		if err := w.reload(); err != nil {
			t.Fatal(err)
		}
		w.names("a.test", "b.test")
		if err := w.reload(); err != nil {
			t.Fatal(err)
		}
		w.names("b.test")
	})
}

func TestEmptyLiveIsBelievedAfterThreePolls(t *testing.T) {
	for name, empty := range map[string]func(*fakeVault){
		"no names": func(f *fakeVault) { f.live, f.version = map[string]any{}, f.version+1 },
		"404":      func(f *fakeVault) { f.live, f.version = nil, 0 },
		"deleted":  func(f *fakeVault) { f.live = nil },
		"older":    func(f *fakeVault) { delete(f.live, "a.test"); f.version-- },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.vault.publish(w.T, "b.test", w.issue("b.test"))
				w.vault.publish(w.T, "a.test", w.issue("a.test"))
			}, func(w *world) {
				w.vault.change(empty)
				for range 5 {
					if err := w.reload(); err == nil { // signals do not count
						t.Fatal("no error")
					}
				}
				w.vault.take()
				began := time.Now()
				for w.sink.Last().Fingerprint("a.test") != "" && time.Since(began) < time.Hour {
					w.sleep(time.Second)
				}
				if n := countPrefix(w.vault.take(), "GET /v1/secret/data/live"); n != 4 {
					t.Errorf("believed after %d polls, want three that are failures and one more", n)
				}
				if took := time.Since(began); took < 3*poll*8/10 || took > 4*nextPoll+time.Second {
					t.Errorf("believed after %s, want four polls", took)
				}
			})
		})
	}
}

func TestNothingWrittenYet(t *testing.T) {
	inWorld(t, func(*world) {}, func(w *world) {
		if last := w.sink.Last(); last.Count != 1 || len(last.Certificates)+len(last.Problems) != 0 {
			t.Errorf("got %+v, want an empty sync", last)
		}
	})
}

func TestBadEntriesCostOnlyThemselves(t *testing.T) {
	inWorld(t, func(w *world) {
		good := w.issue("good.test")
		w.vault.publish(w.T, "good.test", good)
		object := w.issue("object.test")
		w.vault.setLive("object.test", map[string]any{"version": w.vault.store("object.test", object), "fingerprint": object.Fingerprint})
		w.vault.setLive("text.test", "not JSON")
		w.vault.setLive("number.test", 7)
		w.vault.setLive("zero.test", `{"version": 0}`)
		w.vault.setLive("../client_key", `{"version": 1}`)
		w.vault.setLive("a/b", `{"version": 1}`)
		w.vault.setLive("tab\t.test", `{"version": 1}`)
		w.vault.setLive("percent%2Fname.test", `{"version": 1}`)
		w.vault.storeFields("garbage.test", map[string]string{"privkey": "x", "cert": "y", "chain": ""})
		w.vault.setLive("garbage.test", `{"version": 1}`)
		w.vault.storeFields("fields.test", map[string]string{"other": "x"})
		w.vault.setLive("fields.test", `{"version": 1}`)
		w.vault.storeFields("mismatch.test", map[string]string{"privkey": string(object.Key), "cert": string(good.Leaf), "chain": string(good.Chain)})
		w.vault.setLive("mismatch.test", `{"version": 1}`)
		old := w.issue("elixir.test")
		w.vault.storeFields("elixir.test", map[string]string{"key": string(old.Key), "cert_chain": string(old.Leaf) + string(old.Chain)})
		w.vault.setLive("elixir.test", `{"version": 1, "dns_names": ["elixir.test", "gone.test"]}`)
		other := w.issue("other.test")
		w.vault.publish(w.T, "label", other)
	}, func(w *world) {
		w.names("elixir.test", "good.test", "object.test", "other.test")
		for name, want := range map[string]string{
			"good.test": "", "object.test": "", "text.test": "in JSON", "number.test": "in JSON", "zero.test": "no version",
			"../client_key": "path segment", "a/b": "path segment", "tab": "control characters", "percent": "deleted or was never written",
			"garbage.test": "no PEM block", "fields.test": "none of the fields", "mismatch.test": "belongs to none",
			"elixir.test": `covers "gone.test"`, "label": "does not cover the name",
		} {
			w.problem(name, want)
		}
		requests := w.vault.take()
		if n := countPrefix(requests, "GET /v1/secret/data/certificates/percent%252Fname.test"); n != 2 {
			t.Errorf("the name was not escaped: %q", requests)
		}
		for _, r := range requests {
			if strings.Contains(r, "client_key") {
				t.Errorf("the account key was read: %s", r)
			}
		}
	})
}

func TestBadRenewalKeepsTheGoodOne(t *testing.T) {
	var good *certstest.Issued
	inWorld(t, func(w *world) {
		good = w.issue("a.test")
		w.vault.publish(w.T, "a.test", good)
	}, func(w *world) {
		w.vault.storeFields("a.test", map[string]string{"privkey": "x"})
		w.vault.setLive("a.test", `{"version": 2}`)
		w.sleep(nextPoll)
		w.serves("a.test", good)
		w.problem("a.test", "version 2: no PEM block found; its last good")
		w.vault.setLive("a.test", "now not even JSON")
		w.sleep(nextPoll)
		w.serves("a.test", good)
	})
}
