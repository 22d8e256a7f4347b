package slots

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// sink keeps what it was told, by id, and counts what it was told of each app.
type sink struct {
	apps   map[string]*sources.App
	told   map[string]int
	causes []string
}

func (s *sink) AppsBecause(cause string) { s.causes = append(s.causes, cause) }

func (s *sink) SyncApps(apps []*sources.App) {
	s.apps = make(map[string]*sources.App)
	s.UpdateApps(apps, nil)
}

func (s *sink) UpdateApps(set []*sources.App, removed []string) {
	for _, id := range removed {
		delete(s.apps, id)
	}
	for _, app := range set {
		s.apps[app.ID] = app
		s.told[app.ID]++
	}
}

// slots shows those of a port, as "a1 b2 (c3)": what drains is in brackets.
func (s *sink) slots(id string, port int) string {
	var shown []string
	for _, e := range s.apps[id].Ports[port].Endpoints {
		text := fmt.Sprint(e.Task, e.Slot)
		if e.Health == sources.Draining {
			text = "(" + text + ")"
		}
		shown = append(shown, text)
	}
	return strings.Join(shown, " ")
}

func (s *sink) saved() []*sources.App { return slices.Collect(maps.Values(s.apps)) }

func newStage(saved func() []*sources.App) (*Stage, *sink) {
	s := &sink{apps: make(map[string]*sources.App), told: make(map[string]int)}
	return New(s, saved), s
}

// all returns what is known.
func (s *Stage) all() []Port {
	_, ports := s.Known(nil)
	return ports
}

func nothing() []*sources.App { return nil }

// app has a port with these tasks, and the same once more without a hash.
func app(id string, tasks ...string) *sources.App {
	var endpoints []sources.Endpoint
	for _, task := range tasks {
		endpoints = append(endpoints, sources.Endpoint{Task: task})
	}
	return &sources.App{ID: id, Ports: []sources.Port{
		{HTTP: &sources.HTTP{Hash: &sources.Hash{By: sources.HashSubdomain}}, Endpoints: endpoints}, {Endpoints: endpoints},
	}}
}

func (s *sink) has(t *testing.T, id, want string) {
	t.Helper()
	if got := s.slots(id, 0); got != want {
		t.Errorf("%s has %q, want %q", id, got, want)
	}
}

// Slots stay through reads of one app and of all, go to ports that are hashed alone, and what was read stays as it is.
func TestStage(t *testing.T) {
	t.Parallel()
	stage, next := newStage(nothing)
	read, plain := app("/a", "x", "y"), &sources.App{ID: "/plain", Ports: []sources.Port{{Endpoints: []sources.Endpoint{{Task: "p"}}}}}
	sources.Because(stage, "all read")
	stage.SyncApps([]*sources.App{read, plain})
	next.has(t, "/a", "x1 y2")
	if got := next.slots("/a", 1); got != "x0 y0" {
		t.Errorf("a port that is not hashed has %s", got)
	}
	if next.apps["/plain"] != plain || !reflect.DeepEqual(read, app("/a", "x", "y")) {
		t.Error("an app was copied or changed that needs no slots")
	}
	stage.UpdateApps([]*sources.App{app("/a", "y", "z")}, nil)
	next.has(t, "/a", "y2 z1")
	stage.SyncApps([]*sources.App{app("/a", "a", "y", "z"), plain})
	next.has(t, "/a", "a3 y2 z1")
	stage.UpdateApps([]*sources.App{{ID: "/a", Ports: []sources.Port{{Endpoints: []sources.Endpoint{{Task: "y"}}}}}}, nil)
	next.has(t, "/a", "y0")
	stage.UpdateApps([]*sources.App{app("/a", "a", "y")}, nil)
	next.has(t, "/a", "a1 y2")
	stage.UpdateApps(nil, []string{"/a", "/none"})
	stage.UpdateApps([]*sources.App{app("/a", "y")}, nil)
	next.has(t, "/a", "y1")
	if len(next.causes) == 0 || next.causes[0] != "all read" || next.told["/plain"] != 2 {
		t.Errorf("causes %q, told %v", next.causes, next.told)
	}
	stage.SyncApps(nil)
	if len(stage.groups)+len(stage.names) > 0 {
		t.Errorf("of apps that are gone, %v and %v are kept", stage.groups, stage.names)
	}
}

