package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// watch is what one Envoy asked for of one type, and what it has. It does no
// I/O; its methods are called under the store's lock.
type watch struct {
	typ        Type
	subscribed bool
	wildcard   bool
	// names were subscribed by name; with wildcard they may be present too.
	names *roaring.Bitmap
	// held is what Envoy has, as far as we know: sent, or told by itself.
	held *roaring.Bitmap
	// unsure is what Envoy may have beside, or as it was in a response that it rejected.
	unsure *roaring.Bitmap
	// unread are those that Envoy acknowledged after it had given them up. Should it ask
	// for them again, it tells on a new stream that it has them.
	unread *roaring.Bitmap
	// waits are names that Envoy waits for an answer about, whatever it has.
	waits *roaring.Bitmap
	// looked are those about which Envoy acknowledged what it was sent on this stream,
	// and skips those of which it would skip what it was sent last; see skipsKnown.
	looked, skips *roaring.Bitmap
	// set and gone are due to be sent and to be removed. They are merged for as
	// long as they cannot be sent; nothing queues.
	set, gone *roaring.Bitmap
	// since tells at which revision a due id became so; an id that is due for
	// another reason than a change has none, which counts as 0.
	since map[uint32]uint64
	// cursor is the revision up to which changes are in set and gone.
	cursor uint64
	// answer asks for a response even if there is nothing to say.
	answer bool
	flight *flight
	// retry are parts of a rejected response, to be sent one by one to find the
	// culprit.
	retry []batch
	// searched tells that the last response was one of these.
	searched bool
	envoy    *kind
	// rejected are the resources that this Envoy rejected as they are, and lacks are those
	// that it does not get as they are, since it or others of its version rejected them:
	// it has an older version or none.
	rejected map[uint32]rejected
	lacks    map[uint32]lack
	// trial are those that are offered all the same, and retryAt is when the next of
	// them is to be.
	trial   *roaring.Bitmap
	retryAt time.Time
	// now is the time of the request or plan that is being handled.
	now time.Time
	// apartNext has what may be rejected sent before what was not, the next time.
	apartNext bool
	// dropped tells that something that was due is not to be sent after all.
	dropped bool
	// early is what was asked for before the type was opened.
	early *subscription

	sent, acked     uint64
	sentAt, ackedAt time.Time
	lastRejection   *Rejection
	rejections      int
}

// batch is what one response carries.
type batch struct {
	set, gone *roaring.Bitmap
	// lastGood are those of set of which the last good version is sent, and vary those
	// that are varied; nil if there are none.
	lastGood, vary *roaring.Bitmap
	// doubted are those that are in unsure only because the response of which this is
	// a part was rejected.
	doubted *roaring.Bitmap
	// setSince and goneSince are the lowest since of each.
	setSince, goneSince uint64
}

func (b batch) empty() bool {
	return (b.set == nil || b.set.IsEmpty()) && (b.gone == nil || b.gone.IsEmpty())
}

// fallsBack reports whether it has the last good version of something.
func (b batch) fallsBack() bool { return b.lastGood != nil && !b.lastGood.IsEmpty() }

// flight is a response that was sent and not answered.
type flight struct {
	batch
	nonce    string
	revision uint64
	sentAt   time.Time
	// fresh are those of set that Envoy did not have before, and goneHeld those of
	// gone that it had.
	fresh, goneHeld *roaring.Bitmap
	// waits are those of set that Envoy waits for.
	waits *roaring.Bitmap
	// scopesBefore tells that Envoy asked for scopes before these listeners were sent.
	scopesBefore bool
	// mended are those that it has as they are, and the Envoy lacked before.
	mended []uint32
	// version is what was sent, of a resource that was sent alone.
	version version
}

func newWatch(t Type, envoy *kind) watch {
	return watch{
		typ: t, unread: roaring.New(), waits: roaring.New(), looked: roaring.New(), skips: roaring.New(),
		names: roaring.New(), held: roaring.New(), unsure: roaring.New(), set: roaring.New(), gone: roaring.New(),
		since: make(map[uint32]uint64), envoy: envoy,
		rejected: make(map[uint32]rejected), lacks: make(map[uint32]lack), trial: roaring.New(),
	}
}

// use adds the ids that must not be given to other names. Those of unread may be: that
// another resource is sent once more does no harm.
func (w *watch) use(used *roaring.Bitmap) {
	for _, ids := range []*roaring.Bitmap{w.names, w.held, w.unsure, w.set, w.gone, w.trial, w.looked, w.skips} {
		used.Or(ids)
	}
	for id := range w.rejected {
		used.Add(id)
	}
	for id := range w.lacks {
		used.Add(id)
	}
	if w.early != nil {
		w.early.use(used)
	}
	if w.flight != nil {
		used.Or(w.flight.set)
		used.Or(w.flight.gone)
	}
	for _, b := range w.retry {
		used.Or(b.set)
		used.Or(b.gone)
	}
}

func (w *watch) wants(id uint32) bool { return w.wildcard || w.names.Contains(id) }

// wanted returns those of the ids that Envoy still asks for. Of others, that it has given
// up since they were sent, it has nothing.
func (w *watch) wanted(ids *roaring.Bitmap) *roaring.Bitmap {
	if w.wildcard {
		return ids
	}
	return roaring.And(ids, w.names)
}

