package xds

import (
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// ackLimit is how long a wait lasts at most if Envoy does not answer. It matters only for an
// Envoy that cannot warm a cluster: all others answer within milliseconds.
const ackLimit = 15 * time.Second

// startLimit is how long an Envoy that comes with clusters may take to ask for listeners. An
// Envoy that runs asks for both at once. One that starts asks for listeners when its clusters
// are warm, and these may wait for endpoints that Envoy says it has.
const startLimit = 3 * time.Second

// resendEndpointsOf makes the endpoints of changed clusters due: Envoy does not ask for them
// again, and would wait for them until it gives up.
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

// resendEndpoints makes endpoints due for which Envoy waits, whatever it has.
func (s *session) resendEndpoints(endpoints *roaring.Bitmap) {
	ts, table := &s.types[Endpoint], &s.store.tables[Endpoint]
	for _, id := range endpoints.ToArray() {
		if ts.subscribesTo(id) {
			ts.dueAwaited(table, id)
		}
	}
}

// resendScopes makes all scopes due when Envoy acknowledged its first listener that takes
// routes from scopes, if it had asked for scopes before. It had asked for a listener that it
// rejected, or that is removed, and forgot the scopes with that. It does not ask for them again,
// and would wait for them, or serve none.
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

// resendEndpointsAtStart makes all endpoints due if Envoy lost its stream while it started: it
// may wait for them.
func (s *session) resendEndpointsAtStart(now time.Time) {
	if s.isStarting() && !now.Before(s.startedAt.Add(startLimit)) {
		s.startHandled = true
		s.resendEndpoints(s.types[Endpoint].inEnvoy)
	}
}

// isStarting reports whether an Envoy came with clusters and has not asked for listeners.
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

// retriesSecret reports whether Envoy was sent a secret that it had rejected, or the last good
// version of one, and has not answered. Until then it would reject listeners for the secret.
func (s *session) retriesSecret(now time.Time) bool {
	ts := &s.types[Secret]
	sent := ts.inFlight
	return sent != nil && now.Before(sent.sentAt.Add(ackLimit)) && (sent.hasLastGood() || sent.resources.Intersects(ts.retrying))
}

// answeredUpTo returns the revision up to which Envoy has answered all that was set of a type,
// and what include adds.
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

// expectsType reports whether Envoy is about to ask for a type. Until it does, but for no longer
// than ackLimit, what names resources of the type is not sent, and what they may name is not
// removed.
//
// Every Envoy asks for clusters, unless they are on demand. If some are warming it asks late. An
// Envoy that came with resources asks for the other types too.
func (s *session) expectsType(t Type, now time.Time) bool {
	if s.types[t].subscribed || !now.Before(s.startedAt.Add(ackLimit)) {
		return false
	}
	if t == Cluster {
		return !s.store.ClustersOnDemand
	}
	return s.resumed
}

// nextDeadline returns when the next wait ends, or the next stale resource is offered again;
// zero if neither is to come.
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
