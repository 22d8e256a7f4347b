package xds

import "time"

// requestResult is what is left to do of a request without the locks under which it was
// handled.
type requestResult struct {
	rejection *Rejection
	culprit   *culprit
	// noLongerRejected are ids of resources that this Envoy does not reject any more.
	noLongerRejected []uint32
}

// handleRequest handles a request for a type. It returns the rejection if the request is a
// NACK. A request for a type that is not open yet is kept.
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

// tryRequest handles a request under the store's read lock, as far as that goes without
// touching what concerns other Envoys. It is not done if the ids of the change may stand
// for other names by now, or if the type was opened a moment ago.
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
	if s.types[t].kept != nil { // see handleKept
		return requestResult{}, false
	}
	return s.handleOpen(t, req, change, now), true
}

// handleKept handles the requests that were kept, of types that are open by now.
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
		s.store.makeAliases(Type(t), names[t]) // there may have been no Resolver before
	}
	var noLongerRejected [numTypes][]uint32
	opened(func(t Type, kept *subscriptionChange) {
		s.types[t].kept = nil
		s.noteAsked(t, *kept, now)
		noLongerRejected[t] = s.startType(t, *kept, now)
	})
	s.locked(func() {
		left := false
		for t := range s.types {
			left = left || s.types[t].kept != nil
		}
		s.hasKept.Store(left)
	})
	for t, ids := range noLongerRejected {
		if len(ids) > 0 {
			s.endRejections(Type(t), ids)
		}
	}
}

// handleOpen handles a request for an open type.
func (s *session) handleOpen(t Type, req *request, change subscriptionChange, now time.Time) (out requestResult) {
	ts, table := &s.types[t], &s.store.tables[t]
	s.noteAsked(t, change, now)
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

// startType handles the first request for a type. It returns what other Envoys of the
// version rejected and this Envoy came with.
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
		// Envoy does not ask for clusters while some are warming. Those wait for their
		// endpoints anew, though Envoy has them.
		s.resendEndpoints(ts.inEnvoy)
	case clusters.inFlight != nil:
		// Clusters that were sent since wait for their endpoints too.
		s.resendEndpointsOf(clusters.inFlight.resources)
	}
	return noLongerRejected
}

// isAnswer reports whether a nonce is that of the response in flight.
func (s *session) isAnswer(t Type, nonce string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.types[t].inFlight
	return sent != nil && sent.nonce == nonce
}

// handleAnswer handles the ACK or NACK in a request. The nonce of an older response says
// nothing.
func (s *session) handleAnswer(t Type, req *request, now time.Time, out *requestResult) {
	ts := &s.types[t]
	sent := ts.inFlight
	if sent == nil || req.GetResponseNonce() != sent.nonce {
		return
	}
	ts.inFlight = nil
	if req.GetErrorDetail() == nil {
		out.noLongerRejected = append(out.noLongerRejected, s.handleACK(t, sent, now)...)
		return
	}
	ts.rejections++
	out.rejection = &Rejection{
		Type: t, Revision: sent.revision, Time: now,
		Message: quotable(req.GetErrorDetail().GetMessage()), Names: s.store.tables[t].names(sent.resources),
	}
	if id, alone := ts.splitRejected(sent); alone {
		// recordCulprit completes the rejection, and then notes it.
		out.culprit = &culprit{id: id, version: sent.onlyVersion, since: sent.resourcesSince}
		return
	}
	ts.lastRejection = out.rejection
}

// handleACK handles the ACK of a response. It returns what the Envoy, or others of its
// version, had rejected.
func (s *session) handleACK(t Type, sent *sentResponse, now time.Time) (noLongerRejected []uint32) {
	ts, table := &s.types[t], &s.store.tables[t]
	ts.acked, ts.ackedAt = sent.revision, now
	noLongerRejected = ts.handleACK(table, sent)
	for _, id := range sent.noLongerStale {
		s.noLongerStale = append(s.noLongerStale, table.entries[id].name)
	}
	switch t {
	case Secret:
		s.retryAfterSecrets(sent, now)
	case Listener:
		s.resendScopes(sent)
	}
	return noLongerRejected
}