// mayHave reports whether Envoy has a resource, or may have it.
func (w *watch) mayHave(id uint32) bool { return w.held.Contains(id) || w.unsure.Contains(id) }

// due notes that the Envoy has to be told about id, whatever its state is now. What
// it is sent is decided when that is done; see offer.
func (w *watch) due(t *table, id uint32) {
	switch t.entries[id].presence {
	case present:
		w.set.Add(id)
		w.gone.Remove(id)
	case absent:
		w.gone.Add(id)
		w.set.Remove(id)
	case withheld, unused:
		w.drop(id)
	}
}

// drop forgets that something about id was due.
func (w *watch) drop(id uint32) {
	w.set.Remove(id)
	w.gone.Remove(id)
	delete(w.since, id)
}

// forget notes that Envoy has no memory of these any more.
func (w *watch) forget(ids *roaring.Bitmap) {
	w.looked.AndNot(ids)
	w.skips.AndNot(ids)
}

// collect takes note of all changes up to revision.
func (w *watch) collect(t *table, revision uint64) {
	if w.cursor == revision {
		return
	}
	t.changedSince(w.cursor, func(id uint32, changed uint64) {
		if !w.wants(id) && !w.mayHave(id) || !t.changedFor(id, w.envoy, w.cursor) {
			return
		}
		delete(w.rejected, id)
		w.trial.Remove(id)
		lacking, lacks := w.lacks[id]
		if t.entries[id].presence != present {
			delete(w.lacks, id)
		}
		// An Envoy that never had it need not be told that it is gone, unless it asked by name.
		if t.entries[id].presence == absent && !w.mayHave(id) && !w.names.Contains(id) {
			w.drop(id)
			return
		}
		if !w.set.Contains(id) && !w.gone.Contains(id) {
			w.since[id] = changed
			if lacks {
				w.since[id] = lacking.since
			}
		}
		w.due(t, id)
	})
	w.cursor = revision
}

// oldest returns the lowest since of the ids, or none when there are none.
func (w *watch) oldest(ids *roaring.Bitmap) uint64 {
	if ids.IsEmpty() {
		return none
	}
	low := none
	for it := ids.Iterator(); it.HasNext() && low > 0; {
		low = min(low, w.since[it.Next()])
	}
	return low
}

// none stands for "no revision": later than all.
const none = ^uint64(0)

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
func (w *watch) take(t *table, setLimit, goneLimit, revision uint64) batch {
	var b batch
	b.set, w.set = takeUpTo(t, w.set, setLimit, revision)
	w.sendApart(b.set, w.judge(t, &b))
	b.gone, w.gone = takeUpTo(t, w.gone, goneLimit, revision)
	if !w.gone.IsEmpty() {
		// Nothing is broken by removing what Envoy does not have.
		harmless := roaring.AndNot(w.gone, w.held)
		harmless.AndNot(w.unsure)
		b.gone.Or(harmless)
		w.gone.AndNot(harmless)
	}
	b.setSince, b.goneSince = w.oldest(b.set), w.oldest(b.gone)
	if w.set.IsEmpty() && w.gone.IsEmpty() {
		if len(w.since) > 0 {
			// Clearing a map costs what it ever held; this one may have held all.
			w.since = make(map[uint32]uint64)
		}
		return b
	}
	for _, ids := range []*roaring.Bitmap{b.set, b.gone} {
		for it := ids.Iterator(); it.HasNext(); {
			delete(w.since, it.Next())
		}
	}
	return b
}

// sendApart puts back what is not to be sent now, so that what may be rejected and
// what was never rejected take turns.
func (w *watch) sendApart(set, apart *roaring.Bitmap) {
	if apart == nil || apart.IsEmpty() {
		return
	}
	later := apart
	if w.apartNext || apart.GetCardinality() == set.GetCardinality() {
		later = roaring.AndNot(set, apart)
	}
	w.apartNext = !w.apartNext
	w.set.Or(later)
	set.AndNot(later)
}

// refresh drops from a batch of a rejected response what changed or went since:
// that is due by itself.
func (w *watch) refresh(t *table, b batch) batch {
	for _, id := range b.set.ToArray() {
		if t.entries[id].presence != present || w.set.Contains(id) || !w.wants(id) {
			w.lower(id, b.setSince)
			b.set.Remove(id)
		}
	}
	for _, id := range b.gone.ToArray() {
		if !w.isGone(t, id) || w.gone.Contains(id) {
			b.gone.Remove(id)
		}
	}
	w.judge(t, &b)
	return b
}

// isGone reports whether Envoy is still to be told that there is nothing for a name:
// there is none, or none that it is offered.
func (w *watch) isGone(t *table, id uint32) bool {
	_, lacks := w.lacks[id]
	return t.entries[id].presence == absent || lacks && !w.set.Contains(id) && !w.held.Contains(id)
}

// lower notes that what is due about id was so since an earlier revision,
// because what was sent in between did not get through.
func (w *watch) lower(id uint32, revision uint64) {
	if since, ok := w.since[id]; ok {
		w.since[id] = min(since, revision)
	}
}
