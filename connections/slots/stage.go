package slots

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/sources"
)

// Stage stands between a source and the next Sink, and gives slots to the instances that pass.
type Stage struct {
	// Others, if it is set, returns the slots that another Relay has given, which may know more of what happened while this
	// one did not run. It is set before the first call, and asked once.
	Others func() []Port

	next  sources.Sink
	saved func() []*sources.App // nil once it was called
	// mu guards what follows.
	mu sync.Mutex
	// groups are those that may have slots, by name, and names has the group of each app in them, by its id.
	groups map[string]*group
	names  map[string]string
	began  time.Time // when the source was read for the first time
	cause  string    // of the source's next call
}

var _ sources.CauseSink = (*Stage)(nil)

// New returns a Stage that hands on to next. When the source says something for the first time, saved returns what was
// handed on in an earlier life, as far as it is known: what is there still keeps its slot.
func New(next sources.Sink, saved func() []*sources.App) *Stage {
	return &Stage{next: next, saved: saved, groups: make(map[string]*group), names: make(map[string]string)}
}

// AppsBecause implements sources.CauseSink.
func (s *Stage) AppsBecause(cause string) { s.cause = cause }

// because hands on why the next Sink is told something.
func (s *Stage) because() {
	sources.Because(s.next, s.cause)
	s.cause = ""
}

// SyncApps implements sources.Sink.
func (s *Stage) SyncApps(apps []*sources.App) {
	s.begin()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.groups
	s.groups, s.names = make(map[string]*group), make(map[string]string)
	touched := make(map[string]bool)
	for _, app := range apps {
		s.add(app, touched)
	}
	for name, g := range s.groups {
		if known := before[name]; known != nil {
			g.ports = known.ports
		}
	}
	all := s.handOn(apps, touched)
	s.read()
	s.because()
	s.next.SyncApps(all)
}

// UpdateApps implements sources.Sink.
func (s *Stage) UpdateApps(set []*sources.App, removed []string) {
	s.begin()
	s.mu.Lock()
	defer s.mu.Unlock()
	touched := make(map[string]bool)
	for _, id := range removed {
		s.remove(id, touched)
	}
	for _, app := range set {
		s.add(app, touched)
	}
	all := s.handOn(set, touched)
	s.read()
	s.because()
	s.next.UpdateApps(all, removed)
}

// begin takes over, the first time, what was saved, and what another Relay knows. While that is asked, this one can be asked, too.
func (s *Stage) begin() {
	if s.saved == nil {
		return
	}
	saved, others := s.saved(), []Port(nil)
	if s.Others != nil {
		others = s.Others()
	}
	s.saved = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, app := range saved {
		s.add(app, make(map[string]bool))
	}
	for _, g := range s.groups {
		g.restore()
	}
	s.takeOver(others)
}

// read notes that the source was read.
func (s *Stage) read() {
	if s.began.IsZero() {
		s.began = time.Now()
	}
}

// add takes in an app, and notes the groups that it is or was in.
func (s *Stage) add(app *sources.App, touched map[string]bool) {
	if app == nil {
		return
	}
	if !follows(app) {
		s.remove(app.ID, touched)
		return
	}
	name := nameOf(app)
	if was, ok := s.names[app.ID]; ok && was != name {
		s.remove(app.ID, touched)
	}
	g := s.groups[name]
	if g == nil {
		g = newGroup()
		s.groups[name] = g
	}
	g.members[app.ID], s.names[app.ID], touched[name] = app, name, true
}

// remove forgets an app. When nothing is left of a group, its slots are forgotten too.
func (s *Stage) remove(id string, touched map[string]bool) {
	name, ok := s.names[id]
	if !ok {
		return
	}
	g := s.groups[name]
	delete(g.members, id)
	delete(g.told, id)
	delete(s.names, id)
	touched[name] = true
	if len(g.members) == 0 {
		delete(s.groups, name)
	}
}

// handOn returns the apps with their slots, and other members of their groups if theirs have changed.
func (s *Stage) handOn(apps []*sources.App, touched map[string]bool) []*sources.App {
	if len(touched) == 0 {
		return apps
	}
	given := make(map[string]bool, len(apps))
	for _, app := range apps {
		if app != nil {
			given[app.ID] = true
		}
	}
	with, more := make(map[string]*sources.App), []*sources.App(nil)
	for name := range touched {
		g := s.groups[name]
		if g == nil {
			continue
		}
		assigned := g.assign()
		for id, app := range assigned {
			if !given[id] && !app.Equal(g.told[id]) {
				more = append(more, app)
			}
		}
		g.told = assigned
		maps.Copy(with, assigned)
	}
	all := slices.Clone(apps)
	for i, app := range all {
		if app != nil && with[app.ID] != nil {
			all[i] = with[app.ID]
		}
	}
	slices.SortFunc(more, func(a, b *sources.App) int { return strings.Compare(a.ID, b.ID) })
	return append(all, more...)
}
