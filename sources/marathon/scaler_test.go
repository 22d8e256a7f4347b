package marathon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
	"relay/sources/marathon/marathontest"
)

const webLabels = `{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"web.test","team":"shop"}`

// scaled is a simulated Marathon with one app, and a Scaler of it.
type scaled struct {
	*marathontest.Server
	*Scaler
	t *testing.T
}

func newScaled(t *testing.T, instances int, labels string) *scaled {
	t.Helper()
	m := marathontest.Start(t, marathontest.Options{LaunchDelay: time.Millisecond, KillGrace: time.Millisecond, PublishLag: time.Millisecond})
	s := &scaled{Server: m, Scaler: scalerOf(t, Config{URLs: []string{m.URL()}}), t: t}
	s.people(fmt.Sprintf(`{"id":"/web","cmd":"x","instances":%d,"labels":%s}`, instances, labels))
	return s
}

func scalerOf(t *testing.T, cfg Config) *Scaler {
	t.Helper()
	s, err := NewScaler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// people change an app, and wait until that is done.
func (s *scaled) people(definition string) {
	s.t.Helper()
	if err := s.Apply(definition); err != nil {
		s.t.Fatal(err)
	}
	idle(s.t, s.Server)
}

// now reads the app as Marathon has it.
func (s *scaled) now() *appJSON {
	s.t.Helper()
	_, app, err := s.read(s.t.Context(), "/web")
	if err != nil {
		s.t.Fatal(err)
	}
	return app
}

func (s *scaled) version() string { return s.now().Version }

func (s *scaled) rescale(r sources.Rescale) (sources.Rescaled, error) {
	s.t.Helper()
	r.App = "/web"
	return s.Scaler.Rescale(s.t.Context(), r)
}

// want holds what the app has in the end.
func (s *scaled) want(instances int, labels map[string]string) {
	s.t.Helper()
	idle(s.t, s.Server)
	a := s.now()
	if a.Instances != instances || !maps.Equal(a.Labels, labels) || len(a.Tasks) != instances {
		s.t.Errorf("%d instances, %d tasks, labels %v, want %d and %v", a.Instances, len(a.Tasks), a.Labels, instances, labels)
	}
}

func labelled(more ...string) map[string]string {
	labels := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "web.test", "team": "shop"}
	for i := 0; i+1 < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return labels
}

// An app sleeps and wakes by one write each. Labels of others stay, and nothing is written twice.
func TestSleepAndWake(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, webLabels)
	done, err := s.rescale(sources.Rescale{Version: s.version(), Asleep: 2})
	if err != nil || done.Deployment == "" || done.Version != s.version() {
		t.Fatalf("%+v, %v", done, err)
	}
	s.want(0, labelled("RELAY_ASLEEP", "2"))
	if again, err := s.rescale(sources.Rescale{Version: "2020-01-01T00:00:00.000Z", Asleep: 2}); err != nil || again.Version != done.Version {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if _, err := s.rescale(sources.Rescale{Version: done.Version, Instances: 2}); err != nil {
		t.Fatal(err)
	}
	s.want(2, labelled())
	if _, err := s.rescale(sources.Rescale{Version: done.Version, Instances: 2}); err != nil {
		t.Errorf("another Relay wakes it too: %v", err)
	}
	if n := s.Requests(marathontest.KindWrite); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
}

// What Relay puts to sleep can be told from what people scale to 0, whatever labels are left.
func TestAsleepIsNotSuspended(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, webLabels)
	asleep := func() int { return asleepOf(s.now()) }
	sleep := func(n int) {
		t.Helper()
		if _, err := s.rescale(sources.Rescale{Version: s.version(), Asleep: n}); err != nil {
			t.Fatal(err)
		}
		idle(t, s.Server)
	}
	sleep(2)
	if n := asleep(); n != 2 {
		t.Fatalf("asleep with %d", n)
	}
	s.people(`{"id":"/web","labels":{"HAPROXY_GROUP":"external","RELAY_ASLEEP":"2","new":"label"}}`)
	if n := asleep(); n != 2 {
		t.Errorf("after another label was set, asleep with %d", n)
	}
	s.people(`{"id":"/web","instances":3}`) // by hand, and the label stays
	s.people(`{"id":"/web","instances":0}`)
	if n := asleep(); n != 0 {
		t.Errorf("suspended, it counts as asleep with %d", n)
	}
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 2}); !errors.Is(err, sources.ErrChanged) {
		t.Errorf("waking what people suspended: %v", err)
	}
	s.people(`{"id":"/web","instances":2}`)
	sleep(2) // the label with this number is there
	if n := asleep(); n != 2 {
		t.Errorf("asleep with %d, labels %v", n, s.now().Labels)
	}
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 2}); err != nil {
		t.Error(err)
	}
	s.want(2, map[string]string{"HAPROXY_GROUP": "external", "new": "label"})
}

