package scaling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// sizedApp returns an app of two instances that may have up to ten, each for ten requests.
func sizedApp(change ...func(*sources.App)) *sources.App {
	app := newApp(func(app *sources.App) {
		app.Scaling = &sources.Scaling{Min: 1, Max: 10, Target: 10, DownAfter: time.Minute}
		app.Orchestration.Instances = 2
		app.Orchestration.StartedAt = map[string]time.Time{"shop.1": noon.Add(-2 * time.Hour), "shop.2": noon.Add(-time.Hour)}
		app.Ports[0].Endpoints = []sources.Endpoint{{Task: "shop.1"}, {Task: "shop.2"}}
	})
	for _, f := range change {
		f(app)
	}
	return app
}

// sizing plays an app that is sized, second by second.
type sizing struct {
	s      state
	in     inputs
	events []event
	write  *sources.Rescale
}

func newSizing() *sizing {
	z := &sizing{s: awakeState()}
	z.in = inputs{now: noon, alone: true, load: load{known: true}, acknowledged: true}
	z.read(sizedApp())
	return z
}

func (z *sizing) read(app *sources.App) { z.in.read = newRead(app.ID, []*sources.App{app}) }

// play lets time go on until a change is asked for.
func (z *sizing) play(seconds int, inProgress float64) *sources.Rescale {
	z.in.load.inProgress, z.write = inProgress, nil
	for range seconds {
		z.in.now = z.in.now.Add(time.Second)
		var a action
		z.s, a = next(z.s, &z.in)
		z.events = append(z.events, a.events...)
		if z.write = a.rescale; z.write != nil {
			return z.write
		}
	}
	return nil
}

// done has the last change be made.
func (z *sizing) done(version string) {
	z.s, _ = z.s.wrote(&z.in, z.write, sources.Rescaled{Version: version, Deployment: "of " + version}, nil)
}

// An app has more instances as soon as there is more to do, also in place of a change under way.
func TestGrows(t *testing.T) {
	t.Parallel()
	z := newSizing()
	if w := z.play(30, 15); w != nil {
		t.Fatalf("15 requests for two instances: %+v", w)
	}
	w := z.play(10, 100)
	if w == nil || w.Instances != 4 || w.Version != "v1" || len(w.Kill) != 0 {
		t.Fatalf("100 requests in progress: %+v", w)
	}
	z.done("v2")
	if again := z.play(5, 100); again != nil {
		t.Errorf("a change rests on what is stale: %+v", again)
	}
	z.read(sizedApp(func(app *sources.App) {
		app.Version, app.Orchestration.Instances, app.Orchestration.Deploying = "v2", 4, true
	}))
	if w = z.play(5, 100); w == nil || w.Instances != 8 || w.Over != "of v2" {
		t.Fatalf("still more to do: %+v", w)
	}
	z.done("v3")
	z.read(sizedApp(func(app *sources.App) {
		app.Version, app.Orchestration.Instances, app.Orchestration.Deploying = "v4", 8, true
	}))
	if w := z.play(30, 100); w != nil {
		t.Errorf("somebody else deploys: %+v", w)
	}
	if !strings.Contains(z.s.size.decided, "a deployment is running") {
		t.Errorf("told: %q", z.s.size.decided)
	}
}

// What others choose stays for a while, and what people choose within the bounds.
func TestOthersChoose(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.play(10, 15)
	z.read(sizedApp(func(app *sources.App) { app.Version, app.Orchestration.Instances = "v5", 1 }))
	if w := z.play(int(respectFor/time.Second)-1, 50); w != nil {
		t.Fatalf("the number that people chose is changed at once: %+v", w)
	}
	if len(z.events) != 1 || z.events[0].name != eventResizedByOthers {
		t.Errorf("told: %v", z.events)
	}
	w := z.play(10, 50)
	if w == nil || w.Instances < 2 {
		t.Fatalf("it stays for ever: %+v", w)
	}
	// They take it back before it was read.
	z.done("v6")
	z.read(sizedApp(func(app *sources.App) { app.Version, app.Orchestration.Instances = "v7", 1 }))
	if w := z.play(int(respectFor/time.Second)-1, 50); w != nil {
		t.Errorf("what people took back is done again at once: %+v", w)
	}
}

