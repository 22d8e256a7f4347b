package deployments

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/sources"
)

// Prefix begins the names under which groups are routed.
const Prefix = "deployment-group/"

// groupOf is the group of an app, without the slashes around it; empty if it has none.
func groupOf(app *sources.App) string {
	if app.Deployment == nil {
		return ""
	}
	return strings.Trim(app.Deployment.Group, "/")
}

// Direction is where a group goes: back, or, which is the default, on to its new app.
type Direction struct {
	Group string `json:"group"`
	Back  bool   `json:"back"`
	// At is when people said so. Of two directions the later holds.
	At time.Time `json:"at"`
	// New is the app that was the new one then, and StartedAt when its deployment began. Of another one
	// nobody has said anything.
	New       string    `json:"new"`
	StartedAt time.Time `json:"startedAt"`
}

// Stage stands between a source and what routes apps. It remembers the apps of deployment groups, and
// notes in them which groups are rolled back. All other apps are handed on as they are.
type Stage struct {
	// mu is held while next is told something.
	mu   sync.Mutex
	next sources.Sink
	// Save is told of the directions, unless it is nil, whenever they change. It is set before the first call.
	Save       func([]Direction)
	directions map[string]Direction
	members    map[string]*sources.App // of groups, by id, as the source says
	groups     map[string]map[string]bool
	cause      string
	// changed is closed and replaced whenever a member changes.
	changed chan struct{}
}

var _ sources.CauseSink = (*Stage)(nil)

// NewStage returns a Stage that tells next, with directions that people gave before a restart.
func NewStage(next sources.Sink, known []Direction) *Stage {
	s := &Stage{
		next: next, directions: make(map[string]Direction), members: make(map[string]*sources.App),
		groups: make(map[string]map[string]bool), changed: make(chan struct{}),
	}
	for _, d := range known {
		s.directions[d.Group] = d
	}
	return s
}

// AppsBecause implements sources.CauseSink.
func (s *Stage) AppsBecause(cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cause = cause
}

// SyncApps implements sources.Sink.
func (s *Stage) SyncApps(apps []*sources.App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[string]bool)
	for _, app := range apps {
		if app.Deployment != nil {
			there[app.ID] = true
		}
	}
	for _, id := range slices.Collect(maps.Keys(s.members)) {
		if !there[id] {
			s.forget(id)
		}
	}
	s.take(apps)
	s.because()
	s.next.SyncApps(s.marked(apps))
	s.tell()
}

// UpdateApps implements sources.Sink.
func (s *Stage) UpdateApps(set []*sources.App, removed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	concerned := s.concerned(set, removed)
	for _, id := range removed {
		s.forget(id)
	}
	s.take(set)
	s.because()
	s.next.UpdateApps(s.marked(set), removed)
	// Which app of a group is the new one may have changed, and with it whether it is rolled back.
	s.hand(concerned, set)
	s.tell()
}

// concerned are the groups of some apps that were rolled back before they change.
func (s *Stage) concerned(set []*sources.App, removed []string) (groups []string) {
	note := func(group string) {
		if s.directions[group].Back && !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	for _, id := range removed {
		if app := s.members[id]; app != nil {
			note(groupOf(app))
		}
	}
	for _, app := range set {
		note(groupOf(app))
		if before := s.members[app.ID]; before != nil {
			note(groupOf(before))
		}
	}
	return groups
}

// hand hands the members of groups on anew, but those that were just handed on.
func (s *Stage) hand(groups []string, but []*sources.App) {
	var again []*sources.App
	for _, group := range groups {
		for id := range s.groups[group] {
			if !slices.ContainsFunc(but, func(app *sources.App) bool { return app.ID == id }) {
				again = append(again, s.members[id])
			}
		}
	}
	if len(again) > 0 {
		slices.SortFunc(again, func(a, b *sources.App) int { return cmp.Compare(a.ID, b.ID) })
		s.next.UpdateApps(s.marked(again), nil)
	}
}

func (s *Stage) because() {
	sources.Because(s.next, s.cause)
	s.cause = ""
}

func (s *Stage) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Stage) forget(id string) {
	app := s.members[id]
	if app == nil {
		return
	}
	delete(s.members, id)
	group := groupOf(app)
	if delete(s.groups[group], id); len(s.groups[group]) == 0 {
		delete(s.groups, group)
	}
}

