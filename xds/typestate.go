package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// watch is what one Envoy asked for of one type, and what it has. It does no
// I/O; its methods are called under the store's lock.
type typeState struct {
	typ        Type
	subscribed bool
	wildcard   bool
	// names were subscribed by name; with wildcard they may be present too.
	names *roaring.Bitmap
	// held is what Envoy has, as far as we know: sent, or told by itself.
	inEnvoy *roaring.Bitmap
	// unsure is what Envoy may have beside, or as it was in a response that it rejected.
	maybeInEnvoy *roaring.Bitmap
	// unread are those that Envoy acknowledged after it had given them up. Should it ask
	// for them again, it tells on a new stream that it has them.
	ackedUnread *roaring.Bitmap
	// waits are names that Envoy waits for an answer about, whatever it has.
	awaited *roaring.Bitmap
	// looked are those about which Envoy acknowledged what it was sent on this stream,
	// and skips those of which it would skip what it was sent last; see skipsKnown.
	ackedRead, mayBeSkipped *roaring.Bitmap
	// set and gone are due to be sent and to be removed. They are merged for as
	// long as they cannot be sent; nothing queues.
	toSend, toRemove *roaring.Bitmap
	// since tells at which revision a due id became so; an id that is due for
	// another reason than a change has none, which counts as 0.
	dueSince map[uint32]uint64
	// cursor is the revision up to which changes are in set and gone.
	cursor uint64
	// answer asks for a response even if there is nothing to say.
	mustAnswer bool
	inFlight   *sentResponse
	// retry are parts of a rejected response, to be sent one by one to find the
	// culprit.
	searchParts []batch
	// searched tells that the last response was one of these.
	lastWasSearch bool
	envoy         *envoyNode
	// rejected are the resources that this Envoy rejected as they are, and lacks are those
	// that it does not get as they are, since it or others of its version rejected them:
	// it has an older version or none.
	rejected map[uint32]ownRejection
	stale    map[uint32]staleState
	// trial are those that are offered all the same, and retryAt is when the next of
	// them is to be.
	retrying *roaring.Bitmap
	retryAt  time.Time
	// now is the time of the request or plan that is being handled.
	now time.Time
	// apartNext has what may be rejected sent before what was not, the next time.
	suspectsNext bool
	// dropped tells that something that was due is not to be sent after all.
	replan bool
	// early is what was asked for before the type was opened.
	kept *subscriptionChange

	sent, acked     uint64
	sentAt, ackedAt time.Time
	lastRejection   *Rejection
	rejections      int
}

// batch is what one response carries.
type batch struct {
	resources, removed *roaring.Bitmap
	// lastGood are those of set of which the last good version is sent, and vary those
	// that are varied; nil if there are none.
	lastGood, forceRead *roaring.Bitmap
	// doubted are those that are in unsure only because the response of which this is
	// a part was rejected.
	maybeByRejection *roaring.Bitmap
	// setSince and goneSince are the lowest since of each.
	resourcesSince, removedSince uint64
}

func (b batch) empty() bool {
	return (b.resources == nil || b.resources.IsEmpty()) && (b.removed == nil || b.removed.IsEmpty())
}

// fallsBack reports whether it has the last good version of something.
func (b batch) hasLastGood() bool { return b.lastGood != nil && !b.lastGood.IsEmpty() }

// flight is a response that was sent and not answered.
type sentResponse struct {
	batch
	nonce    string
	revision uint64
	sentAt   time.Time
	// fresh are those of set that Envoy did not have before, and goneHeld those of
	// gone that it had.
	added, takenAway *roaring.Bitmap
	// waits are those of set that Envoy waits for.
	awaited *roaring.Bitmap
	// scopesBefore tells that Envoy asked for scopes before these listeners were sent.
	scopesRequested bool
	// mended are those that it has as they are, and the Envoy lacked before.
	noLongerStale []uint32
	// version is what was sent, of a resource that was sent alone.
	onlyVersion version
}

func newTypeState(t Type, envoy *envoyNode) typeState {
	return typeState{
		typ: t, ackedUnread: roaring.New(), awaited: roaring.New(), ackedRead: roaring.New(), mayBeSkipped: roaring.New(),
		names: roaring.New(), inEnvoy: roaring.New(), maybeInEnvoy: roaring.New(), toSend: roaring.New(), toRemove: roaring.New(),
		dueSince: make(map[uint32]uint64), envoy: envoy,
		rejected: make(map[uint32]ownRejection), stale: make(map[uint32]staleState), retrying: roaring.New(),
	}
}