// What others choose while an app falls asleep, or while it is not sure that it was stopped, stays too.
func TestOthersChooseWhileItSleeps(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(z *sizing){
		"it was to be stopped": func(z *sizing) {
			z.s.phase, z.s.size, z.s.wakeTo = Stopping, nil, 2
			z.s, _ = z.s.stay(&z.in, "a request came", fallPause)
		},
		"it falls asleep, and another Relay may have stopped it": func(z *sizing) {
			z.play(1, 15)
			z.s = z.s.enter(FallingAsleep, z.in.now, "nobody used it")
			z.in.alone, z.in.read.deploying, z.in.read.serving = false, true, nil
			z.s, _ = z.s.readRunning(&z.in)
			z.in.alone = true
		},
	} {
		z := newSizing()
		begin(z)
		z.read(sizedApp(func(app *sources.App) { app.Version, app.Orchestration.Instances = "v5", 1 }))
		if w := z.play(int(respectFor/time.Second)-1, 50); w != nil {
			t.Errorf("%s: the number that people chose is changed at once: %+v", name, w)
		}
	}
}

// Instances that are too many take nothing new first, and are killed when nothing is in progress at
// them. More to do ends that.
func TestShrinks(t *testing.T) {
	t.Parallel()
	z := newSizing()
	var w *sources.Rescale
	for i := 0; i < 300 && w == nil && len(z.s.drains()) == 0; i++ {
		w = z.play(1, 3)
	}
	if w != nil || len(z.s.drains()) == 0 {
		t.Fatalf("few requests for more than a minute: %+v, drains %v, %s", w, z.s.drains(), z.s.size.decided)
	}
	if got := fmt.Sprint(z.s.drains()); got != "[shop.2]" {
		t.Errorf("drains %s, not the youngest", got)
	}
	if to := z.s.routing(z.in.read, false); len(to.drained) != 1 || to.gated {
		t.Errorf("routed as %+v", to)
	}
	if z.play(20, 100); z.write == nil || z.write.Instances < 3 || len(z.s.drains()) != 0 {
		t.Fatalf("more to do while it drains: %+v, drains %v", z.write, z.s.drains())
	}
	for name, tt := range map[string]struct {
		acknowledged bool
		left         load
		peers        []string // what other Relays say has nothing left; nil is that there are none
		after        time.Duration
	}{
		"nothing is left":                 {true, load{known: true}, nil, drainLeast},
		"it is not known":                 {true, load{}, nil, drainMost},
		"a request is left":               {true, load{1, true}, nil, drainMost},
		"an Envoy does not answer":        {false, load{known: true}, nil, drainTimeout + drainLeast},
		"nothing is left at other Relays": {true, load{known: true}, []string{"shop.9", "shop.2"}, drainLeast},
	} {
		z := newSizing()
		z.in.acknowledged, z.in.left, z.in.alone = tt.acknowledged, tt.left, tt.peers == nil
		z.in.peers = answers{at: noon.Add(time.Hour), drained: tt.peers}
		for len(z.s.drains()) == 0 {
			z.play(1, 3)
		}
		began := z.in.now
		w := z.play(2000, 3)
		if w == nil || w.Instances != 1 || fmt.Sprint(w.Kill) != "[shop.2]" {
			t.Fatalf("%s: %+v; %+v, %s, %v", name, w, z.s.size.drain, z.s.size.decided, z.events)
		}
		if took := z.in.now.Sub(began); took < tt.after || took > tt.after+3*time.Second {
			t.Errorf("%s: killed after %s", name, took)
		}
	}
}

// While another Relay has something left at an instance, or does not even drain it, it is not killed, and
// chosen anew after a while.
func TestOthersDoNotDrain(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.in.left, z.in.alone, z.in.peers = load{known: true}, false, answers{at: noon.Add(3 * time.Hour), drained: []string{"shop.9"}}
	for len(z.s.drains()) == 0 {
		z.play(1, 3)
	}
	began := z.in.now
	for z.s.size.drain.since.Equal(began) {
		if w := z.play(1, 3); w != nil {
			t.Fatalf("%+v after %s", w, z.in.now.Sub(began))
		}
	}
	if took := z.in.now.Sub(began); took < 2*drainMost || took > 2*drainMost+5*time.Second {
		t.Errorf("it is chosen anew after %s", took)
	}
}

// A change that the source refuses is tried again later, and nothing else meanwhile.
func TestSizeIsRefused(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.play(20, 100)
	z.s, _ = z.s.wrote(&z.in, z.write, sources.Rescaled{}, sources.ErrLocked)
	tries := 0
	for range 300 {
		if w := z.play(1, 100); w != nil {
			tries++
			z.s, _ = z.s.wrote(&z.in, w, sources.Rescaled{}, sources.ErrLocked)
		}
	}
	if tries < 5 || tries > 15 {
		t.Errorf("%d tries in 5 minutes", tries)
	}
}
