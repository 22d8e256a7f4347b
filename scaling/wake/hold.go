package wake

import (
	"container/list"
	"context"
	"net/netip"
	"time"

	"relay/internal/panics"
)

// app is one that requests wait for, or of which somebody was shown the page.
type app struct {
	id       string
	requests int // in all lines
	lines    map[lineKey]*line
	// interests are those with requests, and those that wait for a turn.
	interests map[netip.Prefix]*interest
	// pending is set while the app waits for its turn to be woken, for the sake of port.
	pending bool
	port    int
	// by is whose request was the first.
	by Client
	// asked is the channel of the state at which Wake was called last.
	asked <-chan struct{}
	// state is what was seen last.
	state State
}

// line is the requests of one Envoy to one port of an app, in order of arrival.
type line struct {
	app      *app
	key      lineKey
	requests list.List // of *held
	// ctx ends when no request is left.
	ctx   context.Context
	leave context.CancelFunc
}

type lineKey struct {
	port        int
	fleet, node string
}

// held is a request that waits.
type held struct {
	line     *line
	interest *interest
	// came is when the request came to Envoy, by its clock, and since when it came here.
	came, since time.Time
	place       *list.Element // in line.requests; nil once it has its answer
	answer      chan outcome  // with room for the one answer
	// sent is closed when the Envoy was told.
	sent chan struct{}
}

// join has a request wait at the end of its line. It returns an outcome if it cannot.
func (s *Service) join(r request, now time.Time) (*held, outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, unavailable
	}
	prefix := networkOf(r.client)
	a, n := s.waiting[r.app], s.turns.networks[prefix]
	switch {
	case s.held >= s.config.WaitingInAll:
		return nil, fullInAll
	case a != nil && a.requests >= s.config.WaitingPerApp:
		return nil, fullApp
	case n != nil && n.held >= s.perNetwork():
		return nil, fullNetwork
	}
	a = s.appOf(r.app)
	if a.requests == 0 && !a.pending {
		a.by = r.by()
	}
	i := s.interestOf(a, prefix)
	if a.pending {
		s.turns.add(i)
	}
	key := lineKey{r.port, r.fleet, r.node}
	l := a.lines[key]
	if l == nil {
		l = &line{app: a, key: key}
		l.ctx, l.leave = context.WithCancel(context.Background())
		a.lines[key] = l
		go s.serve(l)
	}
	h := &held{line: l, interest: i, since: now, came: r.came, answer: make(chan outcome, 1), sent: make(chan struct{})}
	h.place = l.add(h)
	s.held++
	a.requests++
	i.requests++
	i.network.held++
	return h, waits
}

// add puts a request into the line, behind all that came to the Envoy before. Checks may overtake
// each other, above all when another Relay has held the requests before.
func (l *line) add(h *held) *list.Element {
	for e := l.requests.Back(); e != nil; e = e.Prev() {
		if !e.Value.(*held).came.After(h.came) {
			return l.requests.InsertAfter(h, e)
		}
	}
	return l.requests.PushFront(h)
}

func (s *Service) perNetwork() int { return max(1, s.config.WaitingInAll/2) }

// appOf returns the app with an id.
func (s *Service) appOf(id string) *app {
	a := s.waiting[id]
	if a == nil {
		a = &app{id: id, lines: make(map[lineKey]*line), interests: make(map[netip.Prefix]*interest)}
		s.waiting[id] = a
	}
	return a
}

// interestOf returns what a network wants of an app.
func (s *Service) interestOf(a *app, prefix netip.Prefix) *interest {
	i := a.interests[prefix]
	if i == nil {
		i = &interest{app: a, network: s.turns.network(prefix)}
		a.interests[prefix] = i
	}
	return i
}

// leave takes a request out of its line, whose outcome is given, unless it has its answer.
func (s *Service) leave(h *held, o outcome) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.place == nil {
		return <-h.answer
	}
	s.remove(h)
	return o
}

// remove takes a request out of its line, and forgets what nobody needs any more.
func (s *Service) remove(h *held) {
	l, i := h.line, h.interest
	l.requests.Remove(h.place)
	h.place = nil
	s.held--
	l.app.requests--
	i.requests--
	i.network.held--
	if l.requests.Len() == 0 {
		l.leave()
		delete(l.app.lines, l.key)
	}
	s.forget(i)
}

// forget forgets an interest in which there are no requests, unless it is in a page that was shown
// a moment ago; and its app and network, if nothing is left of them.
func (s *Service) forget(i *interest) {
	if i.requests == 0 && (i.place == nil || !time.Now().Before(i.until)) {
		s.turns.remove(i)
		delete(i.app.interests, i.network.prefix)
	}
	s.turns.forget(i.network)
	if a := i.app; a.requests == 0 && len(a.interests) == 0 && s.waiting[a.id] == a {
		delete(s.waiting, a.id)
	}
}

// answerFirst gives the first request of a line its answer, and returns it; nil if there is none.
func (s *Service) answerFirst(l *line, o outcome) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := l.requests.Front()
	if first == nil {
		return nil
	}
	h := first.Value.(*held)
	s.remove(h)
	h.answer <- o
	return h
}

// answerAll gives all requests of a line their answer.
func (s *Service) answerAll(l *line, o outcome) {
	for s.answerFirst(l, o) != nil {
	}
}

// serve answers the requests of a line, until none is left.
func (s *Service) serve(l *line) {
	if err := panics.Catch(func() error { s.follow(l); return nil }); err != nil {
		panics.Log(s.log, err, "app", l.app.id)
		s.answerAll(l, unavailable)
	}
}

// follow follows the state of the app.
func (s *Service) follow(l *line) {
	for l.ctx.Err() == nil {
		state, changed := s.state(l.key.fleet, l.app.id, l.key.port)
		s.see(l, state, changed)
		switch state.Phase {
		case Unknown, foreign:
			s.answerAll(l, through)
		case Failed:
			s.answerAll(l, crashed)
		case Running:
			s.release(l, changed)
		case Asleep, Waking, Unavailable, unread:
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
		}
	}
}

// see notes the state of the app, and has it wait for its turn if it is to be woken and was not
// in this state.
func (s *Service) see(l *line, state State, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.app.state = state; state.Phase.wakes() && l.app.asked != changed && l.requests.Len() > 0 {
		s.want(l.app, l.key.port)
	}
}

// wakes reports whether a request is a reason to wake an app in this phase.
func (p Phase) wakes() bool { return p == Asleep || p == Unavailable }

// release lets the requests of a line through, when their Envoy has an instance. It returns before
// if the state changes.
func (s *Service) release(l *line, changed <-chan struct{}) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	has := make(chan error, 1)
	go func() {
		has <- panics.Catch(func() error { return s.envoys.WaitFor(ctx, l.key.fleet, l.key.node, l.app.id, l.key.port) })
	}()
	select {
	case <-changed:
		cancel()
		<-has
		return
	case err := <-has:
		if err != nil && l.ctx.Err() == nil {
			panics.Log(s.log, err, "app", l.app.id)
			s.answerAll(l, unavailable)
			return
		}
	}
	for h := s.answerFirst(l, through); h != nil && l.ctx.Err() == nil; h = s.answerFirst(l, through) {
		select {
		case <-h.sent:
		case <-time.After(s.sendLimit):
		case <-changed:
			return
		}
		select {
		case <-time.After(s.pace):
		case <-changed:
			return
		}
	}
}
