package wake

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"relay/internal/failure"
)

func TestHeldUntilTheEnvoyHasIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		defer w.run()()
		w.apps.set("/a", State{Phase: Asleep})
		w.fleet.has["edge-1/a"] = make(chan struct{})
		var all []*asked
		for range 100 {
			all = append(all, w.ask(get("/a")))
		}
		other := get("/a")
		other.node = "edge-2"
		ready := w.ask(other)
		if got := w.apps.wokenApps(); len(got) != 1 || got[0] != "/a" {
			t.Errorf("woken: %v", got)
		}
		w.apps.set("/a", State{Phase: Waking})
		w.want(all[0], "held")
		w.apps.set("/a", State{Phase: Running})
		w.want(ready, "ok")
		w.want(all[0], "held")
		close(w.fleet.has["edge-1/a"])
		time.Sleep(time.Second)
		for i, a := range all {
			w.want(a, "ok")
			if i > 0 && a.at.Sub(all[i-1].at) != w.pace {
				t.Errorf("%d is %s after the one before", i, a.at.Sub(all[i-1].at))
			}
		}
		if w.fleet.calls != 2 {
			t.Errorf("%d waits for Envoys, want one for each", w.fleet.calls)
		}
		if got := w.apps.wokenApps(); len(got) != 1 {
			t.Errorf("woken: %v", got)
		}
		w.empty()
	})
}

// Requests are let through as they came to Envoy, however their checks overtook each other.
func TestOrderIsThatOfEnvoy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		defer w.run()()
		w.apps.set("/a", State{Phase: Waking})
		all := make([]*asked, 6)
		for _, i := range []int{3, 0, 5, 1, 2, 4} {
			r := get("/a")
			r.came = time.Now().Add(time.Duration(i) * time.Microsecond)
			all[i] = w.ask(r)
		}
		w.apps.set("/a", State{Phase: Running})
		time.Sleep(time.Second)
		for i := 1; i < len(all); i++ {
			if w.want(all[i], "ok"); !all[i].at.After(all[i-1].at) {
				t.Errorf("%d was let through before %d", i, i-1)
			}
		}
	})
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		state  State
		change func(r *request)
		want   any
		woken  int
	}{
		"asleep":           {State{Phase: Asleep}, nil, "held", 1},
		"waking":           {State{Phase: Waking}, nil, "held", 0},
		"source away":      {State{Phase: Unavailable}, nil, "held", 1},
		"running":          {State{Phase: Running}, nil, "ok", 0},
		"unknown":          {State{}, nil, "ok", 0},
		"failed":           {State{Phase: Failed}, nil, failure.StatusCrashed, 0},
		"page":             {State{Phase: Asleep, Page: true}, func(r *request) { r.browser = true }, failure.StatusAsleep, 1},
		"page, source":     {State{Phase: Unavailable, Page: true}, func(r *request) { r.browser = true }, failure.StatusAsleep, 1},
		"page, waking":     {State{Phase: Waking, Page: true}, func(r *request) { r.browser = true }, failure.StatusAsleep, 0},
		"page, running":    {State{Phase: Running, Page: true}, func(r *request) { r.browser = true }, "ok", 0},
		"page, failed":     {State{Phase: Failed, Page: true}, func(r *request) { r.browser = true }, failure.StatusCrashed, 0},
		"page, no browser": {State{Phase: Asleep, Page: true}, nil, "held", 1},
		"ignored":          {State{Phase: Asleep}, func(r *request) { r.userAgent = "probe" }, failure.StatusAsleep, 0},
		"ignored, waking":  {State{Phase: Waking}, func(r *request) { r.userAgent = "probe" }, failure.StatusAsleep, 0},
		"ignored, running": {State{Phase: Running}, func(r *request) { r.userAgent = "probe" }, failure.StatusAsleep, 0},
		"another Relay's":  {State{Phase: Asleep}, func(r *request) { r.node = "gone" }, "unavailable", 0},
		"another fleet's":  {State{Phase: Asleep}, func(r *request) { r.fleet = "core" }, "ok", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{Ignored: probes{}, Of: func(fleet, _ string, _ int) bool { return fleet == "edge" }})
				stop := w.run()
				w.fleet.gone["gone"] = true
				w.apps.set("/a", tt.state)
				r := get("/a")
				if tt.change != nil {
					tt.change(&r)
				}
				a := w.ask(r)
				w.want(a, tt.want)
				if got := w.apps.wokenApps(); len(got) != tt.woken {
					t.Errorf("woken: %v", got)
				}
				w.counted(t, tt.want)
				if counts := r.userAgent == "" && r.node != "gone" && r.fleet == "edge"; counts != (w.apps.used == 1) {
					t.Errorf("counted as use: %d", w.apps.used)
				}
				a.cancel()
				w.empty()
				stop()
			})
		})
	}
}

