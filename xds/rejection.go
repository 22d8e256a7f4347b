package xds

import (
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// ownRejection is what one Envoy rejected of a resource, on its present stream.
type ownRejection struct {
	// version is the rejected one; 0 if only the last good version was rejected.
	version version
	// lastGood is the last good version, if that was rejected too.
	lastGood version
	message  string
	since    time.Time
	pause    time.Duration
	retryAt  time.Time
}

// again returns the rejection with the next try put off.
func (r ownRejection) again(message string, now time.Time) ownRejection {
	r.message = message
	r.pause = min(max(2*r.pause, firstPause), lastPause)
	r.retryAt = now.Add(r.pause)
	return r
}

// rejectsCurrent reports whether this Envoy rejected the present version of a resource.
func (ts *typeState) rejectsCurrent(t *table, id uint32) bool {
	if len(ts.rejected) == 0 {
		return false
	}
	r, ok := ts.rejected[id]
	return ok && r.version != 0 && r.version == t.version(id, ts.envoy)
}

// splitRejected takes a rejected response apart, so that the good parts get through and the
// culprit is found. It returns the culprit if that was alone.
//
// Envoy may have taken over any part of the response, and does not say which.
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
			ts.maybeInEnvoy.Remove(id) // Envoy did not take over this content
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
	// Both halves keep the revision since which they were due: what waits for the good
	// resources waits on.
	ts.searchParts = slices.Insert(ts.searchParts, 0,
		batch{resources: first, removed: sent.removed, maybeByRejection: maybeByRejection, resourcesSince: sent.resourcesSince, removedSince: sent.removedSince},
		batch{resources: second, removed: roaring.New(), maybeByRejection: maybeByRejection, resourcesSince: sent.resourcesSince, removedSince: noRevision},
	)
	return 0, false
}

// Reach is how far a rejection goes.
type Reach uint8

// The reaches.
const (
	// Searching means that parts of the response are sent again, to find the culprit.
	Searching Reach = iota
	// Repeated means that it is known already that the resource is rejected.
	Repeated
	// OneEnvoy means that no other Envoy of the version rejects the resource.
	OneEnvoy
	// EnvoyVersion means that a second Envoy of the version rejects the resource, and none
	// of the version has acknowledged it.
	EnvoyVersion
)

// culprit is a resource that was rejected in a response of its own.
type culprit struct {
	id      uint32
	version version
	// since is the revision since which it was due.
	since uint64
}

// recordCulprit notes that an Envoy rejected a resource. It completes the rejection before
// it notes that: others read it from then on.
func (s *session) recordCulprit(t Type, c culprit, rejection *Rejection) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := &s.types[t]
	ts.now = rejection.Time
	rejection.Reach = ts.addCulprit(&s.store.tables[t], c, rejection.Message)
	ts.lastRejection = rejection
}

// addCulprit notes that this Envoy rejected a resource, and has it sent something better.
func (ts *typeState) addCulprit(t *table, c culprit, message string) (reach Reach) {
	ts.retrying.Remove(c.id)
	if !ts.subscribesTo(c.id) || t.entries[c.id].presence == withheld {
		return Searching
	}
	// What Envoy has is older than what it rejected, also if that was changed since.
	ts.markStale(t, c.id, c.since)
	if t.entries[c.id].presence != present {
		return Searching
	}
	if len(ts.rejected) >= maxQuoted {
		message = brief(message)
	}
	r := ts.rejected[c.id]
	_, good := t.lastGood(c.id, ts.envoy)
	switch c.version {
	case t.version(c.id, ts.envoy):
		if r.version != c.version {
			r = ownRejection{version: c.version, lastGood: r.lastGood, since: ts.now}
		}
		reach = t.addRejection(c.id, ts.envoy, message, ts.now)
		r = r.again(message, ts.now)
	case good:
		r.lastGood = good
		if r.since.IsZero() {
			r.since, r.message = ts.now, message
		}
		reach = Repeated
	default: // it was changed since
		return Searching
	}
	ts.rejected[c.id] = r
	ts.sendFallback(t, c.id, c.since)
	return reach
}

// endRejections notes what an Envoy acknowledged that it, or others of its version, had
// rejected, and what it unsubscribed from.
func (s *session) endRejections(t Type, ids []uint32) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, id := range ids {
		s.locked(func() { delete(s.types[t].rejected, id) })
		s.store.tables[t].removeRejection(id, s.envoy)
	}
	s.store.offerToOthers(t, ids, s.envoy.version)
}

// removeRejections forgets what an Envoy rejected when its stream ends: it does not concern
// others any more. It is called under the store's lock.
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
