package xds

import (
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// What an Envoy rejected is offered to it again after firstPause, then after
// pauses that double up to lastPause: a port may have been freed on its machine.
const (
	firstPause = 10 * time.Second
	lastPause  = 10 * time.Minute
	// sparedPause is when an Envoy is offered what only others rejected: they may all
	// have the same trouble, that it does not have.
	quarantinePause = time.Minute
	// maxTrials is how many resources of a type are offered again at a time, to an Envoy
	// that rejects very many: to find out about each takes two responses.
	maxRetriesAtOnce = 100
)

// rejected is what one Envoy rejected of a resource, on its present stream.
type ownRejection struct {
	// version is of the content that it rejected; 0 if it rejected none but lastGood.
	version version
	// lastGood is the last good version, if it rejected that too.
	lastGood version
	message  string
	since    time.Time
	pause    time.Duration
	retryAt  time.Time
}

// again returns the rejection with the time of the next try put off.
func (r ownRejection) again(message string, now time.Time) ownRejection {
	r.message = message
	r.pause = min(max(2*r.pause, firstPause), lastPause)
	r.retryAt = now.Add(r.pause)
	return r
}

// rejects reports whether this Envoy rejected a resource as it is now.
func (ts *typeState) rejectsCurrent(t *table, id uint32) bool {
	if len(ts.rejected) == 0 {
		return false
	}
	r, ok := ts.rejected[id]
	return ok && r.version != 0 && r.version == t.version(id, ts.envoy)
}

// offer is what an Envoy is sent of a resource that is due.
type offer uint8

const (
	// offerCurrent is the resource as it is.
	offerCurrent offer = iota
	// offerLastGood is the version before it that Envoys of the same version acknowledged.
	offerLastGood
	// offerNothing leaves the Envoy what it has, if it has something.
	offerNothing
)

// offer decides about a resource that this Envoy, or others of its version, rejected.
// An Envoy for which there is nothing better gets what only others rejected: their
// reason may be theirs alone.
func (ts *typeState) offerOf(t *table, id uint32) offer {
	own := ts.rejectsCurrent(t, id) && !ts.retrying.Contains(id)
	switch {
	case !own && !t.quarantined(id, ts.envoy):
		return offerCurrent
	case ts.inEnvoy.Contains(id) && !ts.awaited.Contains(id) && !ts.retrying.Contains(id) && !(own && ts.typ.info().keepsRejected == yes):
		return offerNothing
	}
	if _, good := t.lastGood(id, ts.envoy); good != 0 && good != ts.rejected[id].lastGood && !ts.retrying.Contains(id) {
		return offerLastGood
	}
	if own {
		return offerNothing
	}
	return offerCurrent
}

// lack is a resource that an Envoy does not get as it is.
type staleState struct {
	// since is the revision since which that is so.
	since uint64
	// retryAt is when it is offered all the same.
	retryAt time.Time
}

// lack notes that the Envoy does not get a resource as it is.
func (ts *typeState) markStale(t *table, id uint32, since uint64) {
	state, before := ts.stale[id]
	switch {
	case ts.rejectsCurrent(t, id):
		state.retryAt = ts.rejected[id].retryAt
	case !before:
		state.retryAt = ts.now.Add(quarantinePause)
	}
	if state.since = since; before {
		state.since = min(since, ts.stale[id].since)
	}
	ts.stale[id] = state
}

// oldestLack returns the lowest revision since which the Envoy has an older version of
// what was changed; none if it has all as it is.
func (ts *typeState) oldestStale() uint64 {
	low := noRevision
	for id, state := range ts.stale {
		if ts.mayHave(id) {
			low = min(low, state.since)
		}
	}
	return low
}

// questionable calls f with the ids of a set that this Envoy or another of any
// version rejected.
func (ts *typeState) eachRejected(t *table, ids *roaring.Bitmap, f func(id uint32)) {
	eachIn(t.rejections, ids, f)
	eachIn(ts.rejected, ids, func(id uint32) {
		if _, both := t.rejections[id]; !both {
			f(id)
		}
	})
}

// among calls f with the ids of a set that are keys of a map. It costs what the smaller
// of both does: a change may be small, and many resources rejected.
func eachIn[V any](m map[uint32]V, ids *roaring.Bitmap, f func(id uint32)) {
	if ids.GetCardinality() < uint64(len(m)) {
		for it := ids.Iterator(); it.HasNext(); {
			id := it.Next()
			if _, ok := m[id]; ok {
				f(id)
			}
		}
		return
	}
	for id := range m {
		if ids.Contains(id) {
			f(id)
		}
	}
}

// judge replaces what an Envoy is not offered in a batch, and returns those that may
// be rejected again: they are sent apart from all else.
func (ts *typeState) applyRejections(t *table, b *batch) (suspects *roaring.Bitmap) {
	if len(t.rejections)+len(ts.rejected) == 0 {
		return nil
	}
	suspects, b.lastGood = roaring.New(), roaring.New()
	var nothing []uint32
	ts.eachRejected(t, b.resources, func(id uint32) {
		switch ts.offerOf(t, id) {
		case offerNothing:
			nothing = append(nothing, id)
		case offerLastGood:
			b.lastGood.Add(id)
			ts.markStale(t, id, ts.dueSince[id])
			ts.retryBy(ts.stale[id].retryAt)
		case offerCurrent:
			if t.rejectionsFor(id, ts.envoy) != nil && !t.acknowledgedBy(id, ts.envoy) || ts.rejectsCurrent(t, id) {
				suspects.Add(id)
			}
		}
	})
	for _, id := range nothing {
		b.resources.Remove(id)
		ts.markStale(t, id, ts.dueSince[id])
		ts.retryBy(ts.stale[id].retryAt)
		delete(ts.dueSince, id)
		ts.replan = true
		ts.answerRemoved(id)
	}
	return suspects
}

// answerWithout tells an Envoy that asked for a name that there is nothing for it,
// if it has nothing or waits for an answer.
func (ts *typeState) answerRemoved(id uint32) {
	if !ts.wildcard && ts.names.Contains(id) && (!ts.inEnvoy.Contains(id) || ts.awaited.Contains(id)) {
		ts.toRemove.Add(id)
	}
}

// reject takes a rejected response apart: what was good in it gets through and the
// culprit is found. It returns the culprit when it was alone.
//
// Envoy may have taken over any part of it, and tells of none.
func (ts *typeState) splitRejected(sent *sentResponse) (culprit uint32, alone bool) {
	ts.inEnvoy.AndNot(sent.added)
	maybeByRejection := roaring.AndNot(sent.resources, ts.maybeInEnvoy)
	if sent.maybeByRejection != nil {
		maybeByRejection.Or(sent.maybeByRejection)
	}
	ts.maybeInEnvoy.Or(ts.subscribedOf(sent.resources))
	ts.maybeInEnvoy.Or(ts.subscribedOf(sent.takenAway))
	ts.awaited.Or(ts.subscribedOf(sent.awaited))
	if ts.typ.info().skipsEqual == yes {
		ts.mayBeSkipped.Or(ts.subscribedOf(sent.resources))
	}
	n := sent.resources.GetCardinality()
	if n < 2 {
		if n == 1 && !sent.removed.IsEmpty() {
			ts.searchParts = slices.Insert(ts.searchParts, 0, batch{resources: roaring.New(), removed: sent.removed, resourcesSince: noRevision, removedSince: sent.removedSince})
		}
		if n == 0 {
			return 0, false
		}
		id := sent.resources.Minimum()
		ts.lowerDueSince(id, sent.resourcesSince)
		if maybeByRejection.Contains(id) {
			ts.maybeInEnvoy.Remove(id) // of this content it has nothing
		}
		return id, !ts.toSend.Contains(id) && !ts.toRemove.Contains(id)
	}
	first, second := roaring.New(), roaring.New()
	for it := sent.resources.Iterator(); it.HasNext(); {
		if id := it.Next(); first.GetCardinality() < n/2 {
			first.Add(id)
		} else {
			second.Add(id)
		}
	}
	// The halves count as sent last: what waits for the good ones waits on.
	ts.searchParts = slices.Insert(ts.searchParts, 0,
		batch{resources: first, removed: sent.removed, maybeByRejection: maybeByRejection, resourcesSince: sent.resourcesSince, removedSince: sent.removedSince},
		batch{resources: second, removed: roaring.New(), maybeByRejection: maybeByRejection, resourcesSince: sent.resourcesSince, removedSince: noRevision},
	)
	return 0, false
}

// retryLacks makes due what is to be offered again.
func (ts *typeState) retryStale() {
	if ts.retryAt.IsZero() || ts.now.Before(ts.retryAt) {
		return
	}
	ts.retryAt = time.Time{}
	offered := 0
	for id, state := range ts.stale {
		switch {
		case ts.toSend.Contains(id) || !ts.subscribesTo(id):
		case ts.now.Before(state.retryAt):
			ts.retryBy(state.retryAt)
		case offered == maxRetriesAtOnce:
			ts.retryBy(ts.now.Add(firstPause))
		default:
			offered++
			ts.retrying.Add(id)
			ts.toSend.Add(id)
			ts.dueSince[id] = state.since
		}
	}
}

// retryNow has all that this Envoy rejected offered again.
func (ts *typeState) retryRejected() {
	for id := range ts.rejected {
		if state, ok := ts.stale[id]; ok {
			state.retryAt = ts.now
			ts.stale[id] = state
			ts.retryBy(ts.now)
		}
	}
}

func (ts *typeState) retryBy(at time.Time) {
	if ts.retryAt.IsZero() || at.Before(ts.retryAt) {
		ts.retryAt = at
	}
}

// fallBack makes due what an Envoy is sent in place of what it rejected.
func (ts *typeState) sendFallback(t *table, id uint32, since uint64) {
	ts.markStale(t, id, since)
	ts.retryBy(ts.stale[id].retryAt)
	switch ts.offerOf(t, id) {
	case offerNothing:
		ts.answerRemoved(id)
	default:
		ts.toSend.Add(id)
		ts.dueSince[id] = since
	}
}

// Reach is how far a rejection goes.
type Reach uint8

// The reaches.
const (
	// Parts of the rejected response are sent again, to find the culprit.
	Searching Reach = iota
	// Repeated is what is known already.
	Repeated
	// OneEnvoy rejects a resource that no other of its version rejects.
	OneEnvoy
	// EnvoyVersion means that a second Envoy of a version rejects the resource, and
	// none of the version has acknowledged it.
	EnvoyVersion
)

// rejectAlone takes note of what an Envoy rejected that was sent to it alone.
func (s *session) recordCulprit(t Type, c culprit, rejection *Rejection) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	ts, table := &s.types[t], &s.store.tables[t]
	ts.lastRejection, ts.now = rejection, rejection.Time
	ts.retrying.Remove(c.id)
	if !ts.subscribesTo(c.id) || table.entries[c.id].presence == withheld {
		return
	}
	// What it has is older than what was rejected, also if that has changed since.
	ts.markStale(table, c.id, c.since)
	message := rejection.Message
	if len(ts.rejected) >= maxQuoted {
		message = brief(message)
	}
	r := ts.rejected[c.id]
	_, good := table.lastGood(c.id, s.envoy)
	switch {
	case table.entries[c.id].presence != present:
		return
	case c.version == table.version(c.id, s.envoy):
		if r.version != c.version {
			r = ownRejection{version: c.version, lastGood: r.lastGood, since: rejection.Time}
		}
		rejection.Reach = table.addRejection(c.id, s.envoy, message, rejection.Time)
		r = r.again(message, rejection.Time)
	case c.version == good:
		r.lastGood = good
		if r.since.IsZero() {
			r.since, r.message = rejection.Time, message
		}
		rejection.Reach = Repeated
	default:
		return
	}
	ts.rejected[c.id] = r
	ts.sendFallback(table, c.id, c.since)
}

// settle takes note of what an Envoy acknowledged that it or others of its version had
// rejected, or does not ask for any more.
func (s *session) endRejections(t Type, ids []uint32) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, id := range ids {
		s.locked(func() { delete(s.types[t].rejected, id) })
		s.store.tables[t].removeRejection(id, s.envoy)
	}
	s.store.offerToOthers(t, ids, s.envoy.version)
}

// forgetRejections is called under the store's lock when a stream ends: what its
// Envoy rejected does not concern others any more.
func (s *session) removeRejections() {
	for t := range s.store.tables {
		table := &s.store.tables[t]
		var ids []uint32
		for id := range table.rejections {
			if table.removeRejection(id, s.envoy) {
				ids = append(ids, id)
			}
		}
		s.store.offerToOthers(Type(t), ids, s.envoy.version)
	}
}