type probes struct{}

func (probes) Ignored(agent string, client netip.Addr) bool {
	return agent == "probe" && client.IsValid()
}

func TestWhoeverLeavesGivesUpItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{WaitingPerApp: 3, WaitingInAll: 10, Rate: 1})
		defer w.run()()
		w.apps.set("/a", State{Phase: Waking})
		first, second, third := w.ask(get("/a")), w.ask(get("/a")), w.ask(get("/a"))
		full := w.ask(get("/a"))
		w.want(full, failure.StatusStarting)
		if h := full.answer.GetDeniedResponse().GetHeaders(); len(h) != 1 || h[0].GetHeader().GetKey() != "retry-after" {
			t.Errorf("headers: %v", h)
		}
		second.cancel()
		synctest.Wait()
		fourth := w.ask(get("/a"))
		w.want(fourth, "held")
		w.apps.set("/a", State{Phase: Running})
		time.Sleep(time.Second)
		for _, a := range []*asked{first, third, fourth} {
			w.want(a, "ok")
		}
		w.empty()
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{WaitingPerApp: 2, WaitingInAll: 6, Rate: 1})
		for _, app := range []string{"/a", "/b", "/c", "/d", "/e"} {
			w.apps.set(app, State{Phase: Waking})
		}
		all := []*asked{w.ask(get("/a")), w.ask(get("/a")), w.ask(get("/b"))}
		// A network has half of all, and the others the rest.
		w.want(w.ask(get("/b")), failure.StatusStarting)
		for _, r := range []request{from("/b", "198.51.100.1"), from("/c", "198.51.100.2"), from("/c", "2001:db8::1")} {
			a := w.ask(r)
			w.want(a, "held")
			all = append(all, a)
		}
		w.want(w.ask(from("/d", "203.0.113.1")), failure.StatusStarting)
		for _, a := range all {
			a.cancel()
		}
		w.empty()
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ label, want time.Duration }{{0, DefaultTimeout}, {5 * time.Second, 5 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.apps.set("/a", State{Phase: Asleep, Timeout: tt.label})
			a := w.ask(get("/a"))
			time.Sleep(tt.want - time.Nanosecond)
			w.want(a, "held")
			time.Sleep(time.Nanosecond)
			w.want(a, failure.StatusStarting)
			w.empty()
		})
	}
}

// What ends the wait of all that wait for an app, and what does not.
func TestChangesWhileHeld(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		phases []Phase
		want   any
		woken  int
	}{
		"crash":                    {[]Phase{Waking, Failed}, failure.StatusCrashed, 1},
		"suspended by people":      {[]Phase{Waking, Unknown}, "ok", 1},
		"changed meanwhile":        {[]Phase{Waking, Asleep, Waking, Running}, "ok", 2},
		"source away and back":     {[]Phase{Unavailable, Asleep, Waking, Running}, "ok", 3},
		"gone again before it was": {[]Phase{Waking, Unavailable, Running}, "ok", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				defer w.run()()
				w.apps.set("/a", State{Phase: Asleep})
				a, b := w.ask(get("/a")), w.ask(get("/a"))
				for _, p := range tt.phases {
					w.want(a, "held")
					w.apps.set("/a", State{Phase: p})
					synctest.Wait()
				}
				time.Sleep(time.Second)
				w.want(a, tt.want)
				w.want(b, tt.want)
				if got := w.apps.wokenApps(); len(got) != tt.woken {
					t.Errorf("woken: %v", got)
				}
				w.empty()
			})
		})
	}
}

