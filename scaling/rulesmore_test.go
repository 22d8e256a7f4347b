package scaling

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"relay/sources"
)

// failing returns an app that was woken, and whose n-th task has failed.
func failing(n int) func(*sources.App) {
	return func(app *sources.App) {
		app.Version, app.Ports[0].Endpoints = "v3", nil
		app.Orchestration.Deploying, app.Orchestration.StartedAt = true, nil
		if n > 0 {
			app.Orchestration.Failure = &sources.TaskFailure{Task: fmt.Sprint("shop.", n), State: "TASK_FAILED", Message: "exit 1", At: noon}
		}
	}
}

// Two tasks that fail end a wake. The next request after a pause tries again, and without one the
// app sleeps again.
func TestFailedWake(t *testing.T) {
	t.Parallel()
	s, _ := next(state{}, idleInputs(slept))
	s, _ = s.request(idleInputs(slept))
	s, a := next(s, idleInputs(slept))
	s, _ = s.wrote(idleInputs(slept), a.rescale, sources.Rescaled{Version: "v3", Deployment: "d"}, nil)
	for n, want := range []Phase{Waking, Waking, Failed} {
		if s, _ = next(s, idleInputs(failing(n))); s.phase != want {
			t.Fatalf("after %d failures: %v", n, s.phase)
		}
	}
	in := idleInputs(failing(2))
	in.now = noon.Add(failedPause - time.Second)
	if again, _ := s.request(in); again.phase != Failed {
		t.Errorf("a request right after: %v", again.phase)
	}
	in.now = noon.Add(failedPause)
	again, _ := s.request(in)
	if again, _ = next(again, in); again.phase != Waking {
		t.Errorf("a request after the pause: %v", again.phase)
	}
	in.now = noon.Add(idleAfter + DefaultWakeTimeout)
	gaveUp, a := next(s, in)
	if r := a.rescale; gaveUp.phase != Stopping || r == nil || r.Asleep != 1 || r.Over != "d" {
		t.Errorf("nobody asks: %v, %+v", gaveUp.phase, a)
	}
	others := idleInputs(failing(2), func(app *sources.App) { app.Version = "v9" })
	others.now = in.now
	if _, a := next(s, others); a.rescale != nil {
		t.Errorf("it is put to sleep while others deploy: %+v", a.rescale)
	}
	if up, _ := next(s, idleInputs(func(app *sources.App) { app.Version = "v3" })); up.phase != Awake {
		t.Errorf("an instance takes requests: %v", up.phase)
	}
}

// What was read first says what an app is doing. What people have done stays.
func TestFirstRead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*sources.App)
		want   Phase
	}{
		"runs":                                 {func(*sources.App) {}, Awake},
		"was put to sleep":                     {slept, Asleep},
		"was suspended":                        {suspended, Off},
		"starts":                               {failing(0), Waking},
		"was scaled up by hand, and starts":    {func(app *sources.App) { failing(0)(app); app.Orchestration.Asleep = 2 }, Waking},
		"was scaled up by hand":                {func(app *sources.App) { app.Orchestration.Asleep = 2 }, Awake},
		"has no instance, and is not deployed": {func(app *sources.App) { failing(0)(app); app.Orchestration.Deploying = false }, Awake},
		"starts, and never sleeps":             {func(app *sources.App) { failing(0)(app); app.Scaling = &sources.Scaling{Min: 1, Max: 2} }, Awake},
		"sleeps, and may not any more":         {func(app *sources.App) { slept(app); app.Scaling = nil }, Asleep},
	} {
		in := idleInputs(tt.change)
		in.use.Last = noon.Add(-time.Minute)
		s, a := next(state{}, in)
		asked, _ := s.request(in)
		_, act := next(asked, in)
		if s.phase != tt.want || a.rescale != nil {
			t.Errorf("%s: %v, %+v", name, s.phase, a)
		}
		if wakes := act.rescale != nil; wakes != (tt.want == Asleep) {
			t.Errorf("%s: a request has it changed: %+v", name, act.rescale)
		}
	}
}

