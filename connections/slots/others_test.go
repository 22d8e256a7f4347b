package slots

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relay/sources"
)

// world has Relays that read the same Marathon, each when it does. The first one runs longest.
type world struct {
	r      *rand.Rand
	tasks  map[string]sources.Health // away if it is none of these
	wanted int
	next   int
	stages []*Stage
	sinks  []*sink
}

const away = sources.Health(99)

func newModel(seed uint64, relays int) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, uint64(relays))), tasks: make(map[string]sources.Health), wanted: 6}
	for range relays {
		stage, next := newStage(nothing)
		w.stages, w.sinks = append(w.stages, stage), append(w.sinks, next)
	}
	return w
}

// step has Marathon change something.
func (w *world) step() {
	names := make([]string, 0, len(w.tasks))
	for name := range w.tasks {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 || w.r.IntN(3) == 0 {
		w.next++
		w.tasks[fmt.Sprintf("t%02d", (w.next*37)%100)] = sources.Healthy
		return
	}
	name := names[w.r.IntN(len(names))]
	switch w.r.IntN(7) {
	case 0, 1:
		delete(w.tasks, name)
	case 2:
		w.tasks[name] = sources.Draining
	case 3:
		w.tasks[name] = away
	case 4:
		w.wanted = 4 + w.r.IntN(4)
	default:
		w.tasks[name] = sources.Healthy
	}
}

// read has a Relay read how it is.
func (w *world) read(i int) {
	a := &sources.App{ID: "/a", Wanted: w.wanted, Ports: []sources.Port{{HTTP: &sources.HTTP{Hash: &sources.Hash{By: sources.HashSubdomain}}}}}
	for name, health := range w.tasks {
		if health == away {
			a.Ports[0].Excluded = append(a.Ports[0].Excluded, sources.Excluded{Task: name})
			continue
		}
		a.Ports[0].Endpoints = append(a.Ports[0].Endpoints, sources.Endpoint{Task: name, Health: health})
	}
	slices.SortFunc(a.Ports[0].Endpoints, func(a, b sources.Endpoint) int { return strings.Compare(a.Task, b.Task) })
	if w.r.IntN(2) == 0 {
		w.stages[i].SyncApps([]*sources.App{a})
	} else {
		w.stages[i].UpdateApps([]*sources.App{a}, nil)
	}
}

// ask has a Relay ask all that run longer, in any order.
func (w *world) ask(i int) (changed int) {
	silent := make([]bool, i)
	for range 2 { // what it hears of one counts when it asks the others again
		for _, from := range w.r.Perm(i) {
			parts, ports := w.stages[from].Known(w.stages[i].Digests())
			silent[from] = false
			changed += len(w.stages[i].Compare(parts, ports, func(_ string, _ int, comparable bool) bool {
				silent[from] = !comparable
				return !slices.Contains(silent[:from], false)
			}))
		}
	}
	return changed
}

// check finds two instances that take ids of one slot.
func (w *world) check(t *testing.T, i int) {
	t.Helper()
	seen := make(map[int]string)
	for _, e := range w.sinks[i].apps["/a"].Ports[0].Endpoints {
		if e.Health != sources.Healthy {
			continue
		}
		if e.Slot == 0 || seen[e.Slot] != "" {
			t.Fatalf("at Relay %d, %s and %q have slot %d", i, e.Task, seen[e.Slot], e.Slot)
		}
		seen[e.Slot] = e.Task
	}
}

// Whenever Relays read while instances come and go, as soon as they know the same they give the slots of the one that runs longest,
// which never gives others because of them. They go on so while they see the same.
func TestSlotsConverge(t *testing.T) {
	t.Parallel()
	for _, relays := range []int{2, 3} {
		differed := 0
		for seed := range uint64(300) {
			w := newModel(seed, relays)
			for i := range relays {
				w.read(i)
			}
			for range 60 {
				w.step()
				if i := w.r.IntN(2 * relays); i < relays {
					w.read(i)
				}
				if i := w.r.IntN(4 * relays); i < relays {
					w.ask(i)
					w.check(t, i)
				}
			}
			for i := range relays {
				w.read(i)
				if i > 0 && w.sinks[i].slots("/a", 0) != w.sinks[0].slots("/a", 0) {
					differed++
				}
			}
			first := w.sinks[0].slots("/a", 0)
			for i := range relays {
				w.ask(i)
			}
			for i := range relays {
				w.check(t, i)
				if got := w.sinks[i].slots("/a", 0); got != first {
					t.Fatalf("%d Relays, seed %d: Relay %d gives %s, want %s", relays, seed, i, got, first)
				}
				if n := w.ask(i); n > 0 || !slices.Equal(w.stages[i].Digests(), w.stages[0].Digests()) {
					t.Fatalf("%d Relays, seed %d: Relay %d takes over %d once more", relays, seed, i, n)
				}
			}
			for range 20 { // from now on they see the same, and need not ask
				w.step()
				for i := range relays {
					w.read(i)
					if a, b := w.sinks[0].slots("/a", 0), w.sinks[i].slots("/a", 0); a != b {
						t.Fatalf("%d Relays, seed %d: after they agreed, %s and %s", relays, seed, a, b)
					}
				}
			}
		}
		if differed < 50 {
			t.Errorf("%d Relays differed only %d times before they asked", relays, differed)
		}
	}
}

// Slots are taken over only where the same instances are known, and what drains goes on draining.
func TestCompare(t *testing.T) {
	t.Parallel()
	yes := func(string, int, bool) bool { return true }
	one, first := newStage(nothing)
	other, second := newStage(nothing)
	plain := &sources.App{ID: "/plain", Ports: []sources.Port{{Endpoints: []sources.Endpoint{{Task: "p"}}}}}
	if parts, ports := one.Known(make([]uint64, Parts)); len(parts)+len(ports) > 0 || one.Digests() != nil || !one.Began().IsZero() {
		t.Errorf("before it has read anything, a Relay knows %v %v", parts, ports)
	}
	if changed := other.Compare([]int{1}, []Port{{App: "/a"}}, yes); changed != nil {
		t.Errorf("before it has read anything, it takes over %v", changed)
	}
	one.SyncApps([]*sources.App{plain})
	if one.Digests() != nil || one.Began().IsZero() {
		t.Error("there is something to compare without hashed ports")
	}
	one.SyncApps([]*sources.App{app("/a", "x"), app("/b", "b"), plain})
	one.UpdateApps([]*sources.App{app("/a", "x", "a")}, nil)
	other.SyncApps([]*sources.App{app("/a", "a"), app("/b", "b"), plain})
	compare := func(counts func(string, int, bool) bool) []string {
		parts, ports := one.Known(other.Digests())
		if len(parts) > 1 || len(ports) > 1 {
			t.Errorf("of one port that differs, %v %v is told", parts, ports)
		}
		return other.Compare(parts, ports, counts)
	}
	if changed := compare(func(_ string, _ int, comparable bool) bool {
		if comparable {
			t.Error("ports with other instances are compared")
		}
		return true
	}); changed != nil {
		t.Errorf("of other instances, %v is taken over", changed)
	}
	other.UpdateApps([]*sources.App{app("/a", "a", "x")}, nil)
	second.has(t, "/a", "a1 x2")
	if changed := compare(func(string, int, bool) bool { return false }); changed != nil {
		t.Errorf("what does not count is taken over: %v", changed)
	}
	toldOfB := second.told["/b"]
	if changed := compare(yes); !reflect.DeepEqual(changed, []string{"/a"}) {
		t.Errorf("%v is taken over", changed)
	}
	second.has(t, "/a", "a2 x1")
	if second.told["/b"] != toldOfB || second.told["/plain"] != 1 {
		t.Errorf("told %v", second.told)
	}
	if changed := compare(yes); changed != nil {
		t.Errorf("%v is taken over once more", changed)
	}

	// One that drains for one Relay alone: they wait until both know. Then it drains at both.
	drains := app("/a", "a", "x")
	drains.Ports[0].Endpoints[0].Health = sources.Draining
	other.UpdateApps([]*sources.App{drains}, nil)
	if changed := compare(yes); changed != nil {
		t.Errorf("%v is taken over while an instance drains at one Relay", changed)
	}
	second.has(t, "/a", "(a2) x1")
	one.UpdateApps([]*sources.App{drains}, nil)
	compare(yes)
	second.has(t, "/a", first.slots("/a", 0))

	// Slots that can be none, or are given twice, do no harm, and do not come again and again.
	odd := func() []string {
		parts, ports := one.Known(make([]uint64, Parts))
		for i := range ports {
			ports[i].Slots, ports[i].Kept = map[string]int{"x": 1 << 40, "b": 0, "z": 3}, map[string]int{"a": -2, "q": 4}
		}
		return other.Compare(parts, ports, yes)
	}
	odd()
	if changed := odd(); changed != nil {
		t.Errorf("%v has other slots again", changed)
	}
}

// BenchmarkCompare is what a comparison costs with 1000 hashed ports of 10 instances.
func BenchmarkCompare(b *testing.B) {
	one, _ := newStage(nothing)
	other, _ := newStage(nothing)
	var all, turned []*sources.App
	for i := range 1000 {
		var tasks []string
		for n := range 10 {
			tasks = append(tasks, fmt.Sprintf("shop_app%d.instance-2f3c1b4a-8f1e-11f0-9a0b-0242ac1100%02d._app.1", i, n))
		}
		id := fmt.Sprintf("/shop/app%d", i)
		all = append(all, app(id, tasks...))
		slices.Reverse(tasks)
		turned = append(turned, app(id, tasks...))
	}
	one.SyncApps(all)
	other.SyncApps(all)
	b.Run("equal", func(b *testing.B) {
		for b.Loop() {
			if parts, _ := one.Known(other.Digests()); len(parts) > 0 {
				b.Fatal("they differ")
			}
		}
	})
	other.SyncApps(nil)
	other.SyncApps(turned[:500])
	other.UpdateApps(turned[500:], nil)
	b.Run("all differ", func(b *testing.B) {
		for b.Loop() {
			parts, ports := one.Known(other.Digests())
			if len(ports) != 1000 {
				b.Fatalf("%d ports differ", len(ports))
			}
			other.Compare(parts, ports, func(string, int, bool) bool { return true })
			b.StopTimer()
			other.SyncApps(nil)
			other.SyncApps(turned)
			b.StartTimer()
		}
	})
}
