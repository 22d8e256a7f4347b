package xds

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

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

// use adds the ids that must not be given to other names.
func (s *subscription) use(used *roaring.Bitmap) {
	used.AddMany(s.subscribe)
	for _, h := range s.initial {
		used.Add(h.id)
	}
}

// wildcard reports whether a first request asks for all.
//
// xDS protocol, "How the client specifies what resources to return": a first
// request without names asks for all (for the types that allow it), as does "*".
func (s *subscription) wildcard() bool {
	return s.subscribeAll || len(s.subscribe) == 0 && s.emptyMeansAll
}

// ask keeps a request for a type that is not open. However many come, what is kept
// is one subscription.
func (w *watch) ask(s subscription) {
	if w.early == nil {
		s.subscribeAll = s.wildcard()
		w.early = &s
		return
	}
	e := w.early
	if s.subscribeAll {
		e.subscribeAll = true
	}
	if s.unsubscribeAll {
		e.subscribeAll = false
	}
	names := roaring.BitmapOf(e.subscribe...)
	names.AddMany(s.subscribe)
	for _, id := range s.unsubscribe {
		names.Remove(id)
	}
	e.subscribe, e.emptyMeansAll = names.ToArray(), false
}

// start handles the first request for a type on a stream. It returns those that Envoy has
// as they are.
//
// xDS protocol, "Incremental xDS": initial_resource_versions lists what the client has.
func (w *watch) start(t *table, s subscription, revision uint64) (current *roaring.Bitmap) {
	w.subscribed = true
	w.cursor = revision
	w.wildcard = s.wildcard()
	w.subscribe(t, s.subscribe)
	if w.wildcard {
		w.allDue(t)
		w.answer = len(s.initial) == 0
	}
	// To take them out of what is due one by one moves the others each time.
	current = roaring.New()
	for _, h := range s.initial {
		if !w.wants(h.id) {
			continue
		}
		w.held.Add(h.id)
		if w.typ != Endpoint {
			// It waits for nothing. Told that there is none it would drop what it has.
			w.waits.Remove(h.id)
		}
		if h.version != 0 && h.version == t.version(h.id, w.envoy) {
			current.Add(h.id)
			delete(w.since, h.id)
		} else {
			w.due(t, h.id)
		}
	}
	w.set.AndNot(current)
	w.gone.AndNot(current)
	return current
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
	w.waits.Add(id)
	if t.entries[id].presence == absent {
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
		for _, ids := range []*roaring.Bitmap{w.held, w.unsure, w.set, w.gone} {
			ids.And(w.names)
		}
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
		w.unsure.Remove(id)
		w.waits.Remove(id)
		w.forget(roaring.BitmapOf(id))
		delete(w.lacks, id)
		w.drop(id)
	}
}

// resolve replaces the names of a request by ids.
func (s *session) resolve(t Type, req *request) subscription {
	const all = "*"
	sub := subscription{emptyMeansAll: legacyWildcard[t], reclaims: s.store.tidy(t)}
	names := func(list []string, found *bool) []uint32 {
		*found = slices.Contains(list, all)
		if *found {
			list = slices.DeleteFunc(slices.Clone(list), func(name string) bool { return name == all })
		}
		return s.store.intern(t, list)
	}
	sub.subscribe = names(req.subscribe, &sub.subscribeAll)
	s.store.asked(t, sub.subscribe)
	sub.unsubscribe = names(req.unsubscribe, &sub.unsubscribeAll)
	if len(req.initial) > 0 {
		list := make([]string, len(req.initial))
		for i, r := range req.initial {
			list[i] = r.name
		}
		sub.initial = make([]held, len(list))
		for i, id := range s.store.intern(t, list) {
			sub.initial[i] = held{id, parseVersion(req.initial[i].version)}
		}
	}
	return sub
}
