package deployments

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relay/sources"
)

// groupsOf notes under which names apps were handed on.
type groupsOf map[string]string

func (g groupsOf) SyncApps(apps []*sources.App) { clear(g); g.UpdateApps(apps, nil) }

func (g groupsOf) UpdateApps(set []*sources.App, removed []string) {
	for _, id := range removed {
		delete(g, id)
	}
	for _, app := range set {
		g[app.ID] = "-"
		if app.Deployment != nil {
			g[app.ID] = app.Deployment.Group
		}
		if named := strings.Contains(g[app.ID], "@"); named != (len(app.Problems) == 1) {
			g[app.ID] += " with another problem"
		}
	}
}

func (g groupsOf) expect(t *testing.T, what string, want string) {
	t.Helper()
	var got []string
	for id, group := range g {
		got = append(got, id+"="+group)
	}
	slices.Sort(got)
	if got := strings.Join(got, " "); got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func none() []*sources.App { return nil }

// Whose apps were there first keeps the name, whoever comes, and a folder keeps its own while it has an app of the group.
func TestNames(t *testing.T) {
	t.Parallel()
	out := groupsOf{}
	n := NewNames(out, none)
	app := func(id string) *sources.App { return inGroup(id, "/web/", 1) }
	blue, green, alone := app("/shop/web-blue"), app("/shop/web-green"), &sources.App{ID: "/alone"}
	n.SyncApps([]*sources.App{blue, alone, app("/blue"), inGroup("/b/x", "shop/x", 1), inGroup("/shop/y", "shop/x", 1), inGroup("/c/z", "shop/x", 1)})
	out.expect(t, "at once: the root, the folder of the name, then the order of folders",
		"/alone=- /b/x=shop/x@b /blue=/web/ /c/z=shop/x@c /shop/web-blue=web@shop /shop/y=shop/x")
	n.SyncApps([]*sources.App{blue, green})
	out.expect(t, "a name stays if its group has the other one for itself", "/shop/web-blue=web@shop /shop/web-green=web@shop")
	n.UpdateApps(nil, []string{blue.ID, green.ID})
	n.UpdateApps([]*sources.App{blue}, nil)
	out.expect(t, "it is free when all have gone", "/shop/web-blue=/web/")
	n.UpdateApps([]*sources.App{app("/a/web"), app("/root"), blue}, nil)
	out.expect(t, "nobody takes it", "/a/web=web@a /root=web@ /shop/web-blue=/web/")
	n.UpdateApps([]*sources.App{green, app("/b/web")}, []string{blue.ID})
	out.expect(t, "one app after the other", "/a/web=web@a /b/web=web@b /root=web@ /shop/web-green=/web/")
	n.UpdateApps([]*sources.App{inGroup(green.ID, "else", 1), blue}, nil)
	out.expect(t, "one leaves the group as another one joins", "/a/web=web@a /b/web=web@b /root=web@ /shop/web-blue=/web/ /shop/web-green=else")
	n.UpdateApps([]*sources.App{app("/c/web")}, []string{blue.ID, "/nobody"})
	n.UpdateApps([]*sources.App{app("/d/web")}, nil)
	out.expect(t, "who comes when it is free has it", "/a/web=web@a /b/web=web@b /c/web=web@c /d/web=/web/ /root=web@ /shop/web-green=else")
	if blue.Deployment.Group != "/web/" || len(blue.Problems) > 0 {
		t.Errorf("what was read is modified: %+v", blue)
	}
	n.SyncApps(nil)
	if len(n.groups)+len(n.apps) > 0 {
		t.Errorf("kept of what is gone: %v %v", n.groups, n.apps)
	}
}

// A restart changes no name: those of before are saved with the apps.
func TestNamesAfterARestart(t *testing.T) {
	t.Parallel()
	app := func(id, group string) *sources.App { return inGroup(id, group, 1) }
	for _, first := range []string{"SyncApps", "UpdateApps"} {
		out := groupsOf{}
		n := NewNames(out, func() []*sources.App {
			return []*sources.App{app("/shop/web", "/web/"), app("/a/web", "web@a"), app("/gone/web", "gone"), app("/y/old", "old"), app("/x/old", "old"), {ID: "/alone"}}
		})
		apps := []*sources.App{app("/0/web", "web"), app("/a/web", "web"), app("/shop/web", "web"), app("/a/new", "gone"), app("/x/old", "old"), app("/y/old", "old")}
		if first == "UpdateApps" {
			n.UpdateApps(apps[:1], nil)
		}
		n.SyncApps(apps)
		gone := "gone" // is free, if nothing was told in between
		if got := out["/a/new"]; got == "gone@a" {
			gone = got
		}
		out.expect(t, first, "/0/web=web@0 /a/new="+gone+" /a/web=web@a /shop/web=web /x/old=old /y/old=old@y")
		n.SyncApps(nil)
		if len(n.groups) > 0 {
			t.Errorf("kept of what is gone: %v", n.groups)
		}
	}
}

// Whatever happens, two apps are of one group if and only if they name one and are in one folder, and a name stays while
// an app of its group stays.
func TestNamesAnyhow(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	ids := []string{"/1", "/2", "/a/1", "/a/2", "/a/3", "/b/1", "/b/2", "/c/x/1", "/c/y/2"}
	out, now := groupsOf{}, make(map[string]*sources.App)
	n := NewNames(out, none)
	for step := range 5000 {
		before, called := maps.Clone(now), maps.Clone(out)
		var set []*sources.App
		var removed []string
		for _, i := range random.Perm(len(ids))[:random.IntN(5)] {
			id := ids[i]
			if random.IntN(3) == 0 {
				delete(now, id)
				removed = append(removed, id)
			} else {
				now[id] = inGroup(id, []string{"g", "h", ""}[random.IntN(3)], 1)
				set = append(set, now[id])
			}
		}
		if random.IntN(5) == 0 {
			n.SyncApps(slices.Collect(maps.Values(now)))
		} else {
			n.UpdateApps(set, removed)
		}
		names, homes := make(map[home]string), make(map[string]home)
		for id, app := range now {
			at, name := homeOf(app), out[id]
			if at.group == "" {
				continue
			}
			if other, ok := homes[name]; ok && other != at {
				t.Fatalf("step %d: %+v and %+v are both called %q", step, at, other, name)
			}
			if other, ok := names[at]; ok && other != name {
				t.Fatalf("step %d: %+v is called %q and %q", step, at, name, other)
			}
			if was := before[id]; was != nil && homeOf(was) == at && called[id] != name {
				t.Fatalf("step %d: %+v was called %q and is called %q", step, at, called[id], name)
			}
			names[at], homes[name] = name, at
		}
	}
}
