package deployments

import (
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// sink notes which apps it is told of, those that are rolled back in brackets.
type sink struct{ told []string }

func (s *sink) note(apps []*sources.App) {
	for _, app := range apps {
		name := app.ID
		if app.Deployment != nil && app.Deployment.Back {
			name = "(" + name + ")"
		}
		s.told = append(s.told, name)
	}
}

func (s *sink) SyncApps(apps []*sources.App)                  { s.note(apps) }
func (s *sink) UpdateApps(apps []*sources.App, gone []string) { s.note(apps); s.note(removed(gone)) }

func removed(ids []string) (apps []*sources.App) {
	for _, id := range ids {
		apps = append(apps, &sources.App{ID: "-" + id})
	}
	return apps
}

func (s *sink) expect(t *testing.T, what, want string) {
	t.Helper()
	if got := strings.Join(s.told, " "); got != want {
		t.Errorf("%s: told of %q, want %q", what, got, want)
	}
	s.told = nil
}

func inGroup(id, group string, hour int) *sources.App {
	return &sources.App{ID: id, Deployment: &sources.Deployment{Group: group, StartedAt: time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC)}}
}

// Members of a group that is rolled back are handed on anew when that begins and ends; other apps are not
// touched. The direction is for one new app: another one is not rolled back.
func TestStage(t *testing.T) {
	t.Parallel()
	out := &sink{}
	s := NewStage(out, nil)
	var saved []Direction
	s.Save = func(all []Direction) { saved = all }
	blue, green, alone := inGroup("/blue", "/imp/", 1), inGroup("/green", "imp", 2), &sources.App{ID: "/alone"}
	s.SyncApps([]*sources.App{blue, green, alone, inGroup("/x", "other", 1)})
	out.expect(t, "at first", "/blue /green /alone /x")
	s.Turn("imp", false, time.Now())
	s.Turn("none", true, time.Now())
	out.expect(t, "the direction that it has", "")
	_, _, changed := s.Members("imp")
	s.Turn("imp", true, time.Unix(100, 0))
	out.expect(t, "back", "(/blue) (/green)")
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if blue.Deployment.Back || green.Deployment.Back {
		t.Error("what was read is modified")
	}
	s.UpdateApps([]*sources.App{blue, alone}, nil)
	out.expect(t, "a change", "(/blue) /alone (/green)")
	if len(saved) != 1 || !saved[0].Back || saved[0].New != "/green" {
		t.Errorf("saved: %+v", saved)
	}

	// A Relay that is started anew goes on.
	again := &sink{}
	NewStage(again, saved).SyncApps([]*sources.App{blue, green})
	again.expect(t, "after a restart", "(/blue) (/green)")

	// Another Relay learns of it, and of nothing that is older.
	other := NewStage(again, nil)
	other.SyncApps([]*sources.App{blue, green})
	again.expect(t, "another Relay", "/blue /green")
	other.Learn([]Direction{{Group: "gone", Back: true, At: time.Unix(200, 0)}})
	other.Learn(saved)
	again.expect(t, "it learns", "(/blue) (/green)")
	other.Learn([]Direction{{Group: "imp", New: "/green", StartedAt: green.Deployment.StartedAt, At: time.Unix(99, 0)}})
	again.expect(t, "something older", "")
	other.Learn([]Direction{{Group: "imp", New: "/green", StartedAt: green.Deployment.StartedAt, At: time.Now().Add(time.Hour)}})
	again.expect(t, "a clock that is wrong", "")
	other.Turn("imp", false, time.Unix(300, 0))
	again.expect(t, "it is turned there", "/blue /green")
	s.Learn(other.Directions())
	out.expect(t, "which is learnt here", "/blue /green")

	// A new app of the group is not rolled back, and neither is what is left when it goes.
	s.Turn("imp", true, time.Unix(299, 0)) // a clock that is behind
	out.expect(t, "back again", "(/blue) (/green)")
	s.UpdateApps([]*sources.App{inGroup("/red", "imp", 3)}, nil)
	out.told = slices.Sorted(slices.Values(out.told))
	out.expect(t, "a newer app", "/blue /green /red")
	s.UpdateApps(nil, []string{"/red"})
	out.expect(t, "it is gone", "-/red (/blue) (/green)")
	s.UpdateApps(nil, []string{"/blue"})
	out.expect(t, "one is left", "-/blue /green")
	s.SyncApps([]*sources.App{alone})
	if groups := s.Groups(); len(groups) != 0 {
		t.Errorf("groups %v", groups)
	}
}

// A deployment that begins anew under the same id goes on, not back.
func TestDirectionOfAnotherDeployment(t *testing.T) {
	t.Parallel()
	out := &sink{}
	s := NewStage(out, []Direction{{Group: "imp", Back: true, New: "/green", StartedAt: time.Date(2026, 5, 1, 2, 0, 0, 0, time.UTC)}})
	s.SyncApps([]*sources.App{inGroup("/blue", "imp", 1), inGroup("/green", "imp", 4)})
	out.expect(t, "another deployment", "/blue /green")
}

// What drained, took connections again and drains once more is counted anew.
func TestDrainsAnew(t *testing.T) {
	t.Parallel()
	w := newModel(t, 1)
	w.change(w.apps[1], 1)
	w.settle()
	w.report()
	look := func() (settled bool) {
		w.report()
		s, _ := w.manager.Look(t.Context(), "imp")
		for _, task := range s.Apps[0].Tasks {
			settled = settled || task.Settled
		}
		return settled
	}
	if look() || !look() {
		t.Fatal("it is not known what is left after a report")
	}
	w.stage.UpdateApps(w.read(), nil) // the same apps, routed anew
	w.at = w.at.Add(-time.Hour)
	if s, _ := w.manager.Look(t.Context(), "imp"); s.Apps[0].Tasks[0].Settled {
		t.Error("a report of before counts")
	}
}

// A group is found by its name, and by its name with the folder, also if it is called otherwise.
func TestGroupsAreFound(t *testing.T) {
	t.Parallel()
	s := NewStage(&sink{}, nil)
	NewNames(s, none).SyncApps([]*sources.App{inGroup("/b/web", "web", 1), inGroup("/c/web", "web", 1), inGroup("/root", "alone", 1)})
	for name, want := range map[string]string{"web": "web", "web@b": "web", "web@c": "web@c", "web@d": "web@d", "alone@": "alone", "none": "none", "none@b": "none@b"} {
		if got := s.Called(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
