package deployments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
	"relay/traffic"
)

// world is a source with two apps of a group, the routing of them, and what Envoys have open.
type world struct {
	t       *testing.T
	random  *rand.Rand
	stage   *Stage
	manager *Manager
	apps    []*simApp
	routed  *sources.App
	version int
	tasks   int
	open    map[netip.AddrPort]int
	// envoy is the routing that Envoys have, and reported what they said last, at a moment.
	envoy    *sources.App
	reported map[netip.AddrPort]int
	at       time.Time
	// silent is set while Envoys report nothing, and late while they have not acknowledged the routing.
	silent, late bool
	force        bool // what is cut is meant
	failing      int  // how many of the next changes fail, in some way
	saved        []Direction
}

type simApp struct {
	id        string
	startedAt time.Time
	version   string
	instances int
	tasks     []simTask
}

type simTask struct {
	id      string
	address netip.AddrPort
	out     bool
}

const simTarget = 4

func newModel(t *testing.T, seed uint64) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), open: map[netip.AddrPort]int{}}
	for i, id := range []string{"/blue", "/green"} {
		w.apps = append(w.apps, &simApp{id: id, startedAt: time.Date(2026, 5, 1, 12+i, 0, 0, 0, time.UTC), version: "v0"})
	}
	w.apps[0].instances = simTarget
	w.restart()
	w.settle()
	return w
}

// restart has a new Relay.
func (w *world) restart() {
	w.stage = NewStage(w, w.saved)
	w.stage.Save = func(all []Direction) { w.saved = all }
	w.manager = New(Config{
		Stage: w.stage, Routing: w, Loads: w, Scaler: w, Flush: func(context.Context) error { return nil },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	w.stage.SyncApps(w.read())
}

// settle starts what is missing, and has it read.
func (w *world) settle() {
	for _, app := range w.apps {
		for len(app.tasks) < app.instances {
			w.tasks++
			app.tasks = append(app.tasks, simTask{id: fmt.Sprintf("%s.%d", app.id[1:], w.tasks), address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(w.tasks >> 8), byte(w.tasks)}), 1)})
		}
		for len(app.tasks) > app.instances {
			w.kill(app, len(app.tasks)-1, false)
		}
	}
	w.stage.UpdateApps(w.read(), nil)
}

// kill ends a task. Asked is set if the step named it.
func (w *world) kill(app *simApp, i int, asked bool) {
	task := app.tasks[i]
	if asked && !w.force && w.open[task.address] > 0 {
		w.t.Fatalf("%s was stopped with %d connections", task.id, w.open[task.address])
	}
	delete(w.open, task.address)
	app.tasks = slices.Delete(app.tasks, i, i+1)
}

// read is what the source says.
func (w *world) read() (apps []*sources.App) {
	for _, app := range w.apps {
		read := &sources.App{ID: app.id, Version: app.version, Ports: []sources.Port{{Groups: []string{"external"}}}, Deployment: &sources.Deployment{
			Group: "/imp", StartedAt: app.startedAt, TargetInstances: simTarget, Instances: app.instances,
		}}
		for _, task := range app.tasks {
			if task.out {
				read.Ports[0].Excluded = append(read.Ports[0].Excluded, sources.Excluded{Task: task.id})
			} else {
				read.Ports[0].Endpoints = append(read.Ports[0].Endpoints, sources.Endpoint{Task: task.id, Address: task.address})
			}
		}
		apps = append(apps, read)
	}
	return apps
}

// SyncApps and UpdateApps route, by the rule of the collator.
func (w *world) SyncApps(apps []*sources.App) { w.route(apps) }

func (w *world) UpdateApps(apps []*sources.App, _ []string) {
	if len(apps) == len(w.apps) {
		w.route(apps)
	}
}

func (w *world) route(apps []*sources.App) {
	old, taking := apps[0], apps[1]
	if taking.Deployment.Back {
		old, taking = taking, old
	}
	merged := &sources.App{ID: Prefix + "imp", Ports: []sources.Port{{Groups: []string{"external"}}}}
	from, to := old.Ports[0].Endpoints, taking.Ports[0].Endpoints
	drain := sources.Yielding(len(from), old.Deployment.Instances, len(to), simTarget)
	for i, e := range slices.SortedFunc(slices.Values(from), func(a, b sources.Endpoint) int { return strings.Compare(a.Task, b.Task) }) {
		if i < drain {
			e.Health = sources.Draining
		}
		merged.Ports[0].Endpoints = append(merged.Ports[0].Endpoints, e)
	}
	merged.Ports[0].Endpoints = append(merged.Ports[0].Endpoints, to...)
	if w.routed = merged; w.envoy == nil {
		w.envoy = merged
	}
}

// report has Envoys say what is open.
func (w *world) report() {
	if !w.silent {
		w.reported, w.at = maps.Clone(w.open), time.Now()
	}
}

func (w *world) Routed(string) *sources.App        { return w.routed }
func (w *world) Serving([]string) []string         { return []string{"external"} }
func (w *world) Cluster(name string, _ int) string { return name + "_0" }
func (w *world) Uncounted(string) string           { return "" }
func (w *world) Drained(string, []string) (bool, string) {
	if w.late {
		return false, "an Envoy to acknowledge that"
	}
	w.envoy = w.routed
	return true, ""
}
func (w *world) Watch(string, string) {}
func (w *world) Open(string, string) (map[netip.AddrPort]int, bool) {
	if w.silent || w.reported == nil {
		return nil, false
	}
	return w.reported, true
}
func (w *world) Use(string, string) traffic.Use { return traffic.Use{Until: w.at} }