// A Relay that is started anew gives the slots that it gave before, and a new instance gets the one that has become free.
func TestSlotsSurviveARestart(t *testing.T) {
	t.Parallel()
	stage, first := newStage(nothing)
	stage.SyncApps([]*sources.App{app("/a", "c", "d", "e")})
	stage.UpdateApps([]*sources.App{app("/a", "a", "c", "e")}, nil)
	first.has(t, "/a", "a2 c1 e3")
	stage, second := newStage(first.saved)
	stage.SyncApps([]*sources.App{app("/a", "a", "b", "e"), app("/new", "n")})
	second.has(t, "/a", "a2 b1 e3")
	second.has(t, "/new", "n1")
	stage.SyncApps([]*sources.App{app("/a", "a", "b", "e")})
	second.has(t, "/a", "a2 b1 e3")

	damaged := app("/a", "a", "b", "c", "d")
	for i, slot := range []int{7, 7, -1, sources.MaxEndpoints + 1} {
		damaged.Ports[0].Endpoints[i].Slot = slot
	}
	stage, third := newStage(func() []*sources.App { return []*sources.App{damaged} })
	stage.SyncApps([]*sources.App{app("/a", "a", "b", "c", "d")})
	third.has(t, "/a", "a7 b1 c2 d3")
}

// New instances wait for the slots of old ones, and it is said why they get no requests.
func TestNewInstancesWait(t *testing.T) {
	t.Parallel()
	stage, next := newStage(nothing)
	wanted := func(app *sources.App) *sources.App { app.Wanted = 2; return app }
	stage.SyncApps([]*sources.App{wanted(app("/a", "a", "b"))})
	stage.UpdateApps([]*sources.App{wanted(app("/a", "a", "b", "c"))}, nil)
	next.has(t, "/a", "a1 b2 (c0)")
	if got := next.apps["/a"]; len(got.Notes) != 1 || got.Notes[0] != (sources.Note{Task: "c", Text: waits}) || got.Ports[1].Endpoints[2].Health != sources.Healthy {
		t.Errorf("notes %v, other port %v", got.Notes, got.Ports[1].Endpoints)
	}
	stage.UpdateApps([]*sources.App{wanted(app("/a", "b", "c"))}, nil)
	next.has(t, "/a", "b2 c1")
	if notes := next.apps["/a"].Notes; len(notes) > 0 {
		t.Errorf("notes %v", notes)
	}
}

// The apps of a deployment group share slots: while one takes over from the other, each new instance gets the slot of
// the old one that drains for it, also if only the other app was read.
func TestDeploymentGroup(t *testing.T) {
	t.Parallel()
	member := func(id string, started, target int, tasks ...string) *sources.App {
		a := app(id, tasks...)
		a.Deployment = &sources.Deployment{Group: "/chat", StartedAt: time.Unix(int64(started), 0), Instances: 3, TargetInstances: target}
		return a
	}
	stage, next := newStage(nothing)
	blue := member("/chat-blue", 1, 3, "b1-", "b2-", "b3-")
	stage.SyncApps([]*sources.App{blue})
	next.has(t, "/chat-blue", "b1-1 b2-2 b3-3")
	stage.UpdateApps([]*sources.App{member("/chat-green", 2, 3)}, nil)
	if next.told["/chat-blue"] != 1 {
		t.Error("an app was told again of which nothing has changed")
	}
	stage.UpdateApps([]*sources.App{member("/chat-green", 2, 3, "g2-")}, nil)
	next.has(t, "/chat-green", "g2-1")
	next.has(t, "/chat-blue", "b1-1 b2-2 b3-3") // it drains for the collator, which merges the apps
	stage.UpdateApps([]*sources.App{member("/chat-green", 2, 3, "g1-", "g2-", "g3-")}, nil)
	next.has(t, "/chat-green", "g1-2 g2-1 g3-3")

	stage, again := newStage(next.saved) // a restart
	stage.SyncApps([]*sources.App{member("/chat-green", 2, 3, "g1-", "g2-", "g3-"), blue})
	again.has(t, "/chat-green", "g1-2 g2-1 g3-3")

	stage.UpdateApps(nil, []string{"/chat-blue"})
	again.has(t, "/chat-green", "g1-2 g2-1 g3-3")
	stage.UpdateApps([]*sources.App{member("/chat-blue", 3, 3, "n1-")}, nil)
	again.has(t, "/chat-blue", "n1-2") // g1 drains for it
	stage.UpdateApps(nil, []string{"/chat-blue"})
	if again.has(t, "/chat-green", "g1-2 g2-1 g3-3"); again.told["/chat-green"] != 1 {
		t.Errorf("told %v", again.told)
	}
	moved := member("/chat-green", 2, 3, "g1-")
	moved.Deployment.Group = "other"
	stage.UpdateApps([]*sources.App{moved}, nil)
	again.has(t, "/chat-green", "g1-1")
	if len(stage.groups) != 1 || len(stage.names) != 1 {
		t.Errorf("groups %v", stage.groups)
	}
}

