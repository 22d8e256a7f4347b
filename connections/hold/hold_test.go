package hold

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/internal/logtest"
	"relay/internal/ratelimit"
)

// world has apps and Envoys that a test changes.
type world struct {
	*Service
	t   *testing.T
	log logtest.Buffer

	mu    sync.Mutex
	ports map[string]Port
	// has is what Envoys have acknowledged, away the nodes that another Relay serves.
	has, away map[string]bool
	looks     int
	ended     map[string]string // what became of connections, by name
	all       sync.WaitGroup
}

func newWorld(t *testing.T, limits Limits) *world {
	w := &world{t: t, ports: make(map[string]Port), has: make(map[string]bool), away: make(map[string]bool), ended: make(map[string]string)}
	w.Service = New(w, w, limits, slog.New(slog.NewJSONHandler(&w.log, nil)), prometheus.NewRegistry())
	return w
}

// Port implements Apps.
func (w *world) Port(_, app string, _ int) Port {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	return w.ports[app]
}

// Serves implements Envoys.
func (w *world) Serves(_, node string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.away[node]
}

// WaitFor implements Envoys.
func (w *world) WaitFor(ctx context.Context, _, node, app string, _ int) error {
	for ctx.Err() == nil {
		if !w.Serves("", node) {
			return fmt.Errorf("%s is gone", node)
		}
		w.mu.Lock()
		has := w.has[node+app]
		w.mu.Unlock()
		if has {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// connect has a connection come, and returns when all is still.
func (w *world) connect(ctx context.Context, name, app, node, client string) {
	w.all.Go(func() {
		address, _ := netip.ParseAddr(client)
		began := time.Now()
		within, err := w.Connection(ctx, ratelimit.Question{Fleet: "external", Node: node, App: app, Client: address, Came: began})
		text := fmt.Sprintf("%v %v", within, time.Since(began).Round(10*time.Millisecond))
		if err != nil {
			text = status.Code(err).String()
		}
		w.set(func() { w.ended[name] = text })
	})
	synctest.Wait()
}

// became checks what became of connections; those that wait are not in it.
func (w *world) became(want map[string]string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if fmt.Sprint(w.ended) != fmt.Sprint(want) {
		w.t.Errorf("became %v, want %v", w.ended, want)
	}
}

// over checks that nothing is left.
func (w *world) over() {
	w.t.Helper()
	w.all.Wait()
	time.Sleep(time.Second) // of the test's clock
	w.Service.mu.Lock()
	defer w.Service.mu.Unlock()
	if w.waiting != 0 || len(w.Service.ports) != 0 || len(w.groups) != 0 || w.runs {
		w.t.Errorf("%d wait, of %d ports and %d groups; runs: %v", w.waiting, len(w.Service.ports), len(w.groups), w.runs)
	}
}

func test(t *testing.T, limits Limits, f func(t *testing.T, w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, limits)
		f(t, w)
		w.over()
	})
}

// Connections wait until there is an instance and their Envoy has it. An Envoy that has it later lets its own go on
// later.
func TestWaitsForInstance(t *testing.T) {
	test(t, DefaultLimits(), func(t *testing.T, w *world) {
		w.ports["/db"] = Port{Hold: 30 * time.Second}
		for _, name := range []string{"one", "two"} {
			w.connect(t.Context(), name, "/db", "edge-1", "192.0.2.1")
		}
		w.connect(t.Context(), "other", "/db", "edge-2", "192.0.2.1")
		time.Sleep(time.Second)
		w.set(func() { w.ports["/db"] = Port{Hold: 30 * time.Second, Ready: true} })
		time.Sleep(time.Second)
		w.became(map[string]string{})
		if n := w.Waiting(); n != 3 {
			t.Errorf("%d wait", n)
		}
		w.set(func() { w.has["edge-1/db"] = true })
		time.Sleep(5 * time.Millisecond)
		w.became(map[string]string{"one": "true 2s", "two": "true 2s"})
		w.set(func() { w.has["edge-2/db"] = true })
		time.Sleep(5 * time.Millisecond)
		w.became(map[string]string{"one": "true 2s", "two": "true 2s", "other": "true 2.01s"})
		// One that comes before Envoy has the filter that does not ask.
		w.connect(t.Context(), "late", "/db", "edge-1", "192.0.2.1")
		time.Sleep(5 * time.Millisecond)
		w.became(map[string]string{"one": "true 2s", "two": "true 2s", "other": "true 2.01s", "late": "true 0s"})
	})
}

// What waits for too long is closed. What the app holds no more goes on, and so does what it never held.
func TestHoldEnds(t *testing.T) {
	test(t, DefaultLimits(), func(t *testing.T, w *world) {
		w.ports["/db"], w.ports["/mail"] = Port{Hold: 30 * time.Second}, Port{Hold: time.Minute}
		w.connect(t.Context(), "db", "/db", "edge-1", "")
		w.connect(t.Context(), "mail", "/mail", "edge-1", "2001:db8::1")
		w.connect(t.Context(), "none", "/web", "edge-1", "192.0.2.1")
		time.Sleep(40*time.Second - time.Millisecond) // not at the time of a look
		w.set(func() { w.ports["/mail"] = Port{} })
		time.Sleep(time.Second)
		w.became(map[string]string{"db": "false 30s", "mail": "true 40s", "none": "true 0s"})
		if !strings.Contains(w.log.String(), "hold_ended") {
			t.Errorf("the log does not say so: %s", w.log.String())
		}
		var late dto.Metric
		if err := w.metrics.Results.WithLabelValues("too_late").Write(&late); err != nil || late.GetCounter().GetValue() != 1 {
			t.Errorf("too late: %v, %v", &late, err)
		}
	})
}

// An Envoy of another Relay asks that one, and one that leaves is told to. A client that leaves has no place any
// more.
func TestLeaves(t *testing.T) {
	test(t, DefaultLimits(), func(t *testing.T, w *world) {
		w.ports["/db"] = Port{Hold: 30 * time.Second}
		w.away["edge-2"] = true
		ctx, leave := context.WithCancel(t.Context())
		w.connect(t.Context(), "elsewhere", "/db", "edge-2", "192.0.2.1")
		w.connect(ctx, "leaves", "/db", "edge-1", "192.0.2.1")
		w.connect(t.Context(), "stays", "/db", "edge-1", "192.0.2.1")
		leave()
		synctest.Wait()
		if n := w.Waiting(); n != 1 {
			t.Errorf("%d wait", n)
		}
		w.set(func() { w.ports["/db"] = Port{Hold: 30 * time.Second, Ready: true} })
		time.Sleep(10 * time.Millisecond)
		w.set(func() { w.away["edge-1"] = true })
		time.Sleep(10 * time.Millisecond)
		gone := codes.Unavailable.String()
		w.became(map[string]string{"elsewhere": gone, "leaves": gone, "stays": gone})
	})
}

// A Relay that does not know the apps yet has connections wait for that.
func TestUntilKnown(t *testing.T) {
	test(t, DefaultLimits(), func(t *testing.T, w *world) {
		ready := make(chan struct{})
		w.Ready = ready
		w.connect(t.Context(), "db", "/db", "edge-1", "192.0.2.1")
		w.connect(t.Context(), "none", "/web", "edge-1", "192.0.2.1")
		time.Sleep(996 * time.Millisecond)
		w.set(func() {
			w.ports["/db"], w.has["edge-1/db"] = Port{Hold: time.Second, Ready: true}, true
		})
		close(ready)
		time.Sleep(10 * time.Millisecond)
		w.became(map[string]string{"db": "true 1s", "none": "true 1s"})
	})
}

// A Relay that knows the apps late has connections wait for as long as their app says, counted from when they came. One that
// does not get to know them closes none: their Envoy asks again.
func TestKnownLate(t *testing.T) {
	test(t, DefaultLimits(), func(t *testing.T, w *world) {
		ready := make(chan struct{})
		w.Ready = ready
		w.connect(t.Context(), "early", "/db", "edge-1", "192.0.2.1")
		time.Sleep(20 * time.Second)
		for _, app := range []string{"/db", "/mail", "/short"} {
			w.connect(t.Context(), app, app, "edge-1", "192.0.2.1")
		}
		time.Sleep(10*time.Second + time.Millisecond)
		w.became(map[string]string{"early": codes.Unavailable.String()})
		w.set(func() {
			w.ports["/db"], w.ports["/mail"], w.ports["/short"] = Port{Hold: time.Minute}, Port{Hold: 2 * time.Minute}, Port{Hold: time.Second}
		})
		close(ready)
		time.Sleep(40 * time.Second)
		w.set(func() { w.ports["/db"], w.has["edge-1/db"] = Port{Hold: time.Minute, Ready: true}, true })
		time.Sleep(6 * time.Millisecond)
		w.became(map[string]string{"early": codes.Unavailable.String(), "/db": "true 50.01s", "/short": "false 10.5s"})
		time.Sleep(100 * time.Second)
		w.became(map[string]string{"early": codes.Unavailable.String(), "/db": "true 50.01s", "/short": "false 10.5s", "/mail": "false 2m0s"})
	})
}

// No more wait than may, for one service, of one client, and in all. One service that fills all places leaves some
// to others.
func TestBounded(t *testing.T) {
	test(t, Limits{PerPort: 4, InAll: 6, Longest: time.Second}, func(t *testing.T, w *world) {
		for _, app := range []string{"/a", "/b", "/c"} {
			w.ports[app] = Port{Hold: 30 * time.Second}
		}
		want := make(map[string]string)
		for i := range 3 {
			w.connect(t.Context(), fmt.Sprint("one client ", i), "/a", "edge-1", "2001:db8::"+fmt.Sprint(i))
		}
		want["one client 2"] = "false 0s"
		w.became(want)
		for i := range 3 {
			w.connect(t.Context(), fmt.Sprint("others ", i), "/a", "edge-1", fmt.Sprint("192.0.2.", i))
		}
		want["others 2"] = "false 0s"
		w.became(want)
		for i := range 3 {
			w.connect(t.Context(), fmt.Sprint("b ", i), "/b", "edge-1", fmt.Sprint("192.0.2.", i))
		}
		want["others 1"] = "false 0s" // for the third
		w.became(want)
		w.connect(t.Context(), "c", "/c", "edge-1", "192.0.2.1")
		if n := w.Waiting(); n != 6 {
			t.Errorf("%d wait", n)
		}
		if log := w.log.String(); strings.Count(log, "hold_full") != 1 {
			t.Errorf("the log: %s", log)
		}
	})
}

// To look for instances takes little, however many services have none.
func TestLooksSeldom(t *testing.T) {
	test(t, DefaultLimits(), func(t *testing.T, w *world) {
		const services = 1000
		for i := range services {
			app := fmt.Sprint("/db/", i)
			w.ports[app] = Port{Hold: 10 * time.Second}
			w.connect(t.Context(), app, app, "edge-1", fmt.Sprint("192.0.2.", i%200))
		}
		w.set(func() { w.looks = 0 })
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.looks > 51*5*services {
			t.Errorf("%d looks in 5 s", w.looks)
		}
	})
}