// A change of the size alone touches no label, so that no task is started anew.
func TestGrow(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 1, `{"RELAY_ASLEEP":"4"}`)
	task := s.Tasks("/web")[0].ID
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 3}); err != nil {
		t.Fatal(err)
	}
	s.want(3, map[string]string{"RELAY_ASLEEP": "4"})
	if !slices.ContainsFunc(s.Tasks("/web"), func(other marathontest.Task) bool { return other.ID == task }) {
		t.Error("the task is gone")
	}
}

func TestShrinkByTasks(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 4, webLabels)
	tasks := s.Tasks("/web")
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 2, Kill: []string{tasks[0].ID, "of_another.1", tasks[2].ID, tasks[1].ID}}); err != nil {
		t.Fatal(err)
	}
	s.want(2, labelled())
	left := s.Tasks("/web")
	if len(left) != 2 || left[0].ID != tasks[2].ID || left[1].ID != tasks[3].ID {
		t.Errorf("left %v of %v", left, tasks)
	}
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 1, Kill: []string{tasks[0].ID}}); err != nil {
		t.Fatal(err) // it is gone: Marathon chooses
	}
	s.want(1, labelled())
}

func TestRefusedChanges(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before func(s *scaled)
		r      sources.Rescale
		want   error
		says   string
	}{
		"changed":      {r: sources.Rescale{Version: "2020-01-01T00:00:00.000Z", Asleep: 1}, want: sources.ErrChanged, says: "/web"},
		"gone":         {before: func(s *scaled) { s.RemoveApp("/web") }, want: sources.ErrGone},
		"suspended":    {before: func(s *scaled) { s.people(`{"id":"/web","instances":0}`) }, r: sources.Rescale{Instances: 1}, want: sources.ErrChanged, says: "people"},
		"not to sleep": {before: func(s *scaled) { s.people(`{"id":"/web","instances":0}`) }, r: sources.Rescale{Asleep: 1}, want: sources.ErrChanged, says: "people"},
		"deployed":     {before: func(s *scaled) { s.SetBoot("/web", time.Hour); _ = s.Apply(`{"id":"/web","instances":2}`) }, r: sources.Rescale{Instances: 1}, want: sources.ErrLocked},
		"deployed next": {before: func(s *scaled) {
			s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Status: 409, Body: `{"message":"App is locked"}`})
		}, r: sources.Rescale{Asleep: 1}, want: sources.ErrLocked, says: "App is locked"},
		"deleted next": {before: func(s *scaled) {
			s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Before: func() { s.RemoveApp("/web") }})
		}, r: sources.Rescale{Asleep: 1}, want: sources.ErrGone},
		"forbidden": {before: func(s *scaled) {
			s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Status: 403, Body: `{"message":"Not Authorized"}`})
		}, r: sources.Rescale{Asleep: 1}, says: "permission to update"},
		"refused": {before: func(s *scaled) {
			s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Status: 500, Body: `{"message":"no store"}`})
		}, r: sources.Rescale{Asleep: 1}, says: "no store"},
		"nonsense": {r: sources.Rescale{Asleep: 1, Instances: 1}, says: "has none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScaled(t, 1, webLabels)
			if tt.before != nil {
				tt.before(s)
			}
			if tt.r.Version == "" && tt.want != sources.ErrGone {
				tt.r.Version = s.version()
			}
			if name == "deleted next" {
				tt.r.Version = s.version()
			}
			_, err := s.rescale(tt.r)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%v, want %v with %q", err, tt.want, tt.says)
			}
			for _, other := range []error{sources.ErrChanged, sources.ErrGone, sources.ErrLocked} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("%v is %v", err, other)
				}
			}
		})
	}
	s := scalerOf(t, Config{URLs: []string{"http://127.0.0.1:1"}})
	for _, id := range []string{"", "web", "/a/../b", "/a/*", "/a/restart", "/a//b", "/a?force=true"} {
		if _, err := s.Rescale(t.Context(), sources.Rescale{App: id, Instances: 1}); err == nil || strings.Contains(err.Error(), "refused") {
			t.Errorf("%q is asked for: %v", id, err)
		}
	}
}

// A deployment of its own may be overtaken, one of people never.
func TestOver(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 1, webLabels)
	s.SetBoot("/web", time.Hour)
	first, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.rescale(sources.Rescale{Version: first.Version, Instances: 2, Over: "another"}); !errors.Is(err, sources.ErrLocked) {
		t.Errorf("over another deployment: %v", err)
	}
	if _, err := s.rescale(sources.Rescale{Version: first.Version, Instances: 1, Over: first.Deployment}); err != nil {
		t.Error(err)
	}
	s.want(1, labelled())
}

// An answer that was lost is no failure if Marathon did what was asked.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, webLabels)
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Cut: true, Times: 1})
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Asleep: 2}); err != nil {
		t.Error(err)
	}
	s.want(0, labelled("RELAY_ASLEEP", "2"))
	s.Inject(marathontest.WriteOf("/web"), marathontest.Fault{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Scaler.Rescale(ctx, sources.Rescale{App: "/web", Version: s.version(), Instances: 2}); err == nil {
		t.Error("no error though Marathon does not answer")
	}
}
