package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// typeState is the state of one resource type on one stream: what the Envoy subscribes to,
// what it has, and what is to be sent. It does no I/O. Its methods are called under the
// store's lock.
//
// Sets are of the ids of resources.
type typeState struct {
	typ   Type
	envoy *envoyNode
	// now is the time of the request or plan that is being handled.
	now time.Time

	// subscribed tells that the Envoy asked for the type, which was open.
	subscribed bool
	// kept is what the Envoy asked for before the type was open.
	kept *subscriptionChange
	// wildcard tells that the Envoy subscribes to all.
	wildcard bool
	// names are subscribed to by name. With wildcard there may be some too.
	names *roaring.Bitmap

	// inEnvoy is what Envoy has as far as we know: it was sent, or Envoy came with it.
	inEnvoy *roaring.Bitmap
	// maybeInEnvoy is what Envoy may have, or may have in another version, as it was in a
	// response that Envoy rejected.
	maybeInEnvoy *roaring.Bitmap
	// ackedUnread is what Envoy acknowledged after it had unsubscribed. Should it subscribe
	// again, it says on a new stream that it has these.
	ackedUnread *roaring.Bitmap
	// ackedRead is what Envoy acknowledged on this stream, and had read.
	ackedRead *roaring.Bitmap
	// mayBeSkipped is what Envoy would skip if it were sent once more as it was sent last;
	// see typeInfo.skipsEqual.
	mayBeSkipped *roaring.Bitmap
	// awaited are names about which Envoy waits for an answer, whatever it has.
	awaited *roaring.Bitmap

	// cursor is the revision up to which changes are in toSend and toRemove.
	cursor uint64
	// toSend and toRemove are due. They are merged for as long as they cannot be sent;
	// nothing queues.
	toSend, toRemove *roaring.Bitmap
	// dueSince is the revision at which an id became due. An id that is due for another
	// reason than a change has none, which counts as 0.
	dueSince map[uint32]uint64
	// mustAnswer asks for a response even if there is nothing to say.
	mustAnswer bool
	// replan tells that a resource that was due is not sent after all: others may have
	// waited for it.
	replan   bool
	inFlight *sentResponse

	// searchParts are parts of a rejected response, sent one by one to find the culprit.
	searchParts []batch
	// lastWasSearch tells that the last response was one of these.
	lastWasSearch bool
	// rejected is what this Envoy rejected, by id.
	rejected map[uint32]ownRejection
	// stale are the resources whose present version the Envoy is not sent, since it, or
	// others of its version, rejected that. It has an older version or none.
	stale map[uint32]staleState
	// retrying are stale resources that are offered all the same.
	retrying *roaring.Bitmap
	// retryAt is when the next of them is due; zero if none is.
	retryAt time.Time
	// suspectsNext has what may be rejected sent before what was never rejected, the next
	// time that both are due.
	suspectsNext bool

	// What follows is for people.
	sent, acked     uint64
	sentAt, ackedAt time.Time
	lastRejection   *Rejection
	rejections      int
}

func newTypeState(t Type, envoy *envoyNode) typeState {
	return typeState{
		typ: t, ackedUnread: roaring.New(), awaited: roaring.New(), ackedRead: roaring.New(), mayBeSkipped: roaring.New(),
		names: roaring.New(), inEnvoy: roaring.New(), maybeInEnvoy: roaring.New(), toSend: roaring.New(), toRemove: roaring.New(),
		dueSince: make(map[uint32]uint64), envoy: envoy,
		rejected: make(map[uint32]ownRejection), stale: make(map[uint32]staleState), retrying: roaring.New(),
	}
}

// addUsedIDs adds the ids that must not be given to other names. Those of ackedUnread may
// be: that another resource is sent once more does no harm.
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

// hasAll reports whether nothing is due, and nothing is unanswered.
func (ts *typeState) hasAll() bool {
	return ts.inFlight == nil && len(ts.searchParts) == 0 && ts.toSend.IsEmpty() && ts.toRemove.IsEmpty()
}

// subscribesTo reports whether Envoy subscribes to a resource, by name or wildcard.
func (ts *typeState) subscribesTo(id uint32) bool { return ts.wildcard || ts.names.Contains(id) }

// subscribedOf returns those of the ids to which Envoy still subscribes. It has nothing of
// those from which it unsubscribed since they were sent.
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

// due notes that Envoy has to be told the present state of a resource. What it is sent is
// decided when the response is made; see offerOf.
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

// notDue forgets that something about a resource was due.
func (ts *typeState) notDue(id uint32) {
	ts.toSend.Remove(id)
	ts.toRemove.Remove(id)
	delete(ts.dueSince, id)
}

// forgetRead notes that Envoy does not remember these resources any more.
func (ts *typeState) forgetRead(ids *roaring.Bitmap) {
	ts.ackedRead.AndNot(ids)
	ts.mayBeSkipped.AndNot(ids)
}

// collectChanges makes due what changed up to a revision.
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
		// An Envoy that never had a resource need not be told that it is removed, unless it
		// subscribed by name.
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

// noRevision is later than all revisions.
const noRevision = ^uint64(0)

// oldestDue returns the lowest dueSince of the ids; noRevision if there are no ids.
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

// lowerDueSince notes that a resource has been due since an earlier revision, as what was
// sent in between was rejected.
func (ts *typeState) lowerDueSince(id uint32, revision uint64) {
	if since, ok := ts.dueSince[id]; ok {
		ts.dueSince[id] = min(since, revision)
	}
}
