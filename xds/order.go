package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// ackLimit is how long scopes and removals wait for an Envoy that does not
// answer what has to come before them. It only matters for an Envoy that cannot
// warm a cluster: all others answer within milliseconds.
const ackLimit = 15 * time.Second

// sendOrder is the order in which responses that are ready at the same time are
// sent: what is named before what names it.
var sendOrder = [...]Type{Cluster, Endpoint, Secret, Scope, Listener, ExtensionConfig}

// endpointsAgain makes the endpoints of changed clusters due: Envoy does not ask
// for them again, and would wait for them until it gives up.
func (s *session) endpointsAgain(clusters *roaring.Bitmap) {
	w, table := &s.watches[Endpoint], &s.store.tables[Endpoint]
	if !w.subscribed {
		return
	}
	for _, name := range s.store.tables[Cluster].names(clusters) {
		if id, ok := table.ids[name]; ok && w.wants(id) {
			w.demanded(table, id)
		}
	}
}

// limits returns the revisions up to which resources of a type may be sent and
// removed now.
func (s *session) limits(t Type, now time.Time) (set, gone uint64) {
	switch t {
	case Cluster:
		return none, min(s.settled(Scope, true, now), s.settled(Listener, true, now))
	case Endpoint:
		// Envoy keeps the endpoints of a cluster until that goes; but it waits for
		// an answer about those of a cluster that it warms.
		return none, none
	case Secret:
		return none, s.settled(Listener, true, now)
	case Listener:
		return s.settled(Cluster, false, now), none
	case Scope:
		// One may lead to others, and Envoy removes before it sets.
		return s.settled(Cluster, false, now), s.settled(Scope, false, now)
	default:
		return s.settled(Scope, false, now), s.settled(Listener, true, now)
	}
}

// settled returns the revision up to which Envoy has answered everything of a
// type, removals included or not.
func (s *session) settled(t Type, removals bool, now time.Time) uint64 {
	w := &s.watches[t]
	if !w.subscribed {
		if now.Before(s.expected) {
			return 0
		}
		return s.store.revision
	}
	low := s.store.revision + 1
	note := func(set, gone uint64) {
		low = min(low, set)
		if removals {
			low = min(low, gone)
		}
	}
	note(w.oldest(w.set), w.oldest(w.gone))
	if f := w.flight; f != nil && now.Before(f.sentAt.Add(ackLimit)) {
		note(f.setSince, f.goneSince)
	}
	for _, b := range w.retry {
		note(b.setSince, b.goneSince)
	}
	return max(low, 1) - 1
}

// deadline returns when a wait that is going on ends, if there is one.
func (s *session) deadline(now time.Time) time.Time {
	waiting := false
	var next time.Time
	consider := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for t := range s.watches {
		w := &s.watches[t]
		waiting = waiting || w.flight == nil && w.subscribed && (!w.set.IsEmpty() || !w.gone.IsEmpty())
		if w.flight != nil {
			consider(w.flight.sentAt.Add(ackLimit))
		}
	}
	if !waiting {
		return time.Time{}
	}
	consider(s.expected)
	return next
}
