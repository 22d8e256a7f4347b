package xds

import (
	"sync"
	"sync/atomic"
	"time"
)

// session is the protocol state of one stream: what goes in are requests,
// what comes out are responses. It does no I/O.
type session struct {
	store *Store
	envoy *envoyNode
	// interest holds a bit for each subscribed type, readable without a lock.
	subscribedTypes atomic.Uint32
	// wake has one slot: any number of changes wake the sender once.
	wake chan struct{}

	// parked tells that something was asked for of a type that was not open.
	hasKept atomic.Bool

	// mu guards what follows, inside the store's lock.
	mu    sync.Mutex
	types [numTypes]typeState
	nonce uint64
	// reached is the last change that was followed until here.
	convergedUpTo uint64
	// began is when the first request came that was not kept for later; see awaited.
	startedAt time.Time
	// resumed tells that Envoy came with resources, and old that it was served before: it
	// did, or it asks for what only listeners name before it was sent one.
	resumed, servedBefore bool
	// running is set once endpointsOfStart has done its work.
	startHandled bool
	// newer is what Envoy has that this Relay never had, which is outdated since then.
	newerResource string
	outdatedSince time.Time
	// recovered are what the Envoy has acknowledged after it had lacked it, for the log.
	recovered []string
	// salt tells what this stream varies from what others do.
	marker string
}

func newSession(s *Store, envoy *envoyNode) *session {
	session := &session{store: s, envoy: envoy, marker: newMarker(), wake: make(chan struct{}, 1)}
	for t := range session.types {
		session.types[t] = newTypeState(Type(t), envoy)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	envoy.versionBit = s.versionBit(envoy.version)
	s.sessions[session] = struct{}{}
	return session
}

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
	s.store.convergence.done(s, false, time.Now())
}

// takeRecovered returns what the Envoy does not lack any more, once.
func (s *session) takeRecovered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.recovered
	s.recovered = nil
	return names
}

// locked calls f with the session locked.
func (s *session) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// outcome is what is left to do of a request without the locks with which it was
// handled.
type requestResult struct {
	rejection *Rejection
	culprit   *culprit
	// settled are resources that the Envoy has no rejection of any more.
	noLongerRejected []uint32
}

// culprit is a resource that was rejected alone.
type culprit struct {
	id      uint32
	version version
	since   uint64
}

// request takes in one request for a type. It returns the rejection when the
// request is one. Requests for a type that is not open yet are kept.
func (s *session) handleRequest(t Type, req *request, now time.Time) *Rejection {
	var out requestResult
	for done := false; !done; {
		s.handleKept(now)
		out, done = s.tryRequest(t, req, s.resolveNames(t, req), now)
	}
	if len(out.noLongerRejected) > 0 {
		s.endRejections(t, out.noLongerRejected)
	}
	if out.culprit != nil {
		s.recordCulprit(t, *out.culprit, out.rejection)
	}
	return out.rejection
}

// take handles a request under the store's lock, as far as that goes without
// touching what concerns other Envoys. It does nothing when ids were given to other
// names since they were resolved.
func (s *session) tryRequest(t Type, req *request, change subscriptionChange, now time.Time) (out requestResult, done bool) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.reclaims != change.reclaims {
		return requestResult{}, false
	}
	if !s.store.tables[t].open {
		s.types[t].keep(change)
		s.hasKept.Store(true)
		return requestResult{}, true
	}
	if s.types[t].kept != nil { // the type was opened a moment ago
		return requestResult{}, false
	}
	return s.handleOpen(t, req, change, now), true
}

// unpark handles what was asked for before its type was opened.
func (s *session) handleKept(now time.Time) {
	if !s.hasKept.Load() {
		return
	}
	var names [numTypes][]uint32
	opened := func(f func(t Type, kept *subscriptionChange)) {
		s.store.readLocked(func() {
			s.locked(func() {
				for t := range s.types {
					if kept := s.types[t].kept; kept != nil && s.store.tables[t].open {
						f(Type(t), kept)
					}
				}
			})
		})
	}
	opened(func(t Type, kept *subscriptionChange) { names[t] = kept.subscribe })
	for t := range names {
		s.store.makeAliases(Type(t), names[t]) // as what answers for them was not known before
	}
	var settled [numTypes][]uint32
	opened(func(t Type, kept *subscriptionChange) {
		s.types[t].kept = nil
		settled[t] = s.startType(t, *kept, now)
	})
	s.locked(func() {
		parked := false
		for t := range s.types {
			parked = parked || s.types[t].kept != nil
		}
		s.hasKept.Store(parked)
	})
	for t, ids := range settled {
		if len(ids) > 0 {
			s.endRejections(Type(t), ids)
		}
	}
}

func (s *session) handleOpen(t Type, req *request, change subscriptionChange, now time.Time) (out requestResult) {
	ts, table := &s.types[t], &s.store.tables[t]
	if !ts.subscribed {
		out.noLongerRejected = s.startType(t, change, now)
		return out
	}
	for _, id := range change.unsubscribe {
		if !ts.wildcard && ts.rejectsCurrent(table, id) {
			out.noLongerRejected = append(out.noLongerRejected, id)
		}
	}
	ts.update(table, change)
	s.handleAnswer(t, req, now, &out)
	return out
}

