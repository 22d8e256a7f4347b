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
	sparedPause = time.Minute
	// maxTrials is how many resources of a type are offered again at a time, to an Envoy
	// that rejects very many: to find out about each takes two responses.
	maxTrials = 100
)

// rejected is what one Envoy rejected of a resource, on its present stream.
type rejected struct {
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
func (r rejected) again(message string, now time.Time) rejected {
	r.message = message
	r.pause = min(max(2*r.pause, firstPause), lastPause)
	r.retryAt = now.Add(r.pause)
	return r
}

// rejects reports whether this Envoy rejected a resource as it is now.
func (w *watch) rejects(t *table, id uint32) bool {
	if len(w.rejected) == 0 {
		return false
	}
	r, ok := w.rejected[id]
	return ok && r.version != 0 && r.version == t.version(id, w.envoy)
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
func (w *watch) offer(t *table, id uint32) offer {
	own := w.rejects(t, id) && !w.trial.Contains(id)
	switch {
	case !own && !t.quarantined(id, w.envoy):
		return offerCurrent
	case w.held.Contains(id) && !w.waits.Contains(id) && !w.trial.Contains(id) && !(own && keepsRejected[w.typ]):
		return offerNothing
	}
	if _, good := t.lastGood(id, w.envoy); good != 0 && good != w.rejected[id].lastGood && !w.trial.Contains(id) {
		return offerLastGood
	}
	if own {
		return offerNothing
	}
	return offerCurrent
}

// lack is a resource that an Envoy does not get as it is.
type lack struct {
	// since is the revision since which that is so.
	since uint64
	// retryAt is when it is offered all the same.
	retryAt time.Time
}

// lack notes that the Envoy does not get a resource as it is.
func (w *watch) lack(t *table, id uint32, since uint64) {
	l, before := w.lacks[id]
	switch {
	case w.rejects(t, id):
		l.retryAt = w.rejected[id].retryAt
	case !before:
		l.retryAt = w.now.Add(sparedPause)
	}
	if l.since = since; before {
		l.since = min(since, w.lacks[id].since)
	}
	w.lacks[id] = l
}

// oldestLack returns the lowest revision since which the Envoy has an older version of
// what was changed; none if it has all as it is.
func (w *watch) oldestLack() uint64 {
	low := none
	for id, l := range w.lacks {
		if w.mayHave(id) {
			low = min(low, l.since)
		}
	}
	return low
}

// questionable calls f with the ids of a set that this Envoy or another of any
// version rejected.
func (w *watch) questionable(t *table, ids *roaring.Bitmap, f func(id uint32)) {
	among(t.suspects, ids, f)
	among(w.rejected, ids, func(id uint32) {
		if _, both := t.suspects[id]; !both {
			f(id)
		}
	})
}

// among calls f with the ids of a set that are keys of a map. It costs what the smaller
// of both does: a change may be small, and many resources rejected.
func among[V any](m map[uint32]V, ids *roaring.Bitmap, f func(id uint32)) {
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
func (w *watch) judge(t *table, b *batch) (apart *roaring.Bitmap) {
	if len(t.suspects)+len(w.rejected) == 0 {
		return nil
	}
	apart, b.lastGood = roaring.New(), roaring.New()
	var nothing []uint32
	w.questionable(t, b.set, func(id uint32) {
		switch w.offer(t, id) {
		case offerNothing:
			nothing = append(nothing, id)
		case offerLastGood:
			b.lastGood.Add(id)
			w.lack(t, id, w.since[id])
			w.considerRetry(w.lacks[id].retryAt)
		case offerCurrent:
			if t.suspect(id, w.envoy) != nil && !t.acknowledgedBy(id, w.envoy) || w.rejects(t, id) {
				apart.Add(id)
			}
		}
	})
	for _, id := range nothing {
		b.set.Remove(id)
		w.lack(t, id, w.since[id])
		w.considerRetry(w.lacks[id].retryAt)
		delete(w.since, id)
		w.dropped = true
		w.answerWithout(id)
	}
	return apart
}

// answerWithout tells an Envoy that asked for a name that there is nothing for it,
// if it has nothing or waits for an answer.
func (w *watch) answerWithout(id uint32) {
	if !w.wildcard && w.names.Contains(id) && (!w.held.Contains(id) || w.waits.Contains(id)) {
		w.gone.Add(id)
	}
}

// reject takes a rejected response apart: what was good in it gets through and the
// culprit is found. It returns the culprit when it was alone.
//
// Envoy may have taken over any part of it, and tells of none.
func (w *watch) reject(f *flight) (culprit uint32, alone bool) {
	w.held.AndNot(f.fresh)
	doubted := roaring.AndNot(f.set, w.unsure)
	if f.doubted != nil {
		doubted.Or(f.doubted)
	}
	w.unsure.Or(w.wanted(f.set))
	w.unsure.Or(w.wanted(f.goneHeld))
	w.waits.Or(w.wanted(f.waits))
	if skipsKnown[w.typ] {
		w.skips.Or(w.wanted(f.set))
	}
	n := f.set.GetCardinality()
	if n < 2 {
		if n == 1 && !f.gone.IsEmpty() {
			w.retry = slices.Insert(w.retry, 0, batch{set: roaring.New(), gone: f.gone, setSince: none, goneSince: f.goneSince})
		}
		if n == 0 {
			return 0, false
		}
		id := f.set.Minimum()
		w.lower(id, f.setSince)
		if doubted.Contains(id) {
			w.unsure.Remove(id) // of this content it has nothing
		}
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
	w.retry = slices.Insert(w.retry, 0,
		batch{set: first, gone: f.gone, doubted: doubted, setSince: f.setSince, goneSince: f.goneSince},
		batch{set: second, gone: roaring.New(), doubted: doubted, setSince: f.setSince, goneSince: none},
	)
	return 0, false
}

// retryLacks makes due what is to be offered again.
func (w *watch) retryLacks() {
	if w.retryAt.IsZero() || w.now.Before(w.retryAt) {
		return
	}
	w.retryAt = time.Time{}
	offered := 0
	for id, l := range w.lacks {
		switch {
		case w.set.Contains(id) || !w.wants(id):
		case w.now.Before(l.retryAt):
			w.considerRetry(l.retryAt)
		case offered == maxTrials:
			w.considerRetry(w.now.Add(firstPause))
		default:
			offered++
			w.trial.Add(id)
			w.set.Add(id)
			w.since[id] = l.since
		}
	}
}

// retryNow has all that this Envoy rejected offered again.
func (w *watch) retryNow() {
	for id := range w.rejected {
		if l, ok := w.lacks[id]; ok {
			l.retryAt = w.now
			w.lacks[id] = l
			w.considerRetry(w.now)
		}
	}
}

func (w *watch) considerRetry(at time.Time) {
	if w.retryAt.IsZero() || at.Before(w.retryAt) {
		w.retryAt = at
	}
}

// fallBack makes due what an Envoy is sent in place of what it rejected.
func (w *watch) fallBack(t *table, id uint32, since uint64) {
	w.lack(t, id, since)
	w.considerRetry(w.lacks[id].retryAt)
	switch w.offer(t, id) {
	case offerNothing:
		w.answerWithout(id)
	default:
		w.set.Add(id)
		w.since[id] = since
	}
}

// Reach is how far a rejection goes.
type Reach uint8

// The reaches.
const (
	// Parts of the rejected response are sent again, to find the culprit.
	Parts Reach = iota
	// Repeated is what is known already.
	Repeated
	// OneEnvoy rejects a resource that no other of its version rejects.
	OneEnvoy
	// EnvoyVersion means that a second Envoy of a version rejects the resource, and
	// none of the version has acknowledged it.
	EnvoyVersion
)

// rejectAlone takes note of what an Envoy rejected that was sent to it alone.
func (s *session) rejectAlone(t Type, c culprit, rejection *Rejection) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	w, table := &s.watches[t], &s.store.tables[t]
	w.lastRejection, w.now = rejection, rejection.Time
	w.trial.Remove(c.id)
	if !w.wants(c.id) || table.entries[c.id].presence == withheld {
		return
	}
	// What it has is older than what was rejected, also if that has changed since.
	w.lack(table, c.id, c.since)
	message := rejection.Message
	if len(w.rejected) >= maxQuoted {
		message = brief(message)
	}
	r := w.rejected[c.id]
	_, good := table.lastGood(c.id, s.envoy)
	switch {
	case table.entries[c.id].presence != present:
		return
	case c.version == table.version(c.id, s.envoy):
		if r.version != c.version {
			r = rejected{version: c.version, lastGood: r.lastGood, since: rejection.Time}
		}
		rejection.Reach = table.object(c.id, s.envoy, message, rejection.Time)
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
	w.rejected[c.id] = r
	w.fallBack(table, c.id, c.since)
}

// settle takes note of what an Envoy acknowledged that it or others of its version had
// rejected, or does not ask for any more.
func (s *session) settle(t Type, ids []uint32) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, id := range ids {
		s.locked(func() { delete(s.watches[t].rejected, id) })
		s.store.tables[t].withdraw(id, s.envoy)
	}
	s.store.offerAgain(t, ids, s.envoy.version)
}

// forgetRejections is called under the store's lock when a stream ends: what its
// Envoy rejected does not concern others any more.
func (s *session) forgetRejections() {
	for t := range s.store.tables {
		table := &s.store.tables[t]
		var ids []uint32
		for id := range table.suspects {
			if table.withdraw(id, s.envoy) {
				ids = append(ids, id)
			}
		}
		s.store.offerAgain(Type(t), ids, s.envoy.version)
	}
}