// Rescale implements sources.Scaler.
func (w *world) Rescale(_ context.Context, r sources.Rescale) (sources.Rescaled, error) {
	app := w.apps[slices.IndexFunc(w.apps, func(a *simApp) bool { return a.id == r.App })]
	if app.version != r.Version {
		return sources.Rescaled{}, sources.ErrChanged
	}
	lost := false
	if w.failing > 0 {
		w.failing--
		if lost = w.random.IntN(2) == 0; !lost {
			return sources.Rescaled{}, []error{sources.ErrLocked, sources.ErrUntouched, errors.New("500")}[w.random.IntN(3)]
		}
	}
	for _, id := range r.Kill {
		i := slices.IndexFunc(app.tasks, func(t simTask) bool { return t.id == id })
		if i < 0 {
			return sources.Rescaled{}, sources.ErrChanged
		}
		w.kill(app, i, true)
	}
	if r.Instances < app.instances-len(r.Kill) && len(app.tasks) > r.Instances {
		w.t.Fatalf("%+v stops tasks that it does not name", r)
	}
	if app.instances == 0 && !r.Suspended {
		w.t.Fatalf("%+v: people have suspended it", r)
	}
	w.change(app, r.Instances)
	if lost {
		return sources.Rescaled{}, errors.New("the answer was lost")
	}
	return sources.Rescaled{Version: app.version}, nil
}

func (w *world) change(app *simApp, instances int) {
	w.version++
	app.version, app.instances = fmt.Sprintf("v%d", w.version), instances
	w.stage.UpdateApps(w.read(), nil)
}

// taking are the addresses that get new connections.
func (w *world) taking() (addresses []netip.AddrPort) {
	there := func(address netip.AddrPort) bool {
		return slices.ContainsFunc(w.apps, func(a *simApp) bool {
			return slices.ContainsFunc(a.tasks, func(t simTask) bool { return t.address == address })
		})
	}
	for _, e := range w.envoy.Ports[0].Endpoints {
		if e.Health == sources.Healthy && there(e.Address) {
			addresses = append(addresses, e.Address)
		}
	}
	return addresses
}

// Whatever happens, no step cuts a connection that nobody said to cut, there is room for all at all times,
// and in the end the service is where people wanted it.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		w := newModel(t, seed)
		for range 80 {
			w.something()
			if !w.late {
				w.envoy = w.routed
			}
			if w.random.IntN(2) == 0 {
				w.report()
			}
			if n := len(w.taking()); n == 0 && !w.late {
				t.Fatalf("seed %d: nothing takes connections: %+v", seed, w.routed.Ports[0].Endpoints)
			}
		}
		w.silent, w.late, w.failing = false, false, 0
		back := w.random.IntN(2) == 0
		for range 60 {
			for address := range w.open {
				delete(w.open, address) // their clients leave, in the end
			}
			for _, app := range w.apps {
				for i := range app.tasks {
					app.tasks[i].out = false
				}
			}
			w.settle()
			for range 3 {
				w.step(Request{Group: "imp", Back: back})
				w.report()
			}
		}
		blue, green := w.apps[0].instances, w.apps[1].instances
		if want := [2]int{0, simTarget}; !back && (blue != want[0] || green < want[1]) || back && (green != 0 || blue < simTarget) {
			t.Fatalf("seed %d, back %v: %d blue, %d green", seed, back, blue, green)
		}
		if s, _ := w.manager.Look(t.Context(), "imp"); !(&s).Next(Options{}).Done {
			t.Fatalf("seed %d: it is not done: %+v", seed, s)
		}
	}
}

// step makes a step, and checks that as many take connections afterwards as are wanted, if as many did.
func (w *world) step(r Request) {
	w.force = r.Force
	_, err := w.manager.Step(w.t.Context(), r)
	w.force = false
	if errors.Is(err, ErrUnknown) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrBusy) {
		w.t.Fatal(err)
	}
}

func (w *world) something() {
	app := w.apps[w.random.IntN(2)]
	switch w.random.IntN(14) {
	case 0, 1, 2:
		w.step(Request{Group: "imp", Options: Options{Instances: w.random.IntN(3)}})
	case 3, 4:
		w.step(Request{Group: "imp", Back: true, Options: Options{Instances: w.random.IntN(3)}})
	case 5:
		w.step(Request{Group: "imp", Back: w.random.IntN(2) == 0, Options: Options{Force: true}})
	case 6, 7:
		if to := w.taking(); len(to) > 0 {
			w.open[to[w.random.IntN(len(to))]] += 1 + w.random.IntN(5)
		}
	case 8:
		for address := range w.open {
			delete(w.open, address)
			break
		}
	case 9, 10:
		w.settle()
	case 11:
		w.silent, w.late = w.random.IntN(2) == 0, w.random.IntN(3) == 0
	case 12:
		if n := len(app.tasks); n > 1 { // one fails its check, or crashes
			if i := w.random.IntN(n); w.random.IntN(2) == 0 {
				app.tasks[i].out = !app.tasks[i].out
			} else {
				w.kill(app, i, false)
			}
		}
		w.stage.UpdateApps(w.read(), nil)
		if len(w.taking()) == 0 {
			w.late = false
			w.settle()
			for i := range app.tasks {
				app.tasks[i].out = false
			}
			w.stage.UpdateApps(w.read(), nil)
		}
	case 13:
		switch w.random.IntN(4) {
		case 0: // people scale it meanwhile
			if app.instances > 0 {
				w.change(app, app.instances+1)
			}
		case 1:
			w.failing = 1 + w.random.IntN(2)
		default:
			w.restart()
		}
	}
}