// Two Relays that saw the same reads give the same slots, whatever the order of apps and of what came with them.
func TestRelaysAgree(t *testing.T) {
	t.Parallel()
	one, first := newStage(nothing)
	other, second := newStage(nothing)
	one.SyncApps([]*sources.App{app("/a", "a", "b", "c"), app("/b", "x")})
	other.SyncApps([]*sources.App{app("/b", "x"), app("/a", "a", "b", "c")})
	for i := range 20 {
		read := app("/a", fmt.Sprint("t", i*7%5), fmt.Sprint("t", i*3%7+10), "c")
		one.UpdateApps([]*sources.App{read, app("/b", "x")}, nil)
		other.UpdateApps([]*sources.App{app("/b", "x")}, nil)
		other.SyncApps([]*sources.App{app("/b", "x"), read})
		if a, b := first.slots("/a", 0), second.slots("/a", 0); a != b {
			t.Fatalf("after read %d: %s and %s", i, a, b)
		}
	}
}

// A Relay that starts takes over the slots of one that runs, and leaves what it saved itself: the other one saw what happened
// meanwhile.
func TestSlotsOfAnotherRelay(t *testing.T) {
	t.Parallel()
	one, first := newStage(nothing)
	other, second := newStage(nothing)
	for _, stage := range []*Stage{one, other} {
		stage.SyncApps([]*sources.App{app("/a", "b", "c", "d"), app("/b", "x")})
	}
	for _, tasks := range [][]string{{"b", "c"}, {"b", "c", "z"}, {"c", "z"}, {"a", "c", "z"}} {
		one.UpdateApps([]*sources.App{app("/a", tasks...)}, nil)
	}
	first.has(t, "/a", "a1 c2 z3")

	alone, third := newStage(second.saved)
	alone.SyncApps([]*sources.App{app("/a", "a", "c", "z"), app("/b", "x")})
	third.has(t, "/a", "a1 c2 z3") // by luck
	late, fourth := newStage(second.saved)
	late.Others = one.all
	one.UpdateApps([]*sources.App{app("/a", "a", "c", "y", "z")}, nil)
	late.SyncApps([]*sources.App{app("/a", "a", "c", "y", "z"), app("/b", "w", "x")})
	fourth.has(t, "/a", first.slots("/a", 0))
	fourth.has(t, "/b", "w2 x1")
	if got, want := fmt.Sprint(late.all()[0]), fmt.Sprint(one.all()[0]); got != want {
		t.Errorf("slots %v, want %v", got, want)
	}

	odd, fifth := newStage(nothing)
	odd.Others = func() []Port {
		one := map[string]int{"a": 1}
		return []Port{
			{App: "/a", Slots: map[string]int{"a": 5, "b": -1, "c": 1 << 30}, Freed: []int{-1, 1 << 30}},
			{App: "/a", Port: -1, Slots: one}, {App: "/a", Port: 1 << 30, Slots: one}, {App: "/none", Slots: one},
		}
	}
	odd.SyncApps([]*sources.App{app("/a", "a", "b", "c")})
	fifth.has(t, "/a", "a5 b1 c2")
	if len(odd.groups) != 1 {
		t.Errorf("groups %v", odd.groups)
	}
}
