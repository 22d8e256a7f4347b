package scaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/scaling/wake"
	"relay/sources"
	"relay/traffic"
)

// world is what a Controller has to do with: fleets that do what they are told, and a source that
// says what f says.
type world struct {
	*Controller
	stage *Stage

	mu      sync.Mutex
	apps    map[string]*sources.App
	causes  []string
	calls   []sources.Rescale
	now     int // calls under way
	most    int
	rescale func(context.Context, sources.Rescale) (sources.Rescaled, error)
	paces   []string
	use     traffic.Use
}

func newWorld() *world {
	w := &world{apps: make(map[string]*sources.App), use: traffic.Use{Since: time.Now(), Until: time.Now()}}
	w.rescale = func(context.Context, sources.Rescale) (sources.Rescaled, error) {
		return sources.Rescaled{Version: "new"}, nil
	}
	w.Controller = New(Config{
		Loads: w, Fleets: w, Scaler: w, Cluster: func(app string, port int) string { return fmt.Sprint(app, "_", port) },
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	w.stage = NewStage(w.Controller, w)
	return w
}

// serve runs the Controller until the function that it returns is called.
func (w *world) serve() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Serve(ctx)
	}()
	return func() { cancel(); <-done }
}

func (w *world) Use(string, string) traffic.Use {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.use
}

func (w *world) Concurrency(string, string, time.Duration) (float64, bool) { return 0, false }
func (w *world) Watch(string, string)                                      {}
func (w *world) Endpoints(string, string) map[netip.AddrPort]traffic.Load  { return nil }
func (w *world) Serving(groups []string) []string                          { return groups }
func (w *world) Doubt(string) string                                       { return "" }
func (w *world) Gated(string) (bool, string)                               { return true, "" }
func (w *world) Drained(string, []string) (bool, string)                   { return true, "" }
func (w *world) AppsBecause(cause string)                                  { w.causes = append(w.causes, cause) }
func (w *world) SyncApps(apps []*sources.App)                              { w.UpdateApps(apps, nil) }
func (w *world) Pace(fleet string, every time.Duration) {
	w.paces = append(w.paces, fmt.Sprint(fleet, " ", every))
}

func (w *world) UpdateApps(set []*sources.App, removed []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, app := range set {
		w.apps[app.ID] = app
	}
	for _, id := range removed {
		delete(w.apps, id)
	}
}

func (w *world) Rescale(ctx context.Context, r sources.Rescale) (sources.Rescaled, error) {
	w.mu.Lock()
	w.calls = append(w.calls, r)
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	return w.rescale(ctx, r)
}

// sleeping returns an app that sleeps.
func sleeping(id string) *sources.App {
	app := newApp(slept)
	app.ID = id
	return app
}

// What Relay may not scale is handed on as it is, and an app that sleeps without its instances, whose
// Envoys ask first. A decision hands the app on anew, with the reason.
func TestStage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		other := newApp(func(app *sources.App) { app.ID, app.Scaling = "/other", nil })
		down := sleeping("/down")
		down.Ports[0].Endpoints = []sources.Endpoint{{Task: "down.1"}}
		up := newApp(func(app *sources.App) { app.Orchestration.StartedAt = nil })
		w.stage.AppsBecause("a read")
		w.stage.SyncApps([]*sources.App{other, down, up})
		if w.apps["/other"] != other || w.apps["/shop"] != up {
			t.Error("apps were changed that are as they were read")
		}
		if got := w.apps["/down"]; !got.Gated || len(got.Ports[0].Endpoints) != 0 || len(got.Ports[0].Excluded) != 1 || down.Gated || len(down.Ports[0].Endpoints) != 1 {
			t.Errorf("the sleeping app is %+v, and was read as %+v", got, down)
		}
		defer w.serve()()
		w.mu.Lock()
		w.use = traffic.Use{Last: time.Now(), Since: time.Now(), Until: time.Now()}
		w.mu.Unlock()
		time.Sleep(idleAfter + time.Second)
		synctest.Wait()
		if got := w.apps["/shop"]; !got.Gated || len(got.Ports[0].Endpoints) != 1 || up.Gated {
			t.Errorf("the app that falls asleep is %+v", got)
		}
		if want := []string{"a read", "scaling: /shop is falling asleep"}; !slices.Equal(w.causes, want) {
			t.Errorf("told why: %q", w.causes)
		}
		w.Used("/shop", 0)
		synctest.Wait()
		if w.apps["/shop"] != up {
			t.Errorf("after a request, the app is %+v", w.apps["/shop"])
		}
		w.stage.UpdateApps(nil, []string{"/down"})
		if s, _ := w.State("/down", 0); s.Phase != wake.Unknown || w.apps["/down"] != nil {
			t.Errorf("an app that is gone is %+v", s)
		}
	})
}