func (s *Stage) take(apps []*sources.App) {
	for _, app := range apps {
		s.forget(app.ID)
		if group := groupOf(app); group != "" {
			s.members[app.ID] = app
			if s.groups[group] == nil {
				s.groups[group] = make(map[string]bool)
			}
			s.groups[group][app.ID] = true
		}
	}
}

// marked returns apps as they are to be routed.
func (s *Stage) marked(apps []*sources.App) []*sources.App {
	copied := false
	for i, app := range apps {
		if group := groupOf(app); group == "" || !s.back(group) {
			continue
		}
		if !copied {
			apps, copied = slices.Clone(apps), true
		}
		with, deployment := *app, *app.Deployment
		deployment.Back, with.Deployment = true, &deployment
		apps[i] = &with
	}
	return apps
}

// back reports whether a group is rolled back: people said so of the app that is the new one.
func (s *Stage) back(group string) bool {
	d, ok := s.directions[group]
	if !ok || !d.Back {
		return false
	}
	newest := s.newest(group)
	return newest != nil && len(s.groups[group]) > 1 && newest.ID == d.New && newest.Deployment.StartedAt.Equal(d.StartedAt)
}

// newest is the new app of a group.
func (s *Stage) newest(group string) *sources.App {
	all := s.of(group)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// of returns the apps of a group: the last is the new one.
func (s *Stage) of(group string) []*sources.App {
	all := make([]*sources.App, 0, len(s.groups[group]))
	for id := range s.groups[group] {
		all = append(all, s.members[id])
	}
	slices.SortFunc(all, sources.CompareInDeployment)
	return all
}

// Groups returns the names of all groups.
func (s *Stage) Groups() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.groups))
}

// Called returns the name of a group that people name with its folder, as "shop@folder". That is good for each group of
// the folder, also if no other folder has one of this name, so that it lasts.
func (s *Stage) Called(group string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	written, folder, given := strings.Cut(group, "@")
	if s.groups[group] == nil && given {
		for id := range s.groups[written] {
			if sources.TopFolder(id) == folder {
				return written
			}
		}
	}
	return group
}

// Members returns the apps of a group, of which the last is the new one, whether the group is rolled
// back, and a channel that is closed when any app of any group changes.
func (s *Stage) Members(group string) (members []*sources.App, back bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(group), s.back(group), s.changed
}

// Turn has a group go back, or on, from a moment on. It returns when the routing was told.
func (s *Stage) Turn(group string, back bool, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := s.newest(group)
	if newest == nil || s.back(group) == back {
		return
	}
	if last := s.directions[group].At; !at.After(last) { // of another Relay, whose clock is ahead
		at = last.Add(time.Millisecond)
	}
	s.set(Direction{Group: group, Back: back, At: at.UTC(), New: newest.ID, StartedAt: newest.Deployment.StartedAt})
}

// maxAhead is by how much the clock of another Relay may be ahead.
const maxAhead = time.Minute

// Learn takes over directions that other Relays were told, where they are later.
func (s *Stage) Learn(directions []Direction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range directions {
		if own, ok := s.directions[d.Group]; (!ok || d.At.After(own.At)) && time.Until(d.At) < maxAhead && s.groups[d.Group] != nil {
			s.set(d)
		}
	}
}

func (s *Stage) set(d Direction) {
	s.directions[d.Group] = d
	for group := range s.directions { // those of groups that are gone
		if s.groups[group] == nil {
			delete(s.directions, group)
		}
	}
	if s.Save != nil {
		s.Save(s.told())
	}
	sources.Because(s.next, "people: "+word(d.Back)+" of the deployment group "+d.Group)
	s.hand([]string{d.Group}, nil)
	s.tell()
}

func word(back bool) string {
	if back {
		return "rollback"
	}
	return "advance"
}

// Directions are those that people gave.
func (s *Stage) Directions() []Direction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told()
}

func (s *Stage) told() []Direction {
	return slices.SortedFunc(maps.Values(s.directions), func(a, b Direction) int { return cmp.Compare(a.Group, b.Group) })
}
