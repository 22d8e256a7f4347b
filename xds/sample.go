package xds

import (
	"sync"
	"sync/atomic"
	"time"
)

// sample follows one change at a time until every Envoy that it concerns has
// acknowledged it. To follow each would cost as much as sending it.
type sample struct {
	// revision is the change that is followed; 0 if none is.
	revision atomic.Uint64
	observe  func(seconds float64)

	mu      sync.Mutex
	start   time.Time
	next    time.Time
	waiting map[*session]struct{}
}

// samplePause keeps the cost of following changes away from fast ones.
const samplePause = 100 * time.Millisecond

// begin follows a change unless one is followed or was a moment ago. It is
// called under the store's lock.
func (s *sample) begin(store *Store, revision uint64, touched uint32, now time.Time) {
	if s.observe == nil || s.revision.Load() != 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		return
	}
	s.waiting = make(map[*session]struct{})
	for session := range store.sessions {
		if session.interest.Load()&touched != 0 {
			s.waiting[session] = struct{}{}
		}
	}
	if len(s.waiting) > 0 {
		s.start, s.next = now, now.Add(samplePause)
		s.revision.Store(revision)
	}
}

// leave notes that a session has acknowledged the change, or is gone.
func (s *sample) leave(session *session, acknowledged bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.waiting[session]; !ok {
		return
	}
	delete(s.waiting, session)
	if len(s.waiting) == 0 {
		if acknowledged {
			s.observe(now.Sub(s.start).Seconds())
		}
		s.revision.Store(0)
	}
}
