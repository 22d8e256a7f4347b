package hold

import (
	"container/list"
	"context"
	"net/netip"
	"time"

	"relay/connections/waiting"
	"relay/internal/panics"
	"relay/internal/questions"
	"relay/internal/ratelimit"
)

// groupKey is an app port as one Envoy asks for it.
type groupKey struct {
	portKey
	fleet, node string
}

// group is the connections of one Envoy to one app port. They go on together.
type group struct {
	key     groupKey
	waiting int
	ctx     context.Context // ends when none waits
	cancel  context.CancelFunc
	// asked is set once it is waited for what the Envoy has.
	asked bool
	// done is closed when became says what became of all that wait.
	done   chan struct{}
	became outcome
}

// held is a connection that waits.
type held struct {
	group  *group
	port   *port
	client netip.Prefix
	place  *list.Element // in port.waiting; nil once it has left
	closed chan struct{} // closed when another connection has its place
}

// enter has a connection wait in its group. It is nil if there is no room.
func (s *Service) enter(q ratelimit.Question) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, client := portKey{q.App, q.Port}, questions.Client(q.Client)
	p := s.ports[key]
	if p == nil {
		p = &port{clients: make(map[netip.Prefix]int)}
	}
	if p.waiting.Len() >= s.limits.PerPort || p.clients[client] >= waiting.OfOneClient(s.limits.PerPort) || s.waiting >= s.limits.InAll && !s.makeRoom(p) {
		return nil
	}
	s.ports[key] = p
	g := s.groups[groupKey{key, q.Fleet, q.Node}]
	if g == nil {
		g = &group{key: groupKey{key, q.Fleet, q.Node}, done: make(chan struct{})}
		g.ctx, g.cancel = context.WithCancel(context.Background())
		s.groups[g.key] = g
	}
	h := &held{group: g, port: p, client: client, closed: make(chan struct{})}
	h.place = p.waiting.PushBack(h)
	s.waiting++
	p.clients[client]++
	g.waiting++
	s.look(g)
	if !s.runs {
		s.runs = true
		go waiting.Repeat(s.log, s.step)
	}
	return h
}

// makeRoom closes a connection to the app port for which the most wait, for one to another; it is false if as
// many wait for that.
func (s *Service) makeRoom(p *port) bool {
	longest, ok := waiting.Longest(s.ports, func(other *port) int { return other.waiting.Len() }, p.waiting.Len())
	if !ok {
		return false
	}
	last := longest.waiting.Back().Value.(*held)
	s.remove(last)
	close(last.closed)
	return true
}

// leave takes a connection out of its group, whatever became of it.
func (s *Service) leave(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(h)
}

func (s *Service) remove(h *held) {
	if h.place == nil {
		return
	}
	g, p := h.group, h.port
	p.waiting.Remove(h.place)
	h.place = nil
	s.waiting--
	if p.clients[h.client]--; p.clients[h.client] == 0 {
		delete(p.clients, h.client)
	}
	if p.waiting.Len() == 0 {
		delete(s.ports, g.key.portKey)
	}
	if g.waiting--; g.waiting == 0 {
		s.forget(g)
	}
}

// forget has those that come later wait in another group.
func (s *Service) forget(g *group) {
	g.cancel()
	if s.groups[g.key] == g {
		delete(s.groups, g.key)
	}
}

// pause is the time between two looks: as short as can be without using more than a few percent of a
// processor.
func pause(groups int) time.Duration {
	return min(100*time.Millisecond, max(5*time.Millisecond, time.Duration(groups)*20*time.Microsecond))
}

// step looks once whether there are instances. Ended tells that no connection waits.
func (s *Service) step() (until time.Duration, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		s.look(g)
	}
	s.runs = len(s.groups) > 0
	return pause(len(s.groups)), !s.runs
}

// look has a group go on if there is an instance, as soon as its Envoy has that.
func (s *Service) look(g *group) {
	if g.asked || !s.known() {
		return
	}
	switch p := s.apps.Port(g.key.fleet, g.key.app, g.key.port); {
	case p.Hold == 0:
		s.end(g, notHeld)
	case p.Ready:
		g.asked = true
		go s.follow(g)
	}
}

// follow waits until an Envoy has an instance, and lets the connections of a group go on.
func (s *Service) follow(g *group) {
	err := panics.Catch(func() error { return s.envoys.WaitFor(g.ctx, g.key.fleet, g.key.node, g.key.app, g.key.port) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if g.ctx.Err() == nil {
			panics.Log(s.log, err, "app", g.key.app)
		}
		s.end(g, failedWait)
		return
	}
	s.end(g, waited)
}

// end says what became of all connections of a group.
func (s *Service) end(g *group, o outcome) {
	select {
	case <-g.done:
	default:
		g.became = o
		close(g.done)
		s.forget(g)
	}
}
