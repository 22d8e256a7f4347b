package xds

import (
	"sync"
	"sync/atomic"
	"time"
)

// convergence measures how long a change takes until every Envoy that it concerns has
// acknowledged it. It follows one change at a time: to follow each would cost as much as
// sending it.
type convergence struct {
	// revision is that of the change that is followed; 0 if none is.
	revision atomic.Uint64

	mu      sync.Mutex
	observe func(seconds float64) // nil if nobody wants to know
	start   time.Time
	// next is when the next change may be followed.
	next    time.Time
	waiting map[*session]struct{}
}

// convergencePause bounds the cost of following changes when many come.
const convergencePause = 100 * time.Millisecond

// observeBy has each result, in seconds, given to a function.
func (c *convergence) observeBy(observe func(seconds float64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observe = observe
}

// begin follows a change unless one is followed, or was a moment ago. Touched are its
// types as bits. It is called under the store's lock.
func (c *convergence) begin(store *Store, revision uint64, touched uint32, now time.Time) {
	if c.revision.Load() != 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.observe == nil || now.Before(c.next) {
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

// done notes that a session has acknowledged the change, or has ended.
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
