package scaling

import (
	"slices"
	"strings"
	"sync"

	"relay/sources"
)

// Stage stands between a source and the next Sink. It shows apps to a Controller, and hands them on
// as the Controller wants them to be routed.
type Stage struct {
	controller *Controller
	// mu is held while next is told something, so that what it was told last is the newest. Who holds
	// it may lock the Controller, and not the other way round.
	mu    sync.Mutex
	next  sources.Sink
	cause string // of the source's next call
}

var _ sources.CauseSink = (*Stage)(nil)

// NewStage returns a Stage for a Controller, which tells next from now on.
func NewStage(c *Controller, next sources.Sink) *Stage {
	s := &Stage{controller: c, next: next}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stage = s
	return s
}

// AppsBecause implements sources.CauseSink.
func (s *Stage) AppsBecause(cause string) { s.cause = cause }

// SyncApps implements sources.Sink.
func (s *Stage) SyncApps(apps []*sources.App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.controller.take(apps, nil, true)
	s.because()
	s.next.SyncApps(s.controller.handOn(apps))
	s.flush()
}

// UpdateApps implements sources.Sink.
func (s *Stage) UpdateApps(set []*sources.App, removed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.controller.take(set, removed, false)
	s.because()
	s.next.UpdateApps(s.controller.handOn(set), removed)
	s.flush()
}

// because hands on why the next Sink is told something.
func (s *Stage) because() {
	sources.Because(s.next, s.cause)
	s.cause = ""
}

// changed hands on what is to be routed in another way by now.
func (s *Stage) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
}

func (s *Stage) flush() {
	apps, cause := s.controller.pending()
	if len(apps) > 0 {
		sources.Because(s.next, cause)
		s.next.UpdateApps(apps, nil)
	}
}

// routing is how an app is to be routed. The zero value is as it was read.
type routing struct {
	gated bool
	// stopped leaves out all endpoints, and drained has those of some tasks take nothing new.
	stopped bool
	drained []string
}

// routing is how the phase has the app routed.
func (s *state) routing(r *read, stale bool) routing {
	to := routing{gated: s.phase.gated()}
	switch s.phase {
	case Asleep:
		to.stopped = true
	case Stopping:
		to.stopped = !s.unsure && s.trouble == "" && s.written != ""
	case Waking:
		switch {
		case r.instances == 0:
			to.stopped = true
		case stale || r.deploying:
			to.drained = s.dying
		}
	case Awake:
		to.drained = s.leaving()
		if r.deploying {
			to.drained = slices.Concat(to.drained, s.dying)
		}
	}
	return to
}

// apply returns an app as it is to be routed: itself, if that is as it was read.
func (to *routing) apply(app *sources.App) *sources.App {
	if !to.gated && len(to.drained) == 0 {
		return app
	}
	copied := *app
	copied.Gated = to.gated
	if !to.stopped && len(to.drained) == 0 {
		return &copied
	}
	copied.Ports = make([]sources.Port, len(app.Ports))
	for i, port := range app.Ports {
		copied.Ports[i] = to.port(port)
	}
	return &copied
}

// port returns a port as it is to be routed.
func (to *routing) port(port sources.Port) sources.Port {
	endpoints := make([]sources.Endpoint, 0, len(port.Endpoints))
	excluded := slices.Clone(port.Excluded)
	for _, e := range port.Endpoints {
		if to.stopped {
			excluded = append(excluded, sources.Excluded{Task: e.Task, Reason: "is being stopped, since the app was put to sleep"})
			continue
		}
		if slices.Contains(to.drained, e.Task) {
			e.Health = sources.Draining
		}
		endpoints = append(endpoints, e)
	}
	slices.SortFunc(excluded, func(a, b sources.Excluded) int { return strings.Compare(a.Task, b.Task) })
	port.Endpoints, port.Excluded = endpoints, excluded
	return port
}

func (to *routing) equal(other *routing) bool {
	return to.gated == other.gated && to.stopped == other.stopped && slices.Equal(to.drained, other.drained)
}
