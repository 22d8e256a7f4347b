package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// world has Relays that ask each other without a network.
type world struct {
	mu     sync.Mutex
	relays map[string]*relay // by host
	// questions counts them, by host.
	questions map[string]int
}

// relay is one of them.
type relay struct {
	*Peers
	log bytes.Buffer

	mu      sync.Mutex
	against string
	loads   []Report
	has     []Envoy
	missing []Envoy
	// broken answers in place of the Relay, if it is set.
	broken func(*http.Request) (*http.Response, error)
}

// Report implements Local.
func (r *relay) Report(app string) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Report{App: app, Against: r.against}
}

// Loads implements Local.
func (r *relay) Loads() []Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.loads)
}

// Reporting implements Local.
func (r *relay) Reporting(envoys []Envoy) []Envoy {
	return slices.DeleteFunc(slices.Clone(envoys), func(e Envoy) bool { return !slices.Contains(r.has, e) })
}

// Missing implements Local.
func (r *relay) Missing() []Envoy { return r.missing }

// newWorld starts Relays, each of which has the addresses of all, its own too.
func newWorld(hosts ...string) *world {
	w := &world{relays: make(map[string]*relay), questions: make(map[string]int)}
	var urls []string
	for _, host := range hosts {
		urls = append(urls, "http://"+host)
	}
	for _, host := range hosts {
		r := new(relay)
		r.Peers = New(Config{URLs: urls}, r, slog.New(slog.NewTextHandler(&r.log, nil)))
		r.client.Transport = w
		w.relays[host] = r
	}
	return w
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	r := w.relays[req.URL.Host]
	w.questions[req.URL.Host]++
	w.mu.Unlock()
	if r == nil {
		return nil, errors.New("connection refused")
	}
	r.mu.Lock()
	broken := r.broken
	r.mu.Unlock()
	if broken != nil {
		return broken(req)
	}
	query := req.URL.Query()
	q, err := Parse(query.Get("apps"), query.Get("envoys"), query.Get("slots"), query.Get("loads") == "true")
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r.Answer(q))
	return answered(200, string(text)), err
}

// asked is how many questions a Relay was asked.
func (w *world) asked(host string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.questions[host]
}

func (r *relay) breakBy(f func(*http.Request) (*http.Response, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = f
}

func answered(status int, text string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(text))}
}

// Who asks hears all others, never itself, and of one that cannot be asked that it could not.
func TestReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { testReports(t, newWorld("a", "b", "c")) })
}

func testReports(t *testing.T, w *world) {
	w.relays["b"].against = "3 requests are in progress"
	reports, err := w.relays["a"].Reports(t.Context(), "/shop/web")
	if got := fmt.Sprint(reports); err != nil || len(reports) != 2 || !strings.Contains(got, "http://b /shop/web   3 requests") || !strings.Contains(got, "http://c /shop/web ") {
		t.Fatalf("%s, %v", got, err)
	}
	for _, tt := range []struct {
		broken func(*http.Request) (*http.Response, error)
		want   string
	}{
		{func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, "http://b cannot be asked: connection refused"},
		{func(*http.Request) (*http.Response, error) { return answered(404, ""), nil }, "it runs without --scaling"},
		{func(*http.Request) (*http.Response, error) { return answered(401, "s.secret"), nil }, "it answers 401: it does not let this Relay in"},
		{func(*http.Request) (*http.Response, error) { return answered(302, ""), nil }, "it answers 302"},
		{func(*http.Request) (*http.Response, error) { return answered(200, `{"version":1`), nil }, "its answer is no use"},
		{func(*http.Request) (*http.Response, error) { return answered(200, `{"version":1,"instance":"x"}`), nil }, "http://b says nothing of /shop/web"},
	} {
		w.relays["b"].breakBy(tt.broken)
		reports, err = w.relays["a"].Reports(t.Context(), "/shop/web")
		if len(reports) != 1 || reports[0].Peer != "http://c" || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, %v, want %q", reports, err, tt.want)
		}
	}
	if n := w.asked("a"); n != 1 {
		t.Errorf("a asked itself %d times, and knows after the first that it is no other Relay", n)
	}
	if reports, err := newWorld("a").relays["a"].Reports(t.Context(), "/shop/web"); len(reports) > 0 || err != nil {
		t.Errorf("alone: %v, %v", reports, err)
	}
}

