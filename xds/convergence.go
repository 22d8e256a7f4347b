package xds

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"relay/internal/panics"
)

// convergence measures, of each change, how long it takes until every Envoy that it concerns has
// acknowledged it.
//
// A change costs an entry in a queue. An ACK costs two atomic writes: each session says up to
// which revision its Envoy has acknowledged all. Now and then the lowest of these is compared
// with the queues. So nothing grows with the number of changes times that of Envoys.
type convergence struct {
	// following counts the changes that are followed.
	following atomic.Int64
	// scheduled tells that check is about to run.
	scheduled atomic.Bool
	// pause is the time until it runs.
	pause atomic.Int64
	// begun is what the times of sessions count from.
	begun time.Time

	mu sync.Mutex
	// observers are told of each change that all have.
	observers []func(Converged)
	// failed is told of a panic; nil if nobody wants to know.
	failed func(error)
	// queues are the changes that not all have, the oldest first, by the types that they touch
	// as bits.
	queues map[uint32][]followedChange
}

type followedChange struct {
	revision uint64
	start    time.Time
}

// Converged says that every Envoy has a change that was connected when it came, subscribes to a
// type that the change touched, and is connected still.
type Converged struct {
	Revision uint64
	// Took is the time from Store.Apply to the last ACK.
	Took time.Duration
	// Envoys is how many these are. It is 0 if all went away before they had the change.
	Envoys int
	// Rejected are the resources that the change set and that some of them rejected: those
	// Envoys have an older version, or none.
	Rejected []RejectedResource
}

const (
	// minConvergencePause and maxConvergencePause bound the time between two looks. Between them
	// it is so long that looking takes one part in convergenceShare of it.
	minConvergencePause = 2 * time.Millisecond
	maxConvergencePause = 200 * time.Millisecond
	convergenceShare    = 100
	// maxFollowed bounds the changes that are followed in each queue: an Envoy may never answer.
	maxFollowed = 10_000
)

// OnConverged has f called with each change that all Envoys have. It must be quick. It is called
// without any lock, from one goroutine at a time, in no order.
func (s *Store) OnConverged(f func(Converged)) {
	s.convergence.mu.Lock()
	defer s.convergence.mu.Unlock()
	s.convergence.observers = append(s.convergence.observers, f)
}

// begin follows a change. Touched are its types as bits. It is called under the store's lock.
func (c *convergence) begin(s *Store, revision uint64, touched uint32, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.observers) == 0 {
		return
	}
	queue := append(c.queues[touched], followedChange{revision, now})
	c.following.Add(1)
	if len(queue) > maxFollowed {
		queue = queue[1:]
		c.following.Add(-1)
	}
	c.queues[touched] = queue
	c.schedule(s)
}

// schedule has the store checked soon.
func (c *convergence) schedule(s *Store) {
	if c.scheduled.Load() || !c.scheduled.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(max(minConvergencePause, time.Duration(c.pause.Load())), func() {
		if err := panics.Catch(func() error { s.checkConvergence(); return nil }); err != nil && c.failed != nil {
			c.failed(err)
		}
	})
}

// checkConvergence tells of the changes that all have by now.
func (s *Store) checkConvergence() {
	c := &s.convergence
	c.scheduled.Store(false) // first: what an Envoy acknowledges from here on is looked at again
	start := time.Now()
	var converged []Converged
	s.readLocked(func() { converged = c.take(s) })
	took := time.Since(start)
	c.pause.Store(int64(min(convergenceShare*took, maxConvergencePause)))
	c.mu.Lock()
	observers := c.observers
	c.mu.Unlock()
	for _, done := range converged {
		for _, observe := range observers {
			observe(done)
		}
	}
}

// take takes the changes that all have out of the queues.
func (c *convergence) take(s *Store) (converged []Converged) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var low [numTypes]uint64
	for t := range low {
		low[t] = math.MaxUint64
	}
	last := int64(0)
	for session := range s.sessions {
		has, types := session.has(), session.subscribedTypes.Load()
		last = max(last, session.answeredAt.Load())
		for t := range low {
			if types&(1<<t) != 0 {
				low[t] = min(low[t], has)
			}
		}
	}
	for touched, queue := range c.queues {
		upTo := uint64(math.MaxUint64)
		for t := range low {
			if touched&(1<<t) != 0 {
				upTo = min(upTo, low[t])
			}
		}
		n := 0
		for n < len(queue) && queue[n].revision <= upTo {
			n++
		}
		if n == 0 {
			continue
		}
		converged = append(converged, s.converged(queue[:n], touched, c.begun.Add(time.Duration(last)))...)
		c.following.Add(int64(-n))
		if c.queues[touched] = queue[n:]; n == len(queue) {
			delete(c.queues, touched)
		}
	}
	s.addRejected(converged)
	return converged
}

// converged says of changes of the same types that all have them. The last ACK of all came at a
// time.
func (s *Store) converged(changes []followedChange, touched uint32, last time.Time) []Converged {
	all := make([]Converged, len(changes))
	for i, change := range changes {
		all[i] = Converged{Revision: change.revision, Took: max(0, last.Sub(change.start))}
	}
	for session := range s.sessions {
		if session.subscribedTypes.Load()&touched == 0 {
			continue
		}
		for i := len(all) - 1; i >= 0 && session.joined < all[i].Revision; i-- {
			all[i].Envoys++
		}
	}
	return all
}

// addRejected adds who rejects what the changes set.
func (s *Store) addRejected(converged []Converged) {
	if len(converged) == 0 {
		return
	}
	for t := range s.tables {
		table := &s.tables[t]
		for id, byVersion := range table.rejections {
			for i := range converged {
				if converged[i].Revision != table.entries[id].revision {
					continue
				}
				for _, rejections := range byVersion {
					converged[i].Rejected = append(converged[i].Rejected, s.rejectedResource(Type(t), id, rejections))
				}
			}
		}
	}
}

// Waiting returns the Envoys that do not have the change of a revision yet, for each of the
// revisions given that not all have. It lists the first Envoys by node id, up to the limit.
func (s *Store) Waiting(revisions []uint64, limit int) map[uint64][]string {
	waiting := make(map[uint64][]string)
	if len(revisions) == 0 {
		return waiting
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	touchedBy := s.convergence.followed()
	for _, session := range s.sessionsByNode() {
		has, types := session.has(), session.subscribedTypes.Load()
		for _, revision := range revisions {
			if has < revision && types&touchedBy[revision] != 0 && len(waiting[revision]) < limit {
				waiting[revision] = append(waiting[revision], session.envoy.id)
			}
		}
	}
	return waiting
}

// followed returns the types that each followed change touches, by its revision.
func (c *convergence) followed() map[uint64]uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[uint64]uint32, c.following.Load())
	for touched, queue := range c.queues {
		for _, change := range queue {
			all[change.revision] = touched
		}
	}
	return all
}
