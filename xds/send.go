package xds

import (
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// plan returns the responses that may be sent now, in the order in which they are to be
// sent, and when to call it again at the latest (zero if nothing waits). The order is that
// of typeInfo.sentAfter and removedAfter: make before break.
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
			// What waited for a resource that is not sent after all may be sent now.
			again = again || s.types[t].replan
			s.types[t].replan = false
		}
	}
	s.noteAnswered(now)
	s.tellWaiters(now)
	return out, s.nextDeadline(now)
}

// nextResponse makes the next response of a type. It returns nil if there is nothing to
// send, or one is in flight.
func (s *session) nextResponse(t Type, now time.Time) *response {
	ts, table := &s.types[t], &s.store.tables[t]
	if !ts.subscribed || ts.inFlight != nil {
		return nil
	}
	if ts.toSend.IsEmpty() && ts.toRemove.IsEmpty() && len(ts.searchParts) == 0 && !ts.mustAnswer {
		return nil
	}
	b := s.nextBatch(t, now)
	if b.empty() && (!ts.mustAnswer || !ts.toSend.IsEmpty() || !ts.toRemove.IsEmpty()) {
		return nil
	}
	ts.mustAnswer = false
	s.nonce++
	ts.inFlight = s.newSentResponse(t, b, now)
	ts.sent, ts.sentAt = s.store.revision, now
	var replaced []string
	if t == Cluster {
		again := roaring.And(b.resources, ts.inEnvoy)
		s.resendEndpointsOf(again)
		replaced = table.names(again)
	}
	ts.inEnvoy.Or(b.resources)
	ts.inEnvoy.AndNot(b.removed)
	r := newResponse(t, table, ts.inFlight.batch, ts.inFlight.nonce, s.marker, s.envoy)
	r.replaced = replaced
	return r
}

// nextBatch takes what the next response of a type carries. Changes and the parts of a
// rejected response take turns, as the search for a culprit may take long.
func (s *session) nextBatch(t Type, now time.Time) (b batch) {
	ts, table := &s.types[t], &s.store.tables[t]
	parts := func() {
		for len(ts.searchParts) > 0 && b.empty() {
			b, ts.searchParts = ts.refreshPart(table, ts.searchParts[0]), ts.searchParts[1:]
		}
		ts.lastWasSearch = !b.empty()
	}
	searched := ts.lastWasSearch
	if !searched {
		parts()
	}
	if b.empty() {
		sendLimit, removeLimit := s.sendLimits(t, now)
		b = ts.takeDue(table, sendLimit, removeLimit, s.store.revision)
		ts.lastWasSearch = false
	}
	if b.empty() && searched {
		parts()
	}
	return b
}

// newSentResponse notes what a batch means for the state of the type.
func (s *session) newSentResponse(t Type, b batch, now time.Time) *sentResponse {
	ts, table := &s.types[t], &s.store.tables[t]
	sent := &sentResponse{
		batch: b, nonce: strconv.FormatUint(s.nonce, 10), revision: s.store.revision, sentAt: now,
		added: roaring.AndNot(b.resources, ts.inEnvoy), takenAway: roaring.And(b.removed, ts.inEnvoy),
		awaited: roaring.And(b.resources, ts.awaited), scopesRequested: t == Listener && s.types[Scope].subscribed,
	}
	ts.awaited.AndNot(b.resources)
	ts.awaited.AndNot(b.removed)
	if b.resources.GetCardinality() == 1 {
		id := b.resources.Minimum()
		sent.onlyVersion = table.version(id, s.envoy)
		if b.lastGood != nil && b.lastGood.Contains(id) {
			_, sent.onlyVersion = table.lastGood(id, s.envoy)
		}
	}
	if t.info().skipsEqual == yes && (s.servedBefore || !ts.mayBeSkipped.IsEmpty()) {
		sent.forceRead = roaring.And(b.resources, ts.mayBeSkipped)
		if s.servedBefore {
			// Nobody knows what other streams sent, and what Envoy made of that.
			sent.forceRead.Or(roaring.AndNot(b.resources, ts.ackedRead))
		}
	}
	eachIn(ts.stale, b.resources, func(id uint32) {
		if b.lastGood == nil || !b.lastGood.Contains(id) {
			sent.noLongerStale = append(sent.noLongerStale, id)
			delete(ts.stale, id)
		}
	})
	return sent
}

// handleACK notes that a response was acknowledged. It returns the resources in it that
// this Envoy, or others of its version, had rejected. One may be there twice.
func (ts *typeState) handleACK(t *table, sent *sentResponse) (noLongerRejected []uint32) {
	ts.retrying.AndNot(sent.resources)
	ts.maybeInEnvoy.AndNot(sent.resources)
	ts.maybeInEnvoy.AndNot(sent.removed)
	read := ts.readByEnvoy(sent.resources)
	ts.ackedUnread.AndNot(read)
	ts.ackedUnread.Or(roaring.AndNot(sent.resources, read))
	if ts.typ.info().skipsEqual == yes {
		ts.mayBeSkipped.AndNot(sent.resources)
		ts.ackedRead.Or(read)
	}
	if ts.wildcard {
		ts.forgetRead(sent.removed)
	}
	current := read
	if sent.lastGood != nil {
		current = roaring.AndNot(read, sent.lastGood)
	}
	noLongerRejected = t.acknowledge(current, sent.revision, ts.envoy)
	eachIn(ts.rejected, current, func(id uint32) { noLongerRejected = append(noLongerRejected, id) })
	return noLongerRejected
}

// readByEnvoy returns those ids of an acknowledged response to which Envoy has subscribed
// since before they were sent. Envoy acknowledges unread what it unsubscribed from meanwhile.
// When it rejects a listener, it unsubscribes from all that the listener needs.
func (ts *typeState) readByEnvoy(ids *roaring.Bitmap) *roaring.Bitmap {
	if ts.wildcard && ts.awaited.IsEmpty() {
		return ids
	}
	asked := roaring.AndNot(ids, ts.awaited)
	if !ts.wildcard {
		asked.And(ts.names)
	}
	return asked
}
