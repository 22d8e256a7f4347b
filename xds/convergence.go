package xds

import (
	"sync"
	"sync/atomic"
	"time"
)

// sample follows one change at a time until every Envoy that it concerns has
// acknowledged it. To follow each would cost as much as sending it.
type convergence struct {
	// revision is the change that is followed; 0 if none is.
	revision atomic.Uint64
	observe  func(seconds float64)

	mu      sync.Mutex
	start   time.Time
	next    time.Time
	waiting map[*session]struct{}
}

// samplePause keeps the cost of following changes away from fast ones.
const convergencePause = 100 * time.Millisecond

// begin follows a change unless one is followed or was a moment ago. It is
// called under the store's lock.
func (c *convergence) begin(store *Store, revision uint64, touched uint32, now time.Time) {
	if c.observe == nil || c.revision.Load() != 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.next) {
		return
	}
	c.waiting = make(map[*session]struct{})
	for session := range store.sessions {
		if session.subscribedTypes.Load()&touched != 0 {
			c.waiting[session] = struct{}{}
		}
	}
	if len(c.waiting) > 0 {
		c.start, c.next = now, now.Add(convergencePause)
		c.revision.Store(revision)
	}
}

// leave notes that a session has acknowledged the change, or is gone.
func (c *convergence) done(session *session, acknowledged bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.waiting[session]; !ok {
		return
	}
	delete(c.waiting, session)
	if len(c.waiting) == 0 {
		if acknowledged {
			c.observe(now.Sub(c.start).Seconds())
		}
		c.revision.Store(0)
	}
}
