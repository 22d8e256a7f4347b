package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// watch is what one Envoy asked for of one type, and what it has. It does no
// I/O; its methods are called under the store's lock.
type watch struct {
	subscribed bool
	wildcard   bool
	// names were subscribed by name; with wildcard they may be present too.
	names *roaring.Bitmap
	// held is what Envoy has, as far as we know: sent, or told by itself.
	held *roaring.Bitmap
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
	// envoy is the Envoy's kind: what others of it rejected is not sent.
	envoy *kind

	sent, acked     uint64
	sentAt, ackedAt time.Time
	rejected        *Rejection
	rejections      int
}

// batch is what one response carries.
type batch struct {
	set, gone *roaring.Bitmap
	// setSince and goneSince are the lowest since of each.
	setSince, goneSince uint64
}

// flight is a response that was sent and not answered.
type flight struct {
	batch
	nonce    string
	revision uint64
	sentAt   time.Time
	// fresh are those that Envoy did not have before.
	fresh *roaring.Bitmap
	// version is what was sent, of a resource that was sent alone.
	version version
}

func newWatch(envoy *kind) watch {
	return watch{
		names: roaring.New(), held: roaring.New(), set: roaring.New(), gone: roaring.New(),
		since: make(map[uint32]uint64), envoy: envoy,
	}
}

// use adds the ids that must not be given to other names.
func (w *watch) use(used *roaring.Bitmap) {
	used.Or(w.names)
	used.Or(w.held)
	used.Or(w.gone)
	if w.flight != nil {
		used.Or(w.flight.gone)
	}
	for _, b := range w.retry {
		used.Or(b.set)
		used.Or(b.gone)
	}
}

func (w *watch) wants(id uint32) bool { return w.wildcard || w.names.Contains(id) }