// start handles the first request for a type. It returns what others of the Envoy's
// version rejected, and it tells that it has.
func (s *session) startType(t Type, change subscriptionChange, now time.Time) (noLongerRejected []uint32) {
	ts, clusters := &s.types[t], &s.types[Cluster]
	s.noticeOutdated(t, change)
	current := ts.start(&s.store.tables[t], change, s.store.revision)
	if t.info().initialVersionsCount == yes {
		noLongerRejected = s.store.tables[t].acknowledge(current, s.store.revision, s.envoy)
	}
	ts.resendUnconfirmed(&s.store.tables[t], s.store.unconfirmed.take(s.envoy.id, t).withChanged(&s.store.tables[t]))
	s.subscribedTypes.Or(1 << t)
	if s.startedAt.IsZero() {
		s.startedAt = now
	}
	if t.info().namedByListenersOnly == yes && s.types[Listener].sentAt.IsZero() {
		s.servedBefore = true
	}
	if sent := s.types[Listener].inFlight; t == Scope && sent != nil && len(change.initial) > 0 {
		sent.scopesRequested = true
	}
	if len(change.initial) == 0 {
		return noLongerRejected
	}
	s.resumed, s.servedBefore = true, true
	switch {
	case t != Endpoint:
	case !clusters.subscribed && clusters.kept == nil:
		// Envoy does not ask for clusters while some are warming, which wait for
		// their endpoints anew: those that it has are not enough.
		s.resendEndpoints(ts.inEnvoy)
	case clusters.inFlight != nil:
		// So do those that were sent since.
		s.resendEndpointsOf(clusters.inFlight.resources)
	}
	return noLongerRejected
}

// awaits reports whether a nonce is that of the response in flight.
func (s *session) isAnswer(t Type, nonce string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.types[t].inFlight
	return sent != nil && sent.nonce == nonce
}

// answered handles the part of a request that acknowledges or rejects the
// response in flight. A nonce of an older response says nothing.
func (s *session) handleAnswer(t Type, req *request, now time.Time, out *requestResult) {
	ts, table := &s.types[t], &s.store.tables[t]
	sent := ts.inFlight
	if sent == nil || req.GetResponseNonce() != sent.nonce {
		return
	}
	ts.inFlight = nil
	if req.GetErrorDetail() == nil {
		ts.acked, ts.ackedAt = sent.revision, now
		noLongerRejected := ts.handleACK(table, sent)
		out.noLongerRejected = append(out.noLongerRejected, noLongerRejected...)
		for _, id := range sent.noLongerStale {
			s.recovered = append(s.recovered, table.entries[id].name)
		}
		switch t {
		case Secret:
			s.retryAfterSecrets(sent, now)
		case Listener:
			s.resendScopes(sent)
		}
		return
	}
	ts.rejections++
	out.rejection = &Rejection{
		Type: t, Revision: sent.revision, Time: now,
		Message: quotable(req.GetErrorDetail().GetMessage()), Names: table.names(sent.resources),
	}
	if id, alone := ts.splitRejected(sent); alone {
		out.culprit = &culprit{id: id, version: sent.onlyVersion, since: sent.resourcesSince}
		return // and noted by rejectAlone
	}
	ts.lastRejection = out.rejection
}

// plan returns the responses that may be sent now, and until when what must
// wait does so at most (zero if nothing waits).
//
// Make before break: a scope or listener is sent once every cluster set before
// its revision was answered (Envoy answers when the cluster is warm); the hosts
// filter, once the scopes were; a scope is removed after those that led to it
// changed, and a cluster after the scopes that named it did.
func (s *session) plan(now time.Time) (out []*response, retryAt time.Time) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.types {
		ts := &s.types[t]
		ts.now = now
		if ts.subscribed {
			ts.collectChanges(&s.store.tables[t], s.store.revision)
			ts.retryStale()
		}
	}
	s.resendEndpointsAtStart(now)
	for again := true; again; {
		again = false
		for _, t := range sendOrder {
			if r := s.nextResponse(t, now); r != nil {
				out = append(out, r)
			}
			// What waits for something does so no longer when that is not sent.
			again = again || s.types[t].replan
			s.types[t].replan = false
		}
	}
	s.checkConverged(now)
	return out, s.nextDeadline(now)
}

// converged tells when this Envoy has acknowledged the change that is followed.
func (s *session) checkConverged(now time.Time) {
	revision := s.store.convergence.revision.Load()
	if revision == 0 || revision <= s.convergedUpTo {
		return
	}
	for t := range s.types {
		if s.types[t].subscribed && s.answeredUpTo(Type(t), includeRemovals, now) < revision {
			return
		}
	}
	s.convergedUpTo = revision
	s.store.convergence.done(s, true, now)
}

// unanswered returns since when Envoy owes an answer; zero if it owes none.
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

// names returns how many names of a type are subscribed to.
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

// due returns about how many resources the next responses will have.
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
