package xds

import (
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// next makes the next response of a type, or none if there is nothing to send
// or one is in flight.
func (s *session) next(t Type, now time.Time) *response {
	w, table := &s.watches[t], &s.store.tables[t]
	if !w.subscribed || w.flight != nil {
		return nil
	}
	if w.set.IsEmpty() && w.gone.IsEmpty() && len(w.retry) == 0 && !w.answer {
		return nil
	}
	b := s.pick(t, now)
	if b.empty() && (!w.answer || !w.set.IsEmpty() || !w.gone.IsEmpty()) {
		return nil
	}
	w.answer = false
	s.nonce++
	w.flight = s.newFlight(t, b, now)
	w.sent, w.sentAt = s.store.revision, now
	if t == Cluster {
		s.endpointsAgain(roaring.And(b.set, w.held))
	}
	w.held.Or(b.set)
	w.held.AndNot(b.gone)
	return newResponse(t, table, w.flight.batch, w.flight.nonce, s.salt, s.envoy)
}

// pick takes what the next response of a type carries. Changes and the parts of a
// rejected response take turns, since the search for a culprit may take long.
func (s *session) pick(t Type, now time.Time) (b batch) {
	w, table := &s.watches[t], &s.store.tables[t]
	parts := func() {
		for len(w.retry) > 0 && b.empty() {
			b, w.retry = w.refresh(table, w.retry[0]), w.retry[1:]
		}
		w.searched = !b.empty()
	}
	searched := w.searched
	if !searched {
		parts()
	}
	if b.empty() {
		setLimit, goneLimit := s.limits(t, now)
		b = w.take(table, setLimit, goneLimit, s.store.revision)
		w.searched = false
	}
	if b.empty() && searched {
		parts()
	}
	return b
}

func (s *session) newFlight(t Type, b batch, now time.Time) *flight {
	w, table := &s.watches[t], &s.store.tables[t]
	f := &flight{
		batch: b, nonce: strconv.FormatUint(s.nonce, 10), revision: s.store.revision, sentAt: now,
		fresh: roaring.AndNot(b.set, w.held), goneHeld: roaring.And(b.gone, w.held),
		waits: roaring.And(b.set, w.waits), scopesBefore: t == Listener && s.watches[Scope].subscribed,
	}
	w.waits.AndNot(b.set)
	w.waits.AndNot(b.gone)
	if b.set.GetCardinality() == 1 {
		id := b.set.Minimum()
		f.version = table.version(id, s.envoy)
		if b.lastGood != nil && b.lastGood.Contains(id) {
			_, f.version = table.lastGood(id, s.envoy)
		}
	}
	if skipsKnown[t] && (s.old || !w.skips.IsEmpty()) {
		f.vary = roaring.And(b.set, w.skips)
		if s.old {
			// What other streams sent it, and what became of that, is not known here.
			f.vary.Or(roaring.AndNot(b.set, w.looked))
		}
	}
	among(w.lacks, b.set, func(id uint32) {
		if b.lastGood == nil || !b.lastGood.Contains(id) {
			f.mended = append(f.mended, id)
			delete(w.lacks, id)
		}
	})
	return f
}

// accept takes note of an acknowledged response. It returns those of it that this
// Envoy or others of its version had rejected; one may be there twice.
func (w *watch) accept(t *table, f *flight) (settled []uint32) {
	w.trial.AndNot(f.set)
	w.unsure.AndNot(f.set)
	w.unsure.AndNot(f.gone)
	looked := w.stillAsked(f.set)
	w.unread.AndNot(looked)
	w.unread.Or(roaring.AndNot(f.set, looked))
	if skipsKnown[w.typ] {
		w.skips.AndNot(f.set)
		w.looked.Or(looked)
	}
	if w.wildcard {
		w.forget(f.gone)
	}
	current := looked
	if f.lastGood != nil {
		current = roaring.AndNot(looked, f.lastGood)
	}
	settled = t.acknowledge(current, f.revision, w.envoy)
	among(w.rejected, current, func(id uint32) { settled = append(settled, id) })
	return settled
}

// stillAsked returns those of the ids that Envoy has asked for since before they were
// sent. It acknowledges unread what it has given up meanwhile, as it does with all that
// a listener needs which it rejects.
func (w *watch) stillAsked(ids *roaring.Bitmap) *roaring.Bitmap {
	if w.wildcard && w.waits.IsEmpty() {
		return ids
	}
	asked := roaring.AndNot(ids, w.waits)
	if !w.wildcard {
		asked.And(w.names)
	}
	return asked
}