// due notes that the Envoy has to be told about id, whatever its state is now.
// Of a resource that Envoys of its version reject it keeps what it has; see
// keepBack for what it is sent if it has none.
func (w *watch) due(t *table, id uint32) {
	switch t.entries[id].presence {
	case present:
		if t.on(id, w.envoy) != nil && w.held.Contains(id) && !w.set.Contains(id) && !w.gone.Contains(id) {
			return
		}
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

// collect takes note of all changes up to revision.
func (w *watch) collect(t *table, revision uint64) {
	if w.cursor == revision {
		return
	}
	t.changedSince(w.cursor, func(id uint32, changed uint64) {
		if !w.wants(id) && !w.held.Contains(id) || !t.changedFor(id, w.envoy, w.cursor) {
			return
		}
		// An Envoy that never had it need not be told that it is gone, unless it asked by name.
		if t.entries[id].presence == absent && !w.held.Contains(id) && !w.names.Contains(id) {
			w.drop(id)
			return
		}
		if !w.set.Contains(id) && !w.gone.Contains(id) {
			w.since[id] = changed
		}
		w.due(t, id)
	})
	w.cursor = revision
}

// subscription is a request's part that changes what is subscribed, with names
// replaced by ids.
type subscription struct {
	subscribe, unsubscribe       []uint32
	subscribeAll, unsubscribeAll bool
	initial                      []held
	emptyMeansAll                bool
	// reclaims is as in Store.
	reclaims uint64
}

// held is a resource that Envoy came with.
type held struct {
	id      uint32
	version version // 0 if it is not one of ours
}

// start handles the first request for a type on a stream.
//
// xDS protocol, "How the client specifies what resources to return": a first
// request without names asks for all (for the types that allow it), as does "*".
// "Incremental xDS": initial_resource_versions lists what the client has.
func (w *watch) start(t *table, s subscription, revision uint64) {
	w.subscribed = true
	w.cursor = revision
	w.wildcard = s.subscribeAll || (len(s.subscribe) == 0 && s.emptyMeansAll)
	w.subscribe(t, s.subscribe)
	if w.wildcard {
		w.allDue(t)
		w.answer = len(s.initial) == 0
	}
	// To take them out of what is due one by one moves the others each time.
	current := roaring.New()
	for _, h := range s.initial {
		if !w.wants(h.id) {
			continue
		}
		w.held.Add(h.id)
		if h.version != 0 && h.version == t.current(h.id, w.envoy) {
			current.Add(h.id)
			delete(w.since, h.id)
		} else {
			w.due(t, h.id)
		}
	}
	w.set.AndNot(current)
	w.gone.AndNot(current)
}

// subscribe makes every name due, also one that is subscribed already: the
// client may have dropped it and wait for it. A name that does not exist is
// answered as removed, at once: Envoy would not warm up without an answer.
func (w *watch) subscribe(t *table, ids []uint32) {
	for _, id := range ids {
		w.names.Add(id)
		w.demanded(t, id)
	}
}

// demanded makes due what Envoy waits for, whatever it has.
func (w *watch) demanded(t *table, id uint32) {
	if t.entries[id].presence == absent || t.on(id, w.envoy) != nil {
		w.held.Remove(id)
	}
	w.due(t, id)
}

func (w *watch) allDue(t *table) {
	for id := range t.entries {
		if t.entries[id].presence == present {
			w.due(t, uint32(id))
		}
	}
}

// update handles the subscription part of every later request.
func (w *watch) update(t *table, s subscription) {
	if s.subscribeAll {
		w.wildcard = true
		w.answer = true
		w.allDue(t)
	}
	if s.unsubscribeAll {
		w.wildcard = false
		w.held.And(w.names)
		w.set.And(w.names)
		w.gone.And(w.names)
	}
	w.subscribe(t, s.subscribe)
	for _, id := range s.unsubscribe {
		w.names.Remove(id)
		if w.wildcard {
			// Still covered by the wildcard: the client needs it anew.
			w.due(t, id)
			continue
		}
		w.held.Remove(id)
		w.drop(id)
	}
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
	if len(t.verdicts) > 0 {
		w.keepBack(t, b.set)
	}
	b.gone, w.gone = takeUpTo(t, w.gone, goneLimit, revision)
	if !w.gone.IsEmpty() {
		// Nothing is broken by removing what Envoy does not have.
		harmless := roaring.AndNot(w.gone, w.held)
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

// keepBack replaces what Envoys of the version reject: by nothing, if Envoy has
// an older one; else by the last good version; and if there is none, an Envoy
// that waits for an answer about a name is told so.
func (w *watch) keepBack(t *table, ids *roaring.Bitmap) {
	for _, id := range ids.ToArray() {
		if t.on(id, w.envoy) == nil {
			continue
		}
		waits := !w.wildcard || !w.held.Contains(id)
		if wire, _ := t.content(id, w.envoy); waits && wire != nil {
			continue
		}
		ids.Remove(id)
		if !w.wildcard {
			w.held.Remove(id)
			w.gone.Add(id)
		}
	}
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
		if t.entries[id].presence != absent || w.gone.Contains(id) {
			b.gone.Remove(id)
		}
	}
	w.keepBack(t, b.set)
	return b
}

// lower notes that what is due about id was so since an earlier revision,
// because what was sent in between did not get through.
func (w *watch) lower(id uint32, revision uint64) {
	if since, ok := w.since[id]; ok {
		w.since[id] = min(since, revision)
	}
}

// reject splits a rejected response in two, so that what was good in it gets
// through and the culprit is found. It returns the culprit when it is alone.
func (w *watch) reject(f *flight) (culprit uint32, alone bool) {
	w.held.AndNot(f.fresh)
	n := f.set.GetCardinality()
	if n == 0 {
		return 0, false
	}
	if n == 1 {
		id := f.set.Minimum()
		w.lower(id, f.setSince)
		return id, !w.set.Contains(id) && !w.gone.Contains(id)
	}
	first, second := roaring.New(), roaring.New()
	for it := f.set.Iterator(); it.HasNext(); {
		if id := it.Next(); first.GetCardinality() < n/2 {
			first.Add(id)
		} else {
			second.Add(id)
		}
	}
	// The halves count as sent last: what waits for the good ones waits on.
	w.retry = append([]batch{
		{set: first, gone: f.gone, setSince: f.setSince, goneSince: f.goneSince},
		{set: second, gone: roaring.New(), setSince: f.setSince, goneSince: none},
	}, w.retry...)
	return 0, false
}
