package xds

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// session is the protocol state of one stream. Requests go in, responses come out. It does
// no I/O.
type session struct {
	store *Store
	envoy *envoyNode
	// subscribedTypes has a bit for each subscribed type. It is read without a lock.
	subscribedTypes atomic.Uint32
	// wake has one slot: any number of changes wake the sender once.
	wake chan struct{}
	// hasKept tells that a request was kept, for a type that was not open.
	hasKept atomic.Bool
	// joined is the store's revision when the stream began. answered is the revision up to which
	// the Envoy has acknowledged everything, and answeredAt when it did; see convergence.
	joined     uint64
	answered   atomic.Uint64
	answeredAt atomic.Int64

	// mu guards what follows. It is taken inside the store's lock.
	mu    sync.Mutex
	types [numTypes]typeState
	// nonce is that of the last response, of whatever type.
	nonce uint64
	// startedAt is when the first request came that was handled at once; see expectsType.
	startedAt time.Time
	// resumed tells that the Envoy came with resources.
	resumed bool
	// servedBefore tells that a control plane served the Envoy on an earlier stream: it came
	// with resources, or it asks for what only listeners name before it was sent a listener.
	servedBefore bool
	// hadListeners tells that the Envoy came with listeners, and asked when it asked for extensions with
	// which it did not come, by id; see Server.Late.
	hadListeners bool
	asked        map[uint32]time.Time
	// startHandled tells that resendEndpointsAtStart has done its work.
	startHandled bool
	// newerResource is what the Envoy has and this Relay never had. It is set if Relay may
	// be outdated, since outdatedSince.
	newerResource string
	outdatedSince time.Time
	// noLongerStale are the names of resources that the Envoy acknowledged after they were
	// stale. They are for the log.
	noLongerStale []string
	// waiters wait for the Envoy to have something; see WaitAcknowledged. Closed tells that it has left.
	waiters []*acknowledgeWaiter
	closed  bool
	// marker is a text that no other stream has; see withMarker.
	marker string
}

// newSession registers a session with the store.
func newSession(s *Store, envoy *envoyNode) *session {
	session := &session{store: s, envoy: envoy, marker: newMarker(), wake: make(chan struct{}, 1)}
	for t := range session.types {
		session.types[t] = newTypeState(Type(t), envoy)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	envoy.versionBit = s.versionBit(envoy.version)
	session.joined = s.revision
	s.sessions[session] = struct{}{}
	return session
}

// close removes the session from the store, and leaves there what its Envoy may have.
func (s *session) close() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	delete(s.store.sessions, s)
	s.removeRejections()
	for t := range s.types {
		u := s.types[t].unconfirmed()
		s.store.shareUnconfirmed(s.envoy.id, Type(t), u)
		s.store.unconfirmed.keep(s.envoy.id, Type(t), u)
	}
	if s.store.convergence.following.Load() > 0 {
		s.store.convergence.schedule(s.store)
	}
	s.locked(func() {
		s.closed = true
		s.tellWaiters(time.Time{})
	})
}

// takeNoLongerStale returns, once, what the Envoy acknowledged after it was stale.
func (s *session) takeNoLongerStale() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.noLongerStale
	s.noLongerStale = nil
	return names
}

// locked calls f with the session locked.
func (s *session) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// notify wakes the sender of the stream.
func (s *session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// has returns the revision up to which the Envoy has all changes that came after its stream.
func (s *session) has() uint64 { return max(s.answered.Load(), s.joined) }

// noteAnswered says up to which revision the Envoy has acknowledged everything. It does so only
// while a change is followed: each change wakes the sessions that it concerns.
func (s *session) noteAnswered(now time.Time) {
	c, before := &s.store.convergence, s.answered.Load()
	upTo := s.store.revision
	if c.following.Load() == 0 || upTo <= before {
		return
	}
	for t := range s.types {
		if ts := &s.types[t]; !ts.subscribed || ts.hasAll() {
			continue
		}
		// With no time, a response counts as unanswered however old it is.
		if upTo = min(upTo, s.answeredUpTo(Type(t), includeRemovals, time.Time{})); upTo <= before {
			return
		}
	}
	s.answeredAt.Store(int64(now.Sub(c.begun)))
	s.answered.Store(upTo)
	c.schedule(s.store)
}

// sessionsByNode returns the sessions ordered by node id. The caller holds the lock.
func (s *Store) sessionsByNode() []*session {
	return slices.SortedFunc(maps.Keys(s.sessions), func(a, b *session) int { return strings.Compare(a.envoy.id, b.envoy.id) })
}

// unansweredSince returns since when the Envoy owes an answer; zero if it owes none.
func (s *session) unansweredSince() (since time.Time) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.types {
		if sent := s.types[t].inFlight; sent != nil && (since.IsZero() || sent.sentAt.Before(since)) {
			since = sent.sentAt
		}
	}
	return since
}

// nameCount returns how many names of a type the Envoy subscribes to.
func (s *session) nameCount(t Type) int {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := &s.types[t]
	if ts.kept != nil {
		return len(ts.kept.subscribe)
	}
	return int(ts.names.GetCardinality())
}

// dueCount returns about how many resources the next responses will carry.
func (s *session) dueCount() int {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := uint64(0)
	for t := range s.types {
		if ts := &s.types[t]; ts.subscribed && ts.inFlight == nil {
			n += ts.toSend.GetCardinality()
		}
	}
	return int(n)
}
