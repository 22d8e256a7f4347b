package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// ackLimit is how long scopes and removals wait for an Envoy that does not
// answer what has to come before them. It only matters for an Envoy that cannot
// warm a cluster: all others answer within milliseconds.
const ackLimit = 15 * time.Second

// startLimit is how long an Envoy that comes with clusters may take to ask for listeners.
// One that runs does both at once. One that starts asks for listeners when its clusters
// are warm, so they may wait for endpoints that it told of.
const startLimit = 3 * time.Second

// sendOrder is the order in which responses that are ready at the same time are
// sent: what is named before what names it.
var sendOrder = [...]Type{Cluster, Endpoint, Secret, Scope, Listener, ExtensionConfig}

// endpointsAgain makes the endpoints of changed clusters due: Envoy does not ask
// for them again, and would wait for them until it gives up.
func (s *session) endpointsAgain(clusters *roaring.Bitmap) {
	table := &s.store.tables[Endpoint]
	if !s.watches[Endpoint].subscribed {
		return
	}
	ids := roaring.New()
	for _, name := range s.store.tables[Cluster].names(clusters) {
		if id, ok := table.ids[name]; ok {
			ids.Add(id)
		}
	}
	s.again(ids)
}

// again makes endpoints due that Envoy waits for, whatever it has.
func (s *session) again(endpoints *roaring.Bitmap) {
	w, table := &s.watches[Endpoint], &s.store.tables[Endpoint]
	for _, id := range endpoints.ToArray() {
		if w.wants(id) {
			w.demanded(table, id)
		}
	}
}

// scopesAgain makes all scopes due after the first listener that takes routes from them
// was acknowledged, if Envoy had asked for scopes before. That was for a listener which it
// rejected or which is gone, and the scopes went with that. Envoy does not ask for them
// again, and would wait for them, or serve none.
func (s *session) scopesAgain(f *flight) {
	w, table := &s.watches[Scope], &s.store.tables[Listener]
	scoped := func(ids *roaring.Bitmap) bool {
		for it := ids.Iterator(); it.HasNext(); {
			if table.entries[it.Next()].scoped {
				return true
			}
		}
		return false
	}
	before := roaring.AndNot(s.watches[Listener].held, f.fresh)
	if f.scopesBefore && w.subscribed && scoped(f.fresh) && !scoped(before) {
		w.allDue(&s.store.tables[Scope])
	}
}

// endpointsOfStart makes the endpoints due that an Envoy may wait for which was cut off
// while it started.
func (s *session) endpointsOfStart(now time.Time) {
	if s.starts() && !now.Before(s.began.Add(startLimit)) {
		s.running = true
		s.again(s.watches[Endpoint].held)
	}
}

// starts reports whether an Envoy came with clusters and has not asked for listeners.
func (s *session) starts() bool {
	return s.resumed && !s.running && s.watches[Cluster].subscribed && !s.watches[Listener].subscribed
}

// limits returns the revisions up to which resources of a type may be sent and
// removed now.
func (s *session) limits(t Type, now time.Time) (set, gone uint64) {
	switch t {
	case Cluster:
		return none, min(s.settled(Scope, removals|lacking, now), s.settled(Listener, removals|lacking, now))
	case Endpoint:
		// Envoy keeps the endpoints of a cluster until that goes; but it waits for
		// an answer about those of a cluster that it warms.
		return none, none
	case Secret:
		return none, s.settled(Listener, removals|lacking, now)
	case Listener:
		if s.secretsOnTrial(now) {
			return 0, none
		}
		return s.settled(Cluster, 0, now), none
	case Scope:
		// One may lead to others, and Envoy removes before it sets.
		return s.settled(Cluster, 0, now), s.settled(Scope, lacking, now)
	default:
		return s.settled(Scope, 0, now), s.settled(Listener, removals|lacking, now)
	}
}

// secretsOnTrial reports whether an Envoy was offered a secret again that it rejected, or
// its last good version, and has not answered. It would reject listeners for it.
func (s *session) secretsOnTrial(now time.Time) bool {
	w := &s.watches[Secret]
	f := w.flight
	return f != nil && now.Before(f.sentAt.Add(ackLimit)) && (f.fallsBack() || f.set.Intersects(w.trial))
}

// answers are what an Envoy has to have answered of a type, beside all that was set.
type answers uint8

const (
	removals answers = 1 << iota
	// lacking adds what it rejected and has an older version of: what that names is
	// still in use.
	lacking
)

// settled returns the revision up to which Envoy has answered everything of a type.
func (s *session) settled(t Type, what answers, now time.Time) uint64 {
	w := &s.watches[t]
	if !w.subscribed {
		if s.awaited(t, now) {
			return 0
		}
		return s.store.revision
	}
	low := s.store.revision + 1
	note := func(set, gone uint64) {
		low = min(low, set)
		if what&removals != 0 {
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
	if what&lacking != 0 {
		low = min(low, w.oldestLack())
	}
	return max(low, 1) - 1
}

// awaited reports whether Envoy is about to ask for a type. Until it does, but for no
// longer than ackLimit, what names resources of that type is not sent, and what they
// may name is not removed.
//
// Every Envoy asks for clusters, unless they are on demand; one with clusters that are
// warming does so late. One that was served before has all other types, too.
func (s *session) awaited(t Type, now time.Time) bool {
	if s.watches[t].subscribed || !now.Before(s.began.Add(ackLimit)) {
		return false
	}
	if t == Cluster {
		return !s.store.ClustersOnDemand
	}
	return s.resumed
}

// deadline returns when the next wait ends, or the next try is due, if there is one.
func (s *session) deadline(now time.Time) time.Time {
	waiting := false
	var next, retry time.Time
	consider := func(at time.Time) {
		if at.After(now) {
			next = earlier(next, at)
		}
	}
	for t := range s.watches {
		w := &s.watches[t]
		if w.subscribed && !w.retryAt.IsZero() {
			retry = earlier(retry, w.retryAt)
		}
		waiting = waiting || w.flight == nil && w.subscribed && (!w.set.IsEmpty() || !w.gone.IsEmpty())
		if w.flight != nil {
			consider(w.flight.sentAt.Add(ackLimit))
		}
	}
	if s.starts() {
		retry = earlier(retry, s.began.Add(startLimit))
	}
	if !waiting {
		return retry
	}
	consider(s.began.Add(ackLimit))
	return earlier(next, retry)
}

// earlier returns the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