// use adds the ids that must not be given to other names. Those of unread may be: that
// another resource is sent once more does no harm.
func (ts *typeState) addUsedIDs(used *roaring.Bitmap) {
	for _, ids := range []*roaring.Bitmap{ts.names, ts.inEnvoy, ts.maybeInEnvoy, ts.toSend, ts.toRemove, ts.retrying, ts.ackedRead, ts.mayBeSkipped} {
		used.Or(ids)
	}
	for id := range ts.rejected {
		used.Add(id)
	}
	for id := range ts.stale {
		used.Add(id)
	}
	if ts.kept != nil {
		ts.kept.addUsedIDs(used)
	}
	if ts.inFlight != nil {
		used.Or(ts.inFlight.resources)
		used.Or(ts.inFlight.removed)
	}
	for _, b := range ts.searchParts {
		used.Or(b.resources)
		used.Or(b.removed)
	}
}

func (ts *typeState) subscribesTo(id uint32) bool { return ts.wildcard || ts.names.Contains(id) }

// wanted returns those of the ids that Envoy still asks for. Of others, that it has given
// up since they were sent, it has nothing.
func (ts *typeState) subscribedOf(ids *roaring.Bitmap) *roaring.Bitmap {
	if ts.wildcard {
		return ids
	}
	return roaring.And(ids, ts.names)
}

// mayHave reports whether Envoy has a resource, or may have it.
func (ts *typeState) mayHave(id uint32) bool {
	return ts.inEnvoy.Contains(id) || ts.maybeInEnvoy.Contains(id)
}

// due notes that the Envoy has to be told about id, whatever its state is now. What
// it is sent is decided when that is done; see offer.
func (ts *typeState) due(t *table, id uint32) {
	switch t.entries[id].presence {
	case present:
		ts.toSend.Add(id)
		ts.toRemove.Remove(id)
	case absent:
		ts.toRemove.Add(id)
		ts.toSend.Remove(id)
	case withheld, unused:
		ts.notDue(id)
	}
}

// drop forgets that something about id was due.
func (ts *typeState) notDue(id uint32) {
	ts.toSend.Remove(id)
	ts.toRemove.Remove(id)
	delete(ts.dueSince, id)
}

// forget notes that Envoy has no memory of these any more.
func (ts *typeState) forgetRead(ids *roaring.Bitmap) {
	ts.ackedRead.AndNot(ids)
	ts.mayBeSkipped.AndNot(ids)
}

// collect takes note of all changes up to revision.
func (ts *typeState) collectChanges(t *table, revision uint64) {
	if ts.cursor == revision {
		return
	}
	t.changedSince(ts.cursor, func(id uint32, changed uint64) {
		if !ts.subscribesTo(id) && !ts.mayHave(id) || !t.changedFor(id, ts.envoy, ts.cursor) {
			return
		}
		delete(ts.rejected, id)
		ts.retrying.Remove(id)
		state, isStale := ts.stale[id]
		if t.entries[id].presence != present {
			delete(ts.stale, id)
		}
		// An Envoy that never had it need not be told that it is gone, unless it asked by name.
		if t.entries[id].presence == absent && !ts.mayHave(id) && !ts.names.Contains(id) {
			ts.notDue(id)
			return
		}
		if !ts.toSend.Contains(id) && !ts.toRemove.Contains(id) {
			ts.dueSince[id] = changed
			if isStale {
				ts.dueSince[id] = state.since
			}
		}
		ts.due(t, id)
	})
	ts.cursor = revision
}

// oldest returns the lowest since of the ids, or none when there are none.
func (ts *typeState) oldestDue(ids *roaring.Bitmap) uint64 {
	if ids.IsEmpty() {
		return noRevision
	}
	low := noRevision
	for it := ids.Iterator(); it.HasNext() && low > 0; {
		low = min(low, ts.dueSince[it.Next()])
	}
	return low
}

// none stands for "no revision": later than all.
const noRevision = ^uint64(0)

// takeUpTo removes those of the ids whose content is at most as new as limit.
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

// take removes what may be sent from what is due. The limits are revisions:
// newer content has to wait.
func (ts *typeState) takeDue(t *table, setLimit, goneLimit, revision uint64) batch {
	var b batch
	b.resources, ts.toSend = takeUpTo(t, ts.toSend, setLimit, revision)
	ts.separateSuspects(b.resources, ts.applyRejections(t, &b))
	b.removed, ts.toRemove = takeUpTo(t, ts.toRemove, goneLimit, revision)
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
			// Clearing a map costs what it ever held; this one may have held all.
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

// sendApart puts back what is not to be sent now, so that what may be rejected and
// what was never rejected take turns.
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

// refresh drops from a batch of a rejected response what changed or went since:
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

// isGone reports whether Envoy is still to be told that there is nothing for a name:
// there is none, or none that it is offered.
func (ts *typeState) stillRemoved(t *table, id uint32) bool {
	_, isStale := ts.stale[id]
	return t.entries[id].presence == absent || isStale && !ts.toSend.Contains(id) && !ts.inEnvoy.Contains(id)
}

// lower notes that what is due about id was so since an earlier revision,
// because what was sent in between did not get through.
func (ts *typeState) lowerDueSince(id uint32, revision uint64) {
	if since, ok := ts.dueSince[id]; ok {
		ts.dueSince[id] = min(since, revision)
	}
}
