package scaling

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources"
	"relay/traffic"
)

// Requests that wait in a queue keep an app awake, which no Envoy reports, and count for its size.
func TestQueuedRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var waiting atomic.Int64
		waiting.Store(1)
		w.config.Queued = func(app string, port int) int {
			if app != "/shop" || port > 1 {
				t.Errorf("asked for port %d of %s", port, app)
			}
			return int(waiting.Load()) * port
		}
		w.use = traffic.Use{Since: time.Now(), Until: time.Now()}
		w.stage.SyncApps([]*sources.App{newApp(func(app *sources.App) {
			app.Orchestration.StartedAt = nil
			app.Ports = append(app.Ports, sources.Port{Groups: []string{"f"}})
			app.Scaling.Max, app.Scaling.Target = 2, 10
		})})
		defer w.serve()()
		sleeps := func(after time.Duration) bool {
			time.Sleep(after)
			w.mu.Lock()
			w.use.Until = time.Now()
			w.mu.Unlock()
			synctest.Wait()
			story, _ := w.Story("/shop")
			if waits := strings.Contains(story.Why, "1 request waits in its queue"); waits != (waiting.Load() > 0) {
				t.Errorf("told: %s", story.Why)
			}
			return story.Phase != Awake
		}
		if sleeps(5 * idleAfter) {
			t.Error("it falls asleep while a request waits")
		}
		if reports := w.Loads(); len(reports) != 1 || reports[0].InProgress != 1 {
			t.Errorf("the load is %+v", reports)
		}
		waiting.Store(0)
		if sleeps(idleAfter - doubtPause - time.Second) {
			t.Error("it falls asleep just after a request waited")
		}
		if !sleeps(doubtPause + 5*time.Second) {
			t.Error("it stays awake for ever")
		}
	})
}

// While no instance takes requests, Envoys answer by themselves and report nothing. So the time that an
// app is idle begins when one does again.
func TestUnserved(t *testing.T) {
	t.Parallel()
	in := idleInputs(func(app *sources.App) { app.Ports[0].Endpoints[0].Health = sources.Draining })
	s, _ := next(awakeState(), in)
	in = idleInputs()
	in.now = noon.Add(time.Hour)
	s, _ = next(s, in)
	if why, due := s.idle(in); !strings.Contains(why, "none of its instances took requests until") || !due.Equal(in.now.Add(idleAfter)) {
		t.Errorf("%s, until %v", why, due)
	}
	in.now = in.now.Add(idleAfter - time.Second)
	if s, _ = next(s, in); s.phase != Awake {
		t.Errorf("it is %v too early", s.phase)
	}
	in.now = in.now.Add(time.Second)
	if s, _ = next(s, in); s.phase != FallingAsleep {
		t.Errorf("it is %v after all that time", s.phase)
	}
}
