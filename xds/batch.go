package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// batch is what one response carries.
type batch struct {
	resources, removed *roaring.Bitmap
	// lastGood are those resources of which the last good version is sent, and forceRead
	// those that are sent with a marker; nil if there are none.
	lastGood, forceRead *roaring.Bitmap
	// maybeByRejection are those resources that are in maybeInEnvoy only because the
	// response was rejected of which this is a part.
	maybeByRejection *roaring.Bitmap
	// resourcesSince and removedSince are the lowest dueSince of each.
	resourcesSince, removedSince uint64
}

func (b batch) empty() bool {
	return (b.resources == nil || b.resources.IsEmpty()) && (b.removed == nil || b.removed.IsEmpty())
}

// hasLastGood reports whether the last good version of a resource is sent.
func (b batch) hasLastGood() bool { return b.lastGood != nil && !b.lastGood.IsEmpty() }

// sentResponse is a response that was sent and not answered.
type sentResponse struct {
	batch
	nonce    string
	revision uint64
	sentAt   time.Time
	// added are the resources that Envoy did not have before, and takenAway the removed
	// ones that it had.
	added, takenAway *roaring.Bitmap
	// awaited are the resources about which Envoy waits for an answer.
	awaited *roaring.Bitmap
	// scopesRequested tells that Envoy asked for scopes before these listeners were sent.
	scopesRequested bool
	// noLongerStale are ids that are sent in their present version and were stale before.
	noLongerStale []uint32
	// onlyVersion is the version that was sent, if there is one resource only.
	onlyVersion version
}

// takeUpTo splits ids into those whose content is at most as new as a limit, and the rest.
// Revision is the store's.
func takeUpTo(t *table, ids *roaring.Bitmap, limit, revision uint64) (taken, rest *roaring.Bitmap) {
	if limit >= revision {
		return ids, roaring.New()
	}
	taken = roaring.New()
	if limit == 0 {
		return taken, ids
	}
	for it := ids.Iterator(); it.HasNext(); {
		if id := it.Next(); t.entries[id].revision <= limit {
			taken.Add(id)
		}
	}
	ids.AndNot(taken)
	return taken, ids
}

// takeDue takes what may be sent now out of what is due. The limits are revisions: newer
// content has to wait. The last argument is the store's revision.
func (ts *typeState) takeDue(t *table, sendLimit, removeLimit, revision uint64) batch {
	var b batch
	b.resources, ts.toSend = takeUpTo(t, ts.toSend, sendLimit, revision)
	ts.separateSuspects(b.resources, ts.applyRejections(t, &b))
	b.removed, ts.toRemove = takeUpTo(t, ts.toRemove, removeLimit, revision)
	if !ts.toRemove.IsEmpty() {
		// Nothing is broken by removing what Envoy does not have.
		harmless := roaring.AndNot(ts.toRemove, ts.inEnvoy)
		harmless.AndNot(ts.maybeInEnvoy)
		b.removed.Or(harmless)
		ts.toRemove.AndNot(harmless)
	}
	b.resourcesSince, b.removedSince = ts.oldestDue(b.resources), ts.oldestDue(b.removed)
	if ts.toSend.IsEmpty() && ts.toRemove.IsEmpty() {
		if len(ts.dueSince) > 0 {
			// To clear a map costs as much as it ever held, and this one may have held all.
			ts.dueSince = make(map[uint32]uint64)
		}
		return b
	}
	for _, ids := range []*roaring.Bitmap{b.resources, b.removed} {
		for it := ids.Iterator(); it.HasNext(); {
			delete(ts.dueSince, it.Next())
		}
	}
	return b
}

// separateSuspects puts back into toSend what is not to be sent now: suspects, which may be
// rejected, and resources that were never rejected are sent in turns.
func (ts *typeState) separateSuspects(set, suspects *roaring.Bitmap) {
	if suspects == nil || suspects.IsEmpty() {
		return
	}
	later := suspects
	if ts.suspectsNext || suspects.GetCardinality() == set.GetCardinality() {
		later = roaring.AndNot(set, suspects)
	}
	ts.suspectsNext = !ts.suspectsNext
	ts.toSend.Or(later)
	set.AndNot(later)
}

// refreshPart drops from a part of a rejected response what was changed or removed since:
// that is due by itself.
func (ts *typeState) refreshPart(t *table, b batch) batch {
	for _, id := range b.resources.ToArray() {
		if t.entries[id].presence != present || ts.toSend.Contains(id) || !ts.subscribesTo(id) {
			ts.lowerDueSince(id, b.resourcesSince)
			b.resources.Remove(id)
		}
	}
	for _, id := range b.removed.ToArray() {
		if !ts.stillRemoved(t, id) || ts.toRemove.Contains(id) {
			b.removed.Remove(id)
		}
	}
	ts.applyRejections(t, &b)
	return b
}

// stillRemoved reports whether Envoy is still to be told that a resource does not exist:
// there is none, or none that Envoy is offered.
func (ts *typeState) stillRemoved(t *table, id uint32) bool {
	_, isStale := ts.stale[id]
	return t.entries[id].presence == absent || isStale && !ts.toSend.Contains(id) && !ts.inEnvoy.Contains(id)
}
