package rebalance

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"relay/sources"
)

// Stage stands between a source and the next Sink. It knows the apps that ask for rebalancing, and hands
// all on as a Balancer wants them.
type Stage struct {
	// mu is held while next is told something, so that what it was told last is the newest.
	mu    sync.Mutex
	next  sources.Sink
	cause string // of the source's next call
	// apps are those that ask for it, as they were read, and sheds what was decided of each port.
	apps  map[string]*sources.App
	sheds map[string]portSheds
}

// portSheds are what the endpoints of an app are to be told, by port.
type portSheds map[int]map[netip.AddrPort]sources.Shed

func (p portSheds) equal(other portSheds) bool {
	return maps.EqualFunc(p, other, func(a, b map[netip.AddrPort]sources.Shed) bool { return maps.Equal(a, b) })
}

var _ sources.CauseSink = (*Stage)(nil)

// NewStage returns a Stage that hands on to next.
func NewStage(next sources.Sink) *Stage {
	return &Stage{next: next, apps: make(map[string]*sources.App), sheds: make(map[string]portSheds)}
}

// AppsBecause implements sources.CauseSink.
func (s *Stage) AppsBecause(cause string) { s.cause = cause }

// SyncApps implements sources.Sink.
func (s *Stage) SyncApps(apps []*sources.App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.apps)
	handed := s.take(apps)
	maps.DeleteFunc(s.sheds, func(id string, _ portSheds) bool { return s.apps[id] == nil })
	s.because()
	s.next.SyncApps(handed)
}

// UpdateApps implements sources.Sink.
func (s *Stage) UpdateApps(set []*sources.App, removed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range removed {
		delete(s.apps, id)
		delete(s.sheds, id)
	}
	handed := s.take(set)
	s.because()
	s.next.UpdateApps(handed, removed)
}

// because hands on why the next Sink is told something.
func (s *Stage) because() {
	sources.Because(s.next, s.cause)
	s.cause = ""
}

// take notes apps, and returns them as they are to be handed on.
func (s *Stage) take(apps []*sources.App) []*sources.App {
	handed := apps
	for i, app := range apps {
		if !slices.ContainsFunc(app.Ports, wants) {
			delete(s.apps, app.ID)
			delete(s.sheds, app.ID)
			continue
		}
		s.apps[app.ID] = app
		if with := s.sheds[app.ID].apply(app); with != app {
			if &handed[0] == &apps[0] {
				handed = slices.Clone(apps)
			}
			handed[i] = with
		}
	}
	return handed
}

// ids are those of the apps that ask for it, sorted.
func (s *Stage) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.apps))
}

// set takes what was decided of all apps, and hands on those for which it is something else.
func (s *Stage) set(decided map[string]portSheds) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changed []*sources.App
	for id, app := range s.apps {
		to := decided[id]
		if s.sheds[id].equal(to) {
			continue
		}
		if len(to) == 0 {
			delete(s.sheds, id)
		} else {
			s.sheds[id] = to
		}
		changed = append(changed, to.apply(app))
	}
	if len(changed) > 0 {
		slices.SortFunc(changed, func(a, b *sources.App) int { return strings.Compare(a.ID, b.ID) })
		sources.Because(s.next, "rebalancing of connections")
		s.next.UpdateApps(changed, nil)
	}
}

// apply returns an app with its sheds: itself, if it has none.
func (p portSheds) apply(app *sources.App) *sources.App {
	if len(p) == 0 {
		return app
	}
	copied := *app
	copied.Ports = slices.Clone(app.Ports)
	for i := range copied.Ports {
		if len(p[i]) == 0 || !wants(copied.Ports[i]) {
			continue
		}
		endpoints := slices.Clone(copied.Ports[i].Endpoints)
		for j := range endpoints {
			endpoints[j].Shed = p[i][plain(endpoints[j].Address)]
		}
		copied.Ports[i].Endpoints = endpoints
	}
	return &copied
}

// plain is an address as Envoys write it.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
