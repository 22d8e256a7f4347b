package xds

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// subscriptionChange is the part of a request that subscribes and unsubscribes, with names
// replaced by ids.
type subscriptionChange struct {
	subscribe, unsubscribe       []uint32
	subscribeAll, unsubscribeAll bool
	initial                      []initialResource
	emptyMeansAll                bool
	// reclaims is Store.reclaims when the ids were looked up.
	reclaims uint64
}

// initialResource is an entry of initial_resource_versions: a resource that Envoy came with.
type initialResource struct {
	id      uint32
	version version // 0 if it is not one of ours
}

// addUsedIDs adds the ids that must not be given to other names.
func (c *subscriptionChange) addUsedIDs(used *roaring.Bitmap) {
	used.AddMany(c.subscribe)
	for _, h := range c.initial {
		used.Add(h.id)
	}
}

// wildcard reports whether a first request asks for all.
//
// xDS protocol, "How the client specifies what resources to return": a first
// request without names asks for all (for the types that allow it), as does "*".
func (c *subscriptionChange) wildcard() bool {
	return c.subscribeAll || len(c.subscribe) == 0 && c.emptyMeansAll
}

// keep keeps a request for a type that is not open. Further requests are merged into the
// first.
func (ts *typeState) keep(change subscriptionChange) {
	if ts.kept == nil {
		change.subscribeAll = change.wildcard()
		ts.kept = &change
		return
	}
	kept := ts.kept
	if change.subscribeAll {
		kept.subscribeAll = true
	}
	if change.unsubscribeAll {
		kept.subscribeAll = false
	}
	names := roaring.BitmapOf(kept.subscribe...)
	names.AddMany(change.subscribe)
	for _, id := range change.unsubscribe {
		names.Remove(id)
	}
	kept.subscribe, kept.emptyMeansAll = names.ToArray(), false
}

// start handles the first request for a type on a stream. It returns the resources that Envoy
// has in their present version.
//
// xDS protocol, "Incremental xDS": initial_resource_versions lists what the client has.
func (ts *typeState) start(t *table, change subscriptionChange, revision uint64) (current *roaring.Bitmap) {
	ts.subscribed = true
	ts.cursor = revision
	ts.wildcard = change.wildcard()
	ts.subscribe(t, change.subscribe)
	if ts.wildcard {
		ts.allDue(t)
		ts.mustAnswer = len(change.initial) == 0
	}
	// They are taken out of what is due together: one by one would move the others each time.
	current = roaring.New()
	for _, h := range change.initial {
		if !ts.subscribesTo(h.id) {
			continue
		}
		ts.inEnvoy.Add(h.id)
		if ts.typ != Endpoint {
			// Envoy does not wait for what it has. If it were told that a resource does not
			// exist, it would drop that.
			ts.awaited.Remove(h.id)
		}
		if h.version != 0 && h.version == t.version(h.id, ts.envoy) {
			current.Add(h.id)
			delete(ts.dueSince, h.id)
		} else {
			ts.due(t, h.id)
		}
	}
	ts.toSend.AndNot(current)
	ts.toRemove.AndNot(current)
	return current
}

// subscribe makes every name due, also one that is subscribed to already: Envoy may have
// dropped the resource and wait for it. A name that does not exist is answered at once, as
// removed: Envoy would not warm up without an answer.
func (ts *typeState) subscribe(t *table, ids []uint32) {
	for _, id := range ids {
		ts.names.Add(id)
		ts.dueAwaited(t, id)
	}
}

// dueAwaited makes a resource due for which Envoy waits, whatever it has.
func (ts *typeState) dueAwaited(t *table, id uint32) {
	ts.awaited.Add(id)
	if t.entries[id].presence == absent {
		ts.inEnvoy.Remove(id)
	}
	ts.due(t, id)
}

// allDue makes all resources of the type due.
func (ts *typeState) allDue(t *table) {
	for id := range t.entries {
		if t.entries[id].presence == present {
			ts.due(t, uint32(id))
		}
	}
}

// update handles the subscription part of every later request.
func (ts *typeState) update(t *table, change subscriptionChange) {
	if change.subscribeAll {
		ts.wildcard = true
		ts.mustAnswer = true
		ts.allDue(t)
	}
	if change.unsubscribeAll {
		ts.wildcard = false
		for _, ids := range []*roaring.Bitmap{ts.inEnvoy, ts.maybeInEnvoy, ts.toSend, ts.toRemove} {
			ids.And(ts.names)
		}
	}
	ts.subscribe(t, change.subscribe)
	for _, id := range change.unsubscribe {
		ts.names.Remove(id)
		if ts.wildcard {
			// The wildcard still covers it, and Envoy has dropped it.
			ts.due(t, id)
			continue
		}
		ts.inEnvoy.Remove(id)
		ts.maybeInEnvoy.Remove(id)
		ts.awaited.Remove(id)
		ts.forgetRead(roaring.BitmapOf(id))
		delete(ts.stale, id)
		ts.notDue(id)
	}
}

// resolveNames replaces the names of a request by ids.
func (s *session) resolveNames(t Type, req *request) subscriptionChange {
	const all = "*"
	change := subscriptionChange{emptyMeansAll: t.info().legacyWildcard == yes, reclaims: s.store.reclaimIfDue(t)}
	names := func(list []string, found *bool) []uint32 {
		*found = slices.Contains(list, all)
		if *found {
			list = slices.DeleteFunc(slices.Clone(list), func(name string) bool { return name == all })
		}
		return s.store.intern(t, list)
	}
	change.subscribe = names(req.subscribe, &change.subscribeAll)
	s.store.makeAliases(t, change.subscribe)
	change.unsubscribe = names(req.unsubscribe, &change.unsubscribeAll)
	if len(req.initial) > 0 {
		list := make([]string, len(req.initial))
		for i, r := range req.initial {
			list[i] = r.name
		}
		change.initial = make([]initialResource, len(list))
		for i, id := range s.store.intern(t, list) {
			change.initial[i] = initialResource{id, parseVersion(req.initial[i].version)}
		}
	}
	return change
}