// An app that sleeps again before an Envoy had it is woken again.
func TestAsleepAgainWhileTheEnvoyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		defer w.run()()
		w.fleet.has["edge-1/a"] = make(chan struct{})
		w.apps.set("/a", State{Phase: Running})
		a := w.ask(get("/a"))
		w.apps.set("/a", State{Phase: Asleep})
		w.want(a, "held")
		if got := w.apps.wokenApps(); len(got) != 1 {
			t.Errorf("woken: %v", got)
		}
		close(w.fleet.has["edge-1/a"])
		w.want(a, "held") // the wait of before does not count
		w.apps.set("/a", State{Phase: Running})
		w.want(a, "ok")
	})
}

func TestHandedToTheNextRelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		stop := w.run()
		w.apps.set("/a", State{Phase: Waking})
		w.apps.set("/b", State{Phase: Running})
		w.fleet.err = errors.New("the Envoy is gone")
		w.want(w.ask(get("/b")), "unavailable")
		a := w.ask(get("/a"))
		stop()
		w.want(a, "unavailable")
		w.want(w.ask(get("/a")), "unavailable")
		w.empty()
	})
}

// The next request of a line waits until the Envoy was told of the one before, but not for ever.
func TestNextWaitsUntilTheEnvoyWasTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.apps.set("/a", State{Phase: Waking})
		told := make(chan struct{})
		go func() {
			_, sent, _ := w.decide(context.Background(), get("/a"))
			<-told
			sent()
		}()
		synctest.Wait()
		all := []*asked{w.ask(get("/a")), w.ask(get("/a"))}
		start := time.Now()
		w.apps.set("/a", State{Phase: Running})
		time.Sleep(2 * w.sendLimit)
		close(told)
		for i, want := range []time.Duration{w.sendLimit + w.pace, w.sendLimit + 2*w.pace} {
			if w.want(all[i], "ok"); all[i].at.Sub(start) != want {
				t.Errorf("%d was let through after %s, want %s", i+1, all[i].at.Sub(start), want)
			}
		}
	})
}

// A Relay that has just started holds everything until it knows the apps: whose requests these are, it
// does not know either.
func TestHeldUntilAppsAreKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		known := make(chan struct{})
		w := newWorld(t, Config{Known: known, Ignored: probes{}, Of: func(fleet, _ string, _ int) bool {
			select {
			case <-known:
				return fleet == "edge"
			default:
				return false
			}
		}})
		defer w.run()()
		core, probe := get("/asleep"), get("/asleep")
		core.fleet, probe.userAgent = "core", "probe"
		asleep, runs, other, ignored := w.ask(get("/asleep")), w.ask(get("/runs")), w.ask(core), w.ask(probe)
		for _, a := range []*asked{asleep, runs, other} {
			w.want(a, "held")
		}
		w.want(ignored, "unavailable")
		if got := w.apps.wokenApps(); len(got) != 0 || len(w.Waiting()) != 2 {
			t.Errorf("woken: %v; waiting: %+v", got, w.Waiting())
		}
		w.apps.set("/asleep", State{Phase: Asleep})
		w.apps.set("/runs", State{Phase: Running})
		close(known)
		w.want(runs, "ok")
		w.want(other, "ok")
		w.want(asleep, "held")
		if got := w.apps.wokenApps(); len(got) != 1 {
			t.Errorf("woken: %v", got)
		}
		asleep.cancel()
		w.empty()
	})
}

// counted checks that a request that was refused is counted, and one that is held is shown.
func (w *world) counted(t *testing.T, result any) {
	t.Helper()
	counters := make(chan prometheus.Metric, 20)
	w.metrics.refused.Collect(counters)
	close(counters)
	counted := 0.0
	for c := range counters {
		var m dto.Metric
		if err := c.Write(&m); err != nil {
			t.Error(err)
		}
		counted += m.GetCounter().GetValue()
	}
	refused := result != "held" && result != "ok"
	if (counted == 1) != refused {
		t.Errorf("%g are counted", counted)
	}
	if shown, waits := w.WaitingFor("/a"); (result == "held") != (shown.Requests == 1) || waits && shown.Why == "" {
		t.Errorf("shown: %+v", shown)
	}
}
