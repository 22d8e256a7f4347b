package xds

import "github.com/RoaringBitmap/roaring/v2"

// offer is what an Envoy is sent of a resource that is due.
type offer uint8

const (
	// offerCurrent is the present version.
	offerCurrent offer = iota
	// offerLastGood is the last good version: the one before, which Envoys of the same
	// version acknowledged.
	offerLastGood
	// offerNothing leaves the Envoy what it has, if it has something.
	offerNothing
)

// offerOf decides what an Envoy is sent of a resource that it, or others of its version,
// rejected. If there is nothing better, the Envoy gets what only others rejected: their
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

// applyRejections takes out of a batch what the Envoy is not offered, and notes of what it
// is offered the last good version. It returns suspects, which the Envoy may reject: they
// are sent apart from all else.
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

// answerRemoved has an Envoy told that a resource does not exist, if it subscribed by name
// and has nothing, or waits for an answer.
func (ts *typeState) answerRemoved(id uint32) {
	if !ts.wildcard && ts.names.Contains(id) && (!ts.inEnvoy.Contains(id) || ts.awaited.Contains(id)) {
		ts.toRemove.Add(id)
	}
}

// eachRejected calls f with those of the ids that this Envoy, or any other of whatever
// version, rejected.
func (ts *typeState) eachRejected(t *table, ids *roaring.Bitmap, f func(id uint32)) {
	eachIn(t.rejections, ids, f)
	eachIn(ts.rejected, ids, func(id uint32) {
		if _, both := t.rejections[id]; !both {
			f(id)
		}
	})
}

// eachIn calls f with those of the ids that are keys of a map. It costs what the smaller of
// both does: a change may be small, and many resources rejected.
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
