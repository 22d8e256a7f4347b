package scaling

import (
	"slices"
	"testing"
	"time"

	"relay/sources"
)

// An instance that drains takes requests again when no other one does any more: Envoys would choose it.
func TestLastInstanceDoesNotDrain(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.in.left = load{1, true}
	for len(z.s.drains()) == 0 {
		z.play(1, 3)
	}
	z.read(sizedApp(func(app *sources.App) {
		app.Ports[0].Endpoints = app.Ports[0].Endpoints[1:]
		app.Ports[0].Excluded = []sources.Excluded{{Task: "shop.1"}}
	}))
	z.play(1, 3)
	if slices.Contains(z.s.drains(), "shop.2") {
		t.Errorf("%v drains, which is the last one", z.s.drains())
	}
}

// What other Relays said of an instance that drains counts for seconds: its requests may be back by then.
func TestOldAnswersOfDrains(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.in.alone, z.in.left = false, load{known: true}
	for len(z.s.drains()) == 0 {
		z.play(1, 3)
	}
	z.in.peers = answers{at: z.in.now.Add(3 * time.Second), drained: []string{"shop.2"}}
	z.in.left.inProgress = 1
	z.play(20, 3)
	z.in.left.inProgress = 0
	if w := z.play(5, 3); w != nil {
		t.Errorf("%+v by an old answer", w)
	}
	z.in.peers.at = z.in.now
	if w := z.play(2, 3); w == nil {
		t.Error("it is not killed")
	}
}

// How many instances people start a suspended app with stays for a while.
func TestStartedByPeople(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.read(sizedApp(suspended))
	z.play(1, 0)
	z.read(sizedApp(func(app *sources.App) { app.Version = "v2" }))
	if w := z.play(int(respectFor/time.Second)-1, 100); w != nil {
		t.Errorf("%+v at once", w)
	}
	if w := z.play(10, 100); w == nil {
		t.Error("it stays for ever")
	}
}

// An instance of which another Relay was told that nothing is in progress gets nothing new for as long as
// that one may be killing it, also if there is more to do by now, and also when the number that the other one asked for
// is read before the instance is gone.
func TestToldDrains(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		for name, then := range map[string]func(z *sizing) float64{
			"there is more to do": func(*sizing) float64 { return 15 }, // as much as two instances are for
			"the other one has resized it": func(z *sizing) float64 {
				z.read(sizedApp(func(app *sources.App) { app.Orchestration.Instances = 1 }))
				return 3
			},
		} {
			z := newSizing()
			z.in.left = load{1, true}
			for len(z.s.drains()) == 0 {
				z.play(1, 3)
			}
			if told {
				z.s.size.drain.told = z.in.now
			}
			inProgress, held := then(z), 0
			for range 2 * drainHeld / time.Second {
				z.play(1, inProgress)
				if len(z.s.drains()) == 0 && slices.Contains(z.s.leaving(), "shop.2") {
					held++
				}
			}
			if told != (held > 0) || len(z.s.leaving()) > 0 {
				t.Errorf("%s, told %v: held for %d s, and leaving is %v", name, told, held, z.s.leaving())
			}
		}
	}
}

// An instance that did not run yet when others were chosen to be killed is taken out of rotation too when it runs: the source
// would kill one that serves in its place.
func TestStartsWhileOthersDrain(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.in.left.known = true
	z.read(sizedApp(func(app *sources.App) { app.Orchestration.Instances = 3 }))
	for i := 0; len(z.s.drains()) == 0; i++ {
		if i > 200 {
			t.Fatal("nothing drains")
		}
		z.play(1, 1)
	}
	if got := z.s.drains(); len(got) != 1 {
		t.Fatalf("%v drain, of three of which one does not run", got)
	}
	z.read(sizedApp(func(app *sources.App) {
		app.Orchestration.Instances = 3
		app.Orchestration.StartedAt["shop.3"] = noon
		app.Ports[0].Endpoints = append(app.Ports[0].Endpoints, sources.Endpoint{Task: "shop.3"})
	}))
	w := z.play(60, 1)
	if w == nil || w.Instances != 1 || len(w.Kill) != 2 {
		t.Errorf("it asks for %+v, want one instance, and two named that are killed", w)
	}
}

// Maintenance leaves the number of instances as it is.
func TestSizeInMaintenance(t *testing.T) {
	t.Parallel()
	z := newSizing()
	z.read(sizedApp(func(app *sources.App) { app.Maintenance = true }))
	if w := z.play(30, 100); w != nil {
		t.Errorf("%+v", w)
	}
}