// 50 000 apps that sleep cost nothing while nothing happens, and a request to one is one change.
func TestManyAppsSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		const n = 50_000
		all := make([]*sources.App, n)
		for i := range all {
			all[i] = sleeping(fmt.Sprint("/app", i))
		}
		before := heapInUse()
		w.stage.SyncApps(all)
		if each := (heapInUse() - before) / n; each > 3000 {
			t.Errorf("an app that sleeps takes %d bytes", each)
		} else {
			t.Logf("an app that sleeps takes %d bytes, with the copy that is routed", each)
		}
		if len(w.dues) != 0 {
			t.Errorf("%d apps are looked at", len(w.dues))
		}
		defer w.serve()()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		w.Wake("/app7", 0, wake.Client{})
		w.Wake("/app7", 0, wake.Client{})
		time.Sleep(time.Second)
		synctest.Wait()
		if len(w.calls) != 1 || w.calls[0].App != "/app7" || w.calls[0].Instances != 3 {
			t.Errorf("changes: %+v", w.calls)
		}
		if _, ok := w.Story("/app7"); !ok || len(w.dues) != 1 {
			t.Errorf("%d apps are looked at after a wake", len(w.dues))
		}
	})
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A source that refuses is asked more and more seldom, by few at a time, and not at all when nobody
// waits any more. Who waits is told, and asks again after each try.
func TestSourceRefuses(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("500"), sources.ErrLocked, sources.ErrChanged} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.rescale = func(context.Context, sources.Rescale) (sources.Rescaled, error) {
				time.Sleep(100 * time.Millisecond)
				return sources.Rescaled{}, err
			}
			const n = 20
			for i := range n {
				w.stage.UpdateApps([]*sources.App{sleeping(fmt.Sprint("/app", i))}, nil)
			}
			defer w.serve()()
			for i := range n {
				w.Wake(fmt.Sprint("/app", i), 0, wake.Client{})
			}
			end := time.Now().Add(10 * time.Minute)
			for time.Now().Before(end) {
				state, changed := w.State("/app0", 0)
				if state.Phase == wake.Unavailable || state.Phase == wake.Asleep {
					w.Wake("/app0", 0, wake.Client{})
				}
				select {
				case <-changed:
				case <-time.After(time.Minute):
				}
			}
			synctest.Wait()
			calls := make(map[string]int)
			for _, call := range w.calls {
				calls[call.App]++
			}
			// 1, 2, 4, 8, 16, 30 s ...
			if got := calls["/app0"]; got < 15 || got > 26 {
				t.Errorf("%v: %d tries in 10 minutes for a request that waits", err, got)
			}
			if got := calls["/app1"]; got < 5 || got > 8 {
				t.Errorf("%v: %d tries for a request that does not wait any more", err, got)
			}
			if w.most > writers {
				t.Errorf("%d changes at a time", w.most)
			}
			story, _ := w.Story("/app0")
			if len(story.Events) != MaxEvents || !strings.Contains(story.Trouble, err.Error()) {
				t.Errorf("%d events, trouble %q", len(story.Events), story.Trouble)
			}
		})
	}
}

// A change under way, one that waits, and a bug do not get lost when Serve ends and is called again.
func TestServeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rescale = func(ctx context.Context, r sources.Rescale) (sources.Rescaled, error) {
			if r.App == "/app0" {
				panic("a bug")
			}
			<-ctx.Done()
			return sources.Rescaled{}, ctx.Err()
		}
		for i := range 10 {
			id := fmt.Sprint("/app", i)
			w.stage.UpdateApps([]*sources.App{sleeping(id)}, nil)
			w.Wake(id, 0, wake.Client{})
		}
		stop := w.serve()
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		if w.now != 0 {
			t.Error("a change goes on after Serve has returned")
		}
		w.rescale = func(context.Context, sources.Rescale) (sources.Rescaled, error) {
			return sources.Rescaled{Version: "new"}, nil
		}
		w.calls = nil
		defer w.serve()()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		done := make(map[string]int)
		for _, call := range w.calls {
			done[call.App]++
		}
		if len(done) != 10 || len(w.calls) != 10 {
			t.Errorf("changes: %v", done)
		}
	})
}
