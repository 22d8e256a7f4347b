package xds

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Why an Envoy does not come to have resources.
var (
	// ErrNotConnected is of an Envoy that has no stream, or lost it.
	ErrNotConnected = errors.New("the Envoy is not connected to this Relay")
	// ErrRejected is of an Envoy that rejected a resource, or others of its version did.
	ErrRejected = errors.New("the Envoy rejected what it was sent")
)

// otherStreams is for how long the other streams of an Envoy are waited for, after the newest: they
// are broken and not known to be, or of another Envoy with the same node id.
const otherStreams = 500 * time.Millisecond

// acknowledgeWaiter waits until an Envoy has the present version of resources.
type acknowledgeWaiter struct {
	keys []Key
	done chan error // has one slot
}

// WaitAcknowledged waits until an Envoy has acknowledged the present version of each of the
// resources, or that there is none. What it has not asked for it need not have. It returns the
// error of ctx when that ends, ErrNotConnected, or ErrRejected.
func (s *Server) WaitAcknowledged(ctx context.Context, fleet, nodeID string, keys []Key) error {
	s.mu.Lock()
	streams := slices.Clone(s.nodes[node{fleet, nodeID}])
	s.mu.Unlock()
	if len(streams) == 0 {
		return ErrNotConnected
	}
	last := len(streams) - 1
	if err := streams[last].session.waitAcknowledged(ctx, keys); err != nil || last == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, otherStreams)
	defer cancel()
	for _, other := range streams[:last] {
		_ = other.session.waitAcknowledged(ctx, keys)
	}
	return nil
}

// WaitAllAcknowledged waits as WaitAcknowledged does for all Envoys of a fleet that are connected
// now. It does not wait for those that leave. Left tells of them.
func (s *Server) WaitAllAcknowledged(ctx context.Context, fleet string, keys []Key) error {
	for _, st := range s.streamsOf(fleet) {
		if err := st.session.waitAcknowledged(ctx, keys); err != nil && !errors.Is(err, ErrNotConnected) {
			return err
		}
	}
	return nil
}

// Unacknowledged returns the node ids of those Envoys of a fleet for which WaitAllAcknowledged
// would have to wait, or that reject a resource, in order.
func (s *Server) Unacknowledged(fleet string, keys []Key) (nodeIDs []string) {
	for _, st := range s.streamsOf(fleet) {
		if !st.session.hasAcknowledged(keys) {
			nodeIDs = append(nodeIDs, st.info.NodeID)
		}
	}
	slices.Sort(nodeIDs)
	return slices.Compact(nodeIDs)
}

func (s *Server) streamsOf(fleet string) (streams []*stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.streams {
		if st.info.Fleet == fleet {
			streams = append(streams, st)
		}
	}
	return streams
}

func (s *session) hasAcknowledged(keys []Key) (all bool) {
	s.store.readLocked(func() {
		s.locked(func() {
			done, err := s.acknowledged(keys, time.Now())
			all = done && err == nil
		})
	})
	return all
}

func (s *session) waitAcknowledged(ctx context.Context, keys []Key) error {
	w := &acknowledgeWaiter{keys, make(chan error, 1)}
	s.store.readLocked(func() {
		s.locked(func() {
			s.waiters = append(s.waiters, w)
			s.tellWaiters(time.Now())
		})
	})
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		s.locked(func() {
			s.waiters = slices.DeleteFunc(s.waiters, func(other *acknowledgeWaiter) bool { return other == w })
		})
		return ctx.Err()
	}
}

// tellWaiters tells those who need not wait any longer. It is called after each request of the
// Envoy and each change that concerns it.
func (s *session) tellWaiters(now time.Time) {
	if len(s.waiters) == 0 {
		return
	}
	s.waiters = slices.DeleteFunc(s.waiters, func(w *acknowledgeWaiter) bool {
		done, err := true, ErrNotConnected
		if !s.closed {
			done, err = s.acknowledged(w.keys, now)
		}
		if done {
			w.done <- err
		}
		return done
	})
}

// acknowledged reports whether the Envoy has all resources that it asks for, or that it will not
// have one.
func (s *session) acknowledged(keys []Key, now time.Time) (done bool, err error) {
	done = true
	for _, key := range keys {
		switch s.acknowledgedOne(key, now) {
		case Rejected, Quarantined:
			return true, ErrRejected
		case Due, InFlight:
			done = false
		}
	}
	return done, nil
}

// acknowledgedOne returns how far the Envoy is with a resource. It is Due if the Envoy will ask for it.
func (s *session) acknowledgedOne(key Key, now time.Time) Progress {
	ts, t := &s.types[key.Type], &s.store.tables[key.Type]
	if !ts.subscribed {
		if s.startedAt.IsZero() || s.expectsType(key.Type, now) || s.awaitsEndpoints(key) {
			return Due
		}
		return NotAsked
	}
	ts.collectChanges(t, s.store.revision)
	p, id := ts.progress(t, key.Name)
	switch {
	case p == NotAsked && s.awaitsEndpoints(key), p == Quarantined && ts.toSend.Contains(id):
		return Due
	}
	return p
}

// awaitsEndpoints reports whether the Envoy was sent the cluster to which endpoints belong. It
// acknowledges a cluster before or after it asks for the endpoints.
func (s *session) awaitsEndpoints(key Key) bool {
	if key.Type != Endpoint {
		return false
	}
	id, ok := s.store.tables[Cluster].ids[key.Name]
	return ok && s.types[Cluster].inEnvoy.Contains(id)
}