// Apps that are to sleep at the same time cost few questions, and none is answered by a question of
// before.
func TestQuestionsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		asked := make(chan struct{})
		var began atomic.Bool
		w.relays["b"].breakBy(func(req *http.Request) (*http.Response, error) {
			if began.CompareAndSwap(false, true) {
				<-asked
				return answered(200, `{"version":1,"instance":"b","reports":[{"app":"/0","phase":"old"}]}`), nil
			}
			q, _ := Parse(req.URL.Query().Get("apps"), "", "", false)
			text, err := json.Marshal(w.relays["b"].Answer(q))
			return answered(200, string(text)), err
		})
		ask := func(app string) Report {
			reports, err := w.relays["a"].Reports(t.Context(), app)
			if err != nil || len(reports) != 1 {
				t.Errorf("%s: %v, %v", app, reports, err)
				return Report{}
			}
			return reports[0]
		}
		var all sync.WaitGroup
		all.Go(func() { ask("/0") })
		synctest.Wait()
		for i := range 1000 {
			all.Go(func() {
				if r := ask(fmt.Sprintf("/%d", i)); r.App != fmt.Sprintf("/%d", i) || r.Phase == "old" {
					t.Errorf("/%d: %+v", i, r)
				}
			})
		}
		synctest.Wait()
		close(asked)
		all.Wait()
		if n := w.asked("b"); n != 6 {
			t.Errorf("%d questions for 1000 apps, want 6 of 200 at most", n)
		}
	})
}

// A peer that does not answer costs a second, and then nothing is known.
func TestSlowPeer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		w.relays["b"].breakBy(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		began := time.Now()
		reports, err := w.relays["a"].Reports(t.Context(), "/web")
		if took := time.Since(began); took != timeout || len(reports) > 0 || err == nil || err.Error() != "http://b cannot be asked: no answer within 1s" {
			t.Errorf("after %v: %v, %v", took, reports, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := w.relays["a"].Reports(ctx, "/web"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who asks has no time: %v", err)
		}
		synctest.Wait()
		time.Sleep(timeout)
	})
}

// The load comes by itself, and counts no longer when it is old.
func TestLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		a, b := w.relays["a"], w.relays["b"]
		a.loads = []Report{{App: "/web", InProgress: 1, Known: true}}
		b.loads = []Report{{App: "/web", InProgress: 7, Known: true}}
		a.missing, b.has = []Envoy{{"ext", "edge,1/x"}, {"ext", "edge-2"}}, []Envoy{{"ext", "edge,1/x"}, {"ext", "edge-3"}}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = a.Serve(ctx) })
		all.Go(func() { _ = b.Serve(ctx) })
		last := func(want float64, all bool) {
			t.Helper()
			reports, ok := a.Last("/web")
			sum := 0.0
			for _, r := range reports {
				sum += r.InProgress
			}
			if sum != want || ok != all {
				t.Errorf("%v, %t, want %g, %t", reports, ok, want, all)
			}
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		last(7, true)
		if _, ok := a.Last("/other"); ok {
			t.Error("the load of an app is known that the peer does not say")
		}
		for e, want := range map[Envoy]bool{{"ext", "edge,1/x"}: true, {"ext", "edge-2"}: false, {"ext", "edge-3"}: false, {"int", "edge,1/x"}: false} {
			if a.Elsewhere(e) != want {
				t.Errorf("%v: elsewhere %t, want %t", e, !want, want)
			}
		}
		b.mu.Lock()
		b.loads[0].InProgress = 9
		b.mu.Unlock()
		time.Sleep(often)
		synctest.Wait()
		last(9, true)
		b.breakBy(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		time.Sleep(fresh + time.Second)
		synctest.Wait()
		last(0, false)
		if a.Elsewhere(Envoy{"ext", "edge,1/x"}) {
			t.Error("an Envoy reports to a Relay that cannot be asked")
		}
		cancel()
		all.Wait()
	})
}

// While there is nothing to ask for, a peer is asked seldom. That it cannot be asked is said after a
// while, once, and until it can.
func TestProblems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b")
		a := w.relays["a"]
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = a.Serve(ctx) })
		time.Sleep(59 * time.Second)
		if n := w.asked("b"); n != 6 {
			t.Errorf("%d questions in a minute, want 6", n)
		}
		b := w.relays["b"]
		b.breakBy(func(*http.Request) (*http.Response, error) { return answered(503, ""), nil })
		time.Sleep(4 * time.Second)
		if all := a.Problems(); len(all) > 0 {
			t.Errorf("told at once: %v", all)
		}
		time.Sleep(time.Minute)
		problems := a.Problems()
		if len(problems) != 1 || problems[0].Item != "http://b" || !strings.Contains(problems[0].Reason, "it answers 503") || problems[0].Action == "" {
			t.Errorf("problems: %+v", problems)
		}
		b.breakBy(nil)
		time.Sleep(2 * time.Second)
		if all := a.Problems(); len(all) > 0 {
			t.Errorf("it is back: %v", all)
		}
		cancel()
		all.Wait()
		if log := a.log.String(); strings.Count(log, "event=peer_unreachable") != 1 || strings.Count(log, "event=peer_back") != 1 {
			t.Errorf("log:\n%s", log)
		}
	})
}
