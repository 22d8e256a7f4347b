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

// endpointsAgain makes the endpoints of changed clusters due: Envoy does not ask
// for them again, and would wait for them until it gives up.
func (s *session) resendEndpointsOf(clusters *roaring.Bitmap) {
	table := &s.store.tables[Endpoint]
	if !s.types[Endpoint].subscribed {
		return
	}
	ids := roaring.New()
	for _, name := range s.store.tables[Cluster].names(clusters) {
		if id, ok := table.ids[name]; ok {
			ids.Add(id)
		}
	}
	s.resendEndpoints(ids)
}

// again makes endpoints due that Envoy waits for, whatever it has.
func (s *session) resendEndpoints(endpoints *roaring.Bitmap) {
	ts, table := &s.types[Endpoint], &s.store.tables[Endpoint]
	for _, id := range endpoints.ToArray() {
		if ts.subscribesTo(id) {
			ts.dueAwaited(table, id)
		}
	}
}

// scopesAgain makes all scopes due after the first listener that takes routes from them
// was acknowledged, if Envoy had asked for scopes before. That was for a listener which it
// rejected or which is gone, and the scopes went with that. Envoy does not ask for them
// again, and would wait for them, or serve none.
func (s *session) resendScopes(sent *sentResponse) {
	ts, table := &s.types[Scope], &s.store.tables[Listener]
	scoped := func(ids *roaring.Bitmap) bool {
		for it := ids.Iterator(); it.HasNext(); {
			if table.entries[it.Next()].usesScopes {
				return true
			}
		}
		return false
	}
	before := roaring.AndNot(s.types[Listener].inEnvoy, sent.added)
	if sent.scopesRequested && ts.subscribed && scoped(sent.added) && !scoped(before) {
		ts.allDue(&s.store.tables[Scope])
	}
}

// endpointsOfStart makes the endpoints due that an Envoy may wait for which was cut off
// while it started.
func (s *session) resendEndpointsAtStart(now time.Time) {
	if s.isStarting() && !now.Before(s.startedAt.Add(startLimit)) {
		s.startHandled = true
		s.resendEndpoints(s.types[Endpoint].inEnvoy)
	}
}

// starts reports whether an Envoy came with clusters and has not asked for listeners.
func (s *session) isStarting() bool {
	return s.resumed && !s.startHandled && s.types[Cluster].subscribed && !s.types[Listener].subscribed
}

// sendLimits returns the revisions up to which resources of a type may be sent and
// removed now.
func (s *session) sendLimits(t Type, now time.Time) (set, removed uint64) {
	limit := func(waits []wait) uint64 {
		low := noRevision
		for _, w := range waits {
			low = min(low, s.answeredUpTo(w.of, w.include, now))
		}
		return low
	}
	if t == Listener && s.retriesSecret(now) {
		return 0, limit(t.info().removedAfter)
	}
	return limit(t.info().sentAfter), limit(t.info().removedAfter)
}

// secretsOnTrial reports whether an Envoy was offered a secret again that it rejected, or
// its last good version, and has not answered. It would reject listeners for it.
func (s *session) retriesSecret(now time.Time) bool {
	ts := &s.types[Secret]
	sent := ts.inFlight
	return sent != nil && now.Before(sent.sentAt.Add(ackLimit)) && (sent.hasLastGood() || sent.resources.Intersects(ts.retrying))
}

// settled returns the revision up to which Envoy has answered everything of a type.
func (s *session) answeredUpTo(t Type, include inclusion, now time.Time) uint64 {
	ts := &s.types[t]
	if !ts.subscribed {
		if s.expectsType(t, now) {
			return 0
		}
		return s.store.revision
	}
	low := s.store.revision + 1
	note := func(set, gone uint64) {
		low = min(low, set)
		if include&includeRemovals != 0 {
			low = min(low, gone)
		}
	}
	note(ts.oldestDue(ts.toSend), ts.oldestDue(ts.toRemove))
	if sent := ts.inFlight; sent != nil && now.Before(sent.sentAt.Add(ackLimit)) {
		note(sent.resourcesSince, sent.removedSince)
	}
	for _, b := range ts.searchParts {
		note(b.resourcesSince, b.removedSince)
	}
	if include&includeStale != 0 {
		low = min(low, ts.oldestStale())
	}
	return max(low, 1) - 1
}

// awaited reports whether Envoy is about to ask for a type. Until it does, but for no
// longer than ackLimit, what names resources of that type is not sent, and what they
// may name is not removed.
//
// Every Envoy asks for clusters, unless they are on demand; one with clusters that are
// warming does so late. One that was served before has all other types, too.
func (s *session) expectsType(t Type, now time.Time) bool {
	if s.types[t].subscribed || !now.Before(s.startedAt.Add(ackLimit)) {
		return false
	}
	if t == Cluster {
		return !s.store.ClustersOnDemand
	}
	return s.resumed
}

// deadline returns when the next wait ends, or the next try is due, if there is one.
func (s *session) nextDeadline(now time.Time) time.Time {
	waiting := false
	var next, retry time.Time
	consider := func(at time.Time) {
		if at.After(now) {
			next = earlier(next, at)
		}
	}
	for t := range s.types {
		ts := &s.types[t]
		if ts.subscribed && !ts.retryAt.IsZero() {
			retry = earlier(retry, ts.retryAt)
		}
		waiting = waiting || ts.inFlight == nil && ts.subscribed && (!ts.toSend.IsEmpty() || !ts.toRemove.IsEmpty())
		if ts.inFlight != nil {
			consider(ts.inFlight.sentAt.Add(ackLimit))
		}
	}
	if s.isStarting() {
		retry = earlier(retry, s.startedAt.Add(startLimit))
	}
	if !waiting {
		return retry
	}
	consider(s.startedAt.Add(ackLimit))
	return earlier(next, retry)
}

// earlier returns the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