// A request that comes while an app is stopped has it started again at once, in place of what stops
// it, and its dying instances get nothing more.
func TestRequestWhileStopping(t *testing.T) {
	t.Parallel()
	in := idleInputs()
	s, _ := next(awakeState(), in)
	s.acknowledged, in.acknowledged, in.use.Until = noon.Add(-time.Second), true, noon
	s, a := next(s, in)
	if s.phase != Stopping {
		t.Fatal(s.phase)
	}
	in.busy = true
	s, _ = s.request(in)
	if s, a2 := next(s, in); s.phase != Stopping || a2.rescale != nil {
		t.Errorf("while it is changed: %v, %+v", s.phase, a2)
	}
	in.busy = false
	s, _ = s.wrote(in, a.rescale, sources.Rescaled{Version: "v2", Deployment: "d"}, nil)
	s, a = next(s, in)
	if r := a.rescale; s.phase != Waking || r == nil || r.Version != "v2" || r.Instances != 1 || r.Asleep != 0 || r.Over != "d" {
		t.Fatalf("%v, %+v", s.phase, a.rescale)
	}
	if to := s.routing(in.read, s.stale(in)); len(to.drained) != 1 || !to.gated {
		t.Errorf("its instance that is stopped is routed: %+v", to)
	}
	s, _ = s.wrote(in, a.rescale, sources.Rescaled{Version: "v3", Deployment: "e"}, nil)
	late := idleInputs(slept) // which is of before the wake
	if late.read.version != "/shop@v2" {
		t.Fatal(late.read.version)
	}
	if after, a := next(s, late); after.phase != Waking || a.rescale != nil {
		t.Errorf("what was read late has it %v, %+v", after.phase, a.rescale)
	}
	both := idleInputs(func(app *sources.App) {
		app.Version, app.Orchestration.Deploying = "v3", true
	})
	if s, _ = next(s, both); s.phase != Waking {
		t.Errorf("it is %v while only the instance is there that is stopped", s.phase)
	}
	both.read.serving = append(both.read.serving, "shop.2")
	if s, _ = next(s, both); s.phase != Awake {
		t.Errorf("it is %v with a new instance", s.phase)
	}
}

// A request that comes while an app is stopped wakes it, too, if it is not known at first that it was.
func TestRequestWhileStoppedUnseen(t *testing.T) {
	t.Parallel()
	in := idleInputs()
	s, _ := next(awakeState(), in)
	s.acknowledged, in.acknowledged, in.use.Until = noon.Add(-time.Second), true, noon
	s, a := next(s, in)
	s, _ = s.request(in)
	s, _ = s.wrote(in, a.rescale, sources.Rescaled{}, errors.New("no answer"))
	s.asked = time.Time{} // that it waits is enough
	if s, _ = next(s, idleInputs(slept)); s.phase != Waking {
		t.Errorf("it is %v", s.phase)
	}
}

// An app that others put to sleep just after a request is woken, and one that nobody asked for is not.
func TestPutToSleepByOthers(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]Phase{stillWanted - time.Second: Waking, stillWanted: Asleep} {
		s := awakeState()
		s.asked = noon.Add(-asked)
		s, a := next(s, idleInputs(slept))
		if s.phase != want || (a.rescale != nil) != (want == Waking) {
			t.Errorf("asked for %s ago: %v, %+v", asked, s.phase, a.rescale)
		}
	}
}

// A deployment group is one app. It sleeps if one member has instances, and wakes by that.
func TestGroups(t *testing.T) {
	t.Parallel()
	member := func(id string, instances, asleep int, change ...func(*sources.App)) *sources.App {
		app := newApp(change...)
		app.ID, app.Deployment = id, &sources.Deployment{Group: "shop", StartedAt: noon.Add(time.Duration(len(id)) * time.Hour)}
		app.Stopped = instances == 0
		app.Orchestration.Instances, app.Orchestration.Asleep = instances, asleep
		return app
	}
	foreign := func(app *sources.App) { app.Scaling = nil }
	for name, tt := range map[string]struct {
		members []*sources.App
		target  string
		asleep  int
	}{
		"one of two":              {[]*sources.App{member("/blue", 2, 0), member("/greens", 0, 0)}, "/blue", 0},
		"both":                    {[]*sources.App{member("/blue", 2, 0), member("/greens", 1, 0)}, "", 0},
		"one sleeps":              {[]*sources.App{member("/blue", 0, 2), member("/greens", 0, 0)}, "/blue", 2},
		"both sleep":              {[]*sources.App{member("/blue", 0, 2), member("/greens", 0, 3)}, "/greens", 3},
		"one may not be scaled":   {[]*sources.App{member("/blue", 2, 0, foreign)}, "", 0},
		"the other may not":       {[]*sources.App{member("/blue", 2, 0), member("/greens", 1, 0, foreign)}, "", 0},
		"the other has none":      {[]*sources.App{member("/blue", 2, 0), member("/greens", 0, 0, foreign)}, "/blue", 0},
		"neither has instances":   {[]*sources.App{member("/blue", 0, 0), member("/greens", 0, 0)}, "", 0},
		"one sleeps and one runs": {[]*sources.App{member("/blue", 0, 2), member("/greens", 1, 0)}, "/greens", 0},
	} {
		r := newRead("deployment-group/shop", tt.members)
		target := ""
		if r.target != nil {
			target = r.target.ID
		}
		if target != tt.target || r.asleep != tt.asleep || (r.why != "") != (target == "") {
			t.Errorf("%s: %q, %d asleep, %q", name, target, r.asleep, r.why)
		}
	}
	if got := routedID(member("/blue", 1, 0)); got != "deployment-group/shop" {
		t.Errorf("routed as %s", got)
	}
	deploys := member("/greens", 0, 0)
	deploys.Orchestration.Deploying = true
	if r := newRead("deployment-group/shop", []*sources.App{member("/blue", 2, 0), deploys}); !r.deploying {
		t.Error("a deployment of another member counts for nothing")
	}
}

