package xds

import "time"

// A resource that an Envoy rejected is offered to it again after firstPause, then after
// pauses that double up to lastPause: a port may have been freed on its machine.
const (
	firstPause = 10 * time.Second
	lastPause  = 10 * time.Minute
	// quarantinePause is after how long an Envoy is offered what only others rejected: they
	// may all have the same trouble, that this Envoy does not have.
	quarantinePause = time.Minute
	// maxRetriesAtOnce is how many resources of a type are offered again at a time. To find
	// out about each takes two responses, and an Envoy may reject very many.
	maxRetriesAtOnce = 100
)

// staleState is about a resource whose present version an Envoy is not sent.
type staleState struct {
	// since is the revision since which that is so.
	since uint64
	// retryAt is when the present version is offered all the same.
	retryAt time.Time
}

// markStale notes that the Envoy is not sent the present version of a resource.
func (ts *typeState) markStale(t *table, id uint32, since uint64) {
	state, before := ts.stale[id]
	switch {
	case ts.rejectsCurrent(t, id):
		state.retryAt = ts.rejected[id].retryAt
	case !before:
		state.retryAt = ts.now.Add(quarantinePause)
	}
	if state.since = since; before {
		state.since = min(since, ts.stale[id].since)
	}
	ts.stale[id] = state
}

// oldestStale returns the lowest revision since which a resource is stale that the Envoy
// has, or may have, in an older version; noRevision if there is none.
func (ts *typeState) oldestStale() uint64 {
	low := noRevision
	for id, state := range ts.stale {
		if ts.mayHave(id) {
			low = min(low, state.since)
		}
	}
	return low
}

// retryStale makes those stale resources due whose pause is over.
func (ts *typeState) retryStale() {
	if ts.retryAt.IsZero() || ts.now.Before(ts.retryAt) {
		return
	}
	ts.retryAt = time.Time{}
	offered := 0
	for id, state := range ts.stale {
		switch {
		case ts.toSend.Contains(id) || !ts.subscribesTo(id):
		case ts.now.Before(state.retryAt):
			ts.retryBy(state.retryAt)
		case offered == maxRetriesAtOnce:
			ts.retryBy(ts.now.Add(firstPause))
		default:
			offered++
			ts.retrying.Add(id)
			ts.toSend.Add(id)
			ts.dueSince[id] = state.since
		}
	}
}

// retryRejected ends the pauses of all that this Envoy rejected.
func (ts *typeState) retryRejected() {
	for id := range ts.rejected {
		if state, ok := ts.stale[id]; ok {
			state.retryAt = ts.now
			ts.stale[id] = state
			ts.retryBy(ts.now)
		}
	}
}

// retryBy has retryStale look at a time, or before.
func (ts *typeState) retryBy(at time.Time) {
	if ts.retryAt.IsZero() || at.Before(ts.retryAt) {
		ts.retryAt = at
	}
}

// sendFallback makes due what an Envoy is sent in place of what it rejected.
func (ts *typeState) sendFallback(t *table, id uint32, since uint64) {
	ts.markStale(t, id, since)
	ts.retryBy(ts.stale[id].retryAt)
	switch ts.offerOf(t, id) {
	case offerNothing:
		ts.answerRemoved(id)
	default:
		ts.toSend.Add(id)
		ts.dueSince[id] = since
	}
}

// retryAfterSecrets ends the pauses of what may have been rejected for a secret, once the
// secret is not stale any more, or its last good version is back. For a secret Envoy rejects
// listeners, and other secrets that the same filter chain needs.
//
// Rejected secrets do not follow a last good version. Else, where two secrets are bad, the last
// good version of each would have the other one rejected again, and so on for ever.
func (s *session) retryAfterSecrets(sent *sentResponse, now time.Time) {
	for _, t := range []Type{Listener, Secret} {
		if ts := &s.types[t]; len(sent.noLongerStale) > 0 || t == Listener && sent.hasLastGood() {
			ts.now = now
			ts.retryRejected()
		}
	}
}
