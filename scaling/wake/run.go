package wake

import (
	"context"
	"time"
)

// shownFor is for how long a page that was shown has its app wait for its turn. Browsers ask again
// before.
const shownFor = 10 * time.Second

// show notes that somebody was shown the page of an app, which is to be woken.
func (s *Service) show(r request, state State) {
	if !state.Phase.wakes() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := networkOf(r.client)
	a, n := s.waiting[r.app], s.turns.networks[prefix]
	known := a != nil && a.interests[prefix] != nil
	if s.closed || !known && (s.turns.queued >= s.config.WaitingInAll || n != nil && n.apps.Len() >= s.perNetwork()) {
		return
	}
	a = s.appOf(r.app)
	a.state = state
	if a.requests == 0 && !a.pending {
		a.by = r.by()
	}
	i := s.interestOf(a, prefix)
	i.until = time.Now().Add(shownFor)
	if a.pending {
		s.turns.add(i)
	}
	s.want(a, r.port)
}

// want has an app wait for its turn to be woken.
func (s *Service) want(a *app, port int) {
	if a.pending {
		return
	}
	a.pending, a.port = true, port
	for _, i := range a.interests {
		s.turns.add(i)
	}
	select {
	case s.turn <- struct{}{}:
	default:
	}
}

// Run wakes apps in turn until ctx ends. Then requests that wait are handed to the next Relay.
func (s *Service) Run(ctx context.Context) error {
	for {
		for s.hasTurn() {
			if err := s.wakes.Wait(ctx); err != nil {
				break
			}
			s.wakeNext()
		}
		select {
		case <-s.turn:
		case <-ctx.Done():
			s.close()
			return ctx.Err()
		}
	}
}

// hasTurn reports whether an app waits for its turn.
func (s *Service) hasTurn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turns.order.Len() > 0
}

// wakeNext wakes the app whose turn it is, if it still sleeps.
func (s *Service) wakeNext() {
	s.mu.Lock()
	a := s.turns.next(time.Now(), s.forget)
	if a == nil {
		s.mu.Unlock()
		return
	}
	a.pending = false
	for _, i := range a.interests {
		s.forget(i)
	}
	port, by := a.port, a.by
	s.mu.Unlock()
	state, changed := s.apps.State(a.id, port)
	if !state.Phase.wakes() {
		return
	}
	s.mu.Lock()
	a.asked = changed
	s.mu.Unlock()
	s.metrics.wakes.Inc()
	s.apps.Wake(a.id, port, by)
}

// close answers all requests: the next Relay, or the next process, is to hold them.
func (s *Service) close() {
	s.mu.Lock()
	s.closed = true
	var lines []*line
	for _, a := range s.waiting {
		for _, l := range a.lines {
			lines = append(lines, l)
		}
	}
	s.mu.Unlock()
	for _, l := range lines {
		s.answerAll(l, unavailable)
	}
}