// Connections that Envoys do not report any more keep an app awake until their instance is gone.
func TestLingering(t *testing.T) {
	t.Parallel()
	readOf := func(change ...func(*sources.App)) *read { return newRead("/shop", []*sources.App{newApp(change...)}) }
	excluded := func(app *sources.App) {
		app.Ports[0].Excluded = []sources.Excluded{{Task: "shop.1"}}
		app.Ports[0].Endpoints = nil
	}
	other := func(app *sources.App) {
		app.Ports[0].Endpoints = []sources.Endpoint{{Task: "shop.2"}}
		app.Orchestration.StartedAt = nil
	}
	upstream := func(app *sources.App) { app.Ports[0].Upstream = &sources.Upstream{} }
	for name, tt := range map[string]struct {
		known         []string
		before, after *read
		used          bool
		want          int
	}{
		"left rotation":         {nil, readOf(), readOf(excluded), true, 1},
		"left rotation, unused": {nil, readOf(), readOf(excluded), false, 0},
		"is gone":               {nil, readOf(), readOf(other), true, 0},
		"another cluster":       {nil, readOf(), readOf(upstream), true, 1},
		"nothing changed":       {nil, readOf(), readOf(), true, 0},
		"came back":             {[]string{"shop.1"}, readOf(excluded), readOf(), true, 1},
		"came back, and went":   {[]string{"shop.1"}, readOf(), readOf(other), true, 0},
	} {
		if got := lingering(tt.known, tt.before, tt.after, func() bool { return tt.used }); len(got) != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What has begun just before an instance leaves the rotation may go on there, though no Envoy reports it.
func TestRequestsOfLatelyLinger(t *testing.T) {
	for name, tt := range map[string]struct {
		began func(w *world)
		want  bool
	}{
		"nothing":                   {func(*world) {}, false},
		"a request long ago":        {func(w *world) { w.use.Last = time.Now().Add(-2 * unreported) }, false},
		"a request of lately":       {func(w *world) { w.use.Last = time.Now().Add(-5 * time.Second) }, true},
		"a request that has waited": {func(w *world) { w.Used("/shop", 0) }, true},
		"a request in progress":     {func(w *world) { w.use.InProgress = 1 }, true},
	} {
		w := newWorld()
		w.stage.SyncApps([]*sources.App{newApp()})
		tt.began(w)
		out := newApp(func(app *sources.App) {
			app.Ports[0].Excluded = []sources.Excluded{{Task: app.Ports[0].Endpoints[0].Task, Reason: "is not healthy"}}
			app.Ports[0].Endpoints = nil
		})
		w.stage.UpdateApps([]*sources.App{out}, nil)
		w.stage.UpdateApps([]*sources.App{newApp()}, nil)
		if got := len(w.Controller.apps["/shop"].state.lingering) > 0; got != tt.want {
			t.Errorf("%s: lingers is %v", name, got)
		}
	}
}

// An app that was to sleep stays awake at once if that certainly was not done, and its requests are not
// held until the source is back. Another Relay may have done it all the same.
func TestNotPutToSleep(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		alone  bool
		phase  Phase
		unsure bool
	}{
		"the source does not answer":       {sources.ErrUntouched, true, Awake, false},
		"it does not, and there are peers": {sources.ErrUntouched, false, Stopping, true},
		"the answer was lost":              {errors.New("timeout"), true, Stopping, false},
	} {
		in := idleInputs()
		in.alone = tt.alone
		s := awakeState().enter(Stopping, noon, "nobody used it")
		s.wakeTo, s.dying = 1, in.read.tasks()
		s, r := s.write(in, "v1", sources.Rescale{Asleep: 1})
		s, _ = s.wrote(in, r, sources.Rescaled{}, tt.err)
		if s.phase != tt.phase || s.unsure != tt.unsure {
			t.Errorf("%s: %v, unsure %v", name, s.phase, s.unsure)
		}
		in.now = noon.Add(10 * time.Second)
		in.peers.at = in.now
		after, a := next(s, in)
		if a.rescale != nil || a.due.Before(in.now) && !a.due.IsZero() || tt.unsure && after.phase != Awake {
			t.Errorf("%s: 10 s later it is %v, and looks again at %v: %+v", name, after.phase, a.due, a)
		}
		if after.phase == Awake && after.notBefore.Before(noon.Add(fallPause)) {
			t.Errorf("%s: it is tried again at %v", name, after.notBefore)
		}
	}
}
