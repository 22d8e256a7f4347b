package deployments

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"relay/internal/problem"
	"relay/sources"
)

// groupLabel is the label that names the group.
const groupLabel = "HAPROXY_DEPLOYMENT_GROUP"

// Names stands between a source and all that knows groups by their names, and keeps tenants apart: apps of
// different top-level folders that name one group are of different groups. Whose apps were there first has
// the name as it is written. A group of another folder is called "shop@folder" instead (an "@" is in no
// name that apps may write), and its apps have a problem that says so. A name stays as long as its folder has apps of the group: so
// nobody can take it from others, or have it changed, by an app of his own.
//
// It is used by one goroutine, that of the source.
type Names struct {
	next sources.Sink
	// saved returns what was handed on in an earlier life; nil once it was called.
	saved  func() []*sources.App
	groups map[string]map[string]*tenant // by the name that apps write, then by folder
	apps   map[string]home               // by id, those in groups
}

// tenant is the apps of one folder that name a group.
type tenant struct {
	name string
	apps int
}

// home is the group that an app names, and its top-level folder.
type home struct{ group, folder string }

var _ sources.CauseSink = (*Names)(nil)

// NewNames returns Names that hand on to next. When the source says something for the first time, saved returns what
// was handed on before a restart, as far as it is known: names that are still needed stay.
func NewNames(next sources.Sink, saved func() []*sources.App) *Names {
	return &Names{next: next, saved: saved, groups: make(map[string]map[string]*tenant), apps: make(map[string]home)}
}

// AppsBecause implements sources.CauseSink.
func (n *Names) AppsBecause(cause string) { sources.Because(n.next, cause) }

// SyncApps implements sources.Sink.
func (n *Names) SyncApps(apps []*sources.App) {
	n.begin()
	gone := make(map[string]bool, len(n.apps))
	for id := range n.apps {
		gone[id] = true
	}
	for _, app := range apps {
		delete(gone, app.ID)
	}
	n.take(apps)
	for id := range gone {
		n.leave(id)
	}
	for group, folders := range n.groups { // those that were saved, and are no more
		for folder, t := range folders {
			n.drop(home{group, folder}, t)
		}
	}
	n.next.SyncApps(n.named(apps))
}

// UpdateApps implements sources.Sink.
func (n *Names) UpdateApps(set []*sources.App, removed []string) {
	n.begin()
	n.take(set)
	for _, id := range removed {
		n.leave(id)
	}
	n.next.UpdateApps(n.named(set), removed)
}

// begin takes over the names of before a restart.
func (n *Names) begin() {
	if n.saved == nil {
		return
	}
	apps := n.saved()
	n.saved = nil
	var written []home
	for _, app := range apps {
		if app.Deployment == nil {
			continue
		}
		group, _, other := strings.Cut(groupOf(app), "@")
		if at := (home{group, sources.TopFolder(app.ID)}); other {
			n.keep(at, qualified(at))
		} else {
			written = append(written, at)
		}
	}
	n.found(written)
}

// take takes in apps as they are now. Who joins a group does so before anybody leaves one, so that a name stays if one
// app takes over from another.
func (n *Names) take(apps []*sources.App) {
	var fresh []home
	for _, app := range apps {
		if at := homeOf(app); at.group != "" && n.groups[at.group][at.folder] == nil {
			fresh = append(fresh, at)
		}
	}
	n.found(fresh)
	moved := make(map[string]home)
	for _, app := range apps {
		if at := homeOf(app); at != n.apps[app.ID] {
			moved[app.ID] = at
		}
	}
	for _, at := range moved {
		if at.group != "" {
			n.groups[at.group][at.folder].apps++
		}
	}
	for id, at := range moved {
		n.leave(id)
		if at.group != "" {
			n.apps[id] = at
		}
	}
}

// found names what may be new. Of several that come at once, the apps at the root get the name as it is written, then
// the folder that the name begins with, then the first folder.
func (n *Names) found(fresh []home) {
	slices.SortFunc(fresh, func(a, b home) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.folder, b.folder))
	})
	for _, at := range fresh {
		if n.groups[at.group][at.folder] != nil {
			continue
		}
		name := at.group
		for _, t := range n.groups[at.group] {
			if t.name == at.group {
				name = qualified(at)
			}
		}
		n.keep(at, name)
	}
}

func (at home) rank() int {
	first, _, _ := strings.Cut(at.group, "/")
	switch at.folder {
	case "":
		return 0
	case first:
		return 1
	}
	return 2
}

func (n *Names) keep(at home, name string) {
	if n.groups[at.group] == nil {
		n.groups[at.group] = make(map[string]*tenant)
	}
	n.groups[at.group][at.folder] = &tenant{name: name}
}

// leave notes that an app is no more, or not where it was.
func (n *Names) leave(id string) {
	at, ok := n.apps[id]
	if !ok {
		return
	}
	delete(n.apps, id)
	t := n.groups[at.group][at.folder]
	t.apps--
	n.drop(at, t)
}

// drop forgets a name that no app has any more.
func (n *Names) drop(at home, t *tenant) {
	if t.apps > 0 {
		return
	}
	if delete(n.groups[at.group], at.folder); len(n.groups[at.group]) == 0 {
		delete(n.groups, at.group)
	}
}

// named returns apps with the names of their groups.
func (n *Names) named(apps []*sources.App) []*sources.App {
	copied := false
	for i, app := range apps {
		at := n.apps[app.ID]
		if at.group == "" || n.groups[at.group][at.folder].name == at.group {
			continue
		}
		if !copied {
			apps, copied = slices.Clone(apps), true
		}
		apps[i] = renamed(app, at)
	}
	return apps
}

// renamed is an app in the group of its folder.
func renamed(app *sources.App, at home) *sources.App {
	with, deployment := *app, *app.Deployment
	deployment.Group, with.Deployment = qualified(at), &deployment
	with.Problems = append(slices.Clone(app.Problems), problem.Problem{
		Subject: groupLabel,
		Reason: fmt.Sprintf("apps of another top-level folder named the deployment group %q before: this app is in a group of its own folder, which is called %q",
			sources.Clip(at.group), sources.Clip(deployment.Group)),
		Action: "give the group a name that no other folder has, such as one that begins with the folder; apps that are to be one service must be in one top-level folder",
	})
	return &with
}

// homeOf is where an app belongs; zero if it is in no group.
func homeOf(app *sources.App) home {
	group := groupOf(app)
	if group == "" {
		return home{}
	}
	return home{group, sources.TopFolder(app.ID)}
}

// qualified is the name of a group whose name others have.
func qualified(at home) string { return at.group + "@" + at.folder }
