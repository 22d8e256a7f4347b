package xds

import (
	"cmp"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// Progress is how far an Envoy has come with one resource.
type Progress string

// The states.
const (
	// Acknowledged resources are in use as they are now.
	Acknowledged Progress = "acknowledged"
	// Due resources changed and have not been sent yet.
	Due Progress = "not sent yet"
	// InFlight resources were sent and not answered.
	InFlight Progress = "sent, not acknowledged yet"
	// Rejected resources are kept from Envoys of this version until they change.
	Rejected Progress = "rejected"
	// NotAsked resources exist, and the Envoy has not asked for them.
	NotAsked Progress = "not asked for"
	// Missing resources do not exist, or are withheld.
	Missing Progress = "does not exist"
)

// EnvoyProgress is how far one Envoy has come with some resources.
type EnvoyProgress struct {
	NodeID, Version, Address string
	Since                    time.Time
	// Resources has one entry for each key asked about, in the same order.
	Resources []Progress
}

// Progress says how far each connected Envoy of a fleet has come with the
// resources given, ordered by node. Asking costs about what sending them does.
func (s *Server) Progress(fleet string, keys []Key) []EnvoyProgress {
	s.mu.Lock()
	var streams []*stream
	for st := range s.streams {
		if st.info.Fleet == fleet {
			streams = append(streams, st)
		}
	}
	s.mu.Unlock()
	all := make([]EnvoyProgress, len(streams))
	for i, st := range streams {
		all[i] = EnvoyProgress{
			NodeID: st.info.NodeID, Version: st.info.Version, Address: st.info.Address, Since: st.info.Since,
			Resources: st.session.progress(keys),
		}
	}
	slices.SortFunc(all, func(a, b EnvoyProgress) int {
		return cmp.Or(cmp.Compare(a.NodeID, b.NodeID), a.Since.Compare(b.Since))
	})
	return all
}

func (s *session) progress(keys []Key) []Progress {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]Progress, len(keys))
	for i, key := range keys {
		w, t := &s.watches[key.Type], &s.store.tables[key.Type]
		if w.subscribed {
			w.collect(t, s.store.revision)
		}
		states[i] = w.progress(t, key.Name)
	}
	return states
}

func (w *watch) progress(t *table, name string) Progress {
	id, known := t.ids[name]
	in := func(set, gone *roaring.Bitmap) bool { return set.Contains(id) || gone.Contains(id) }
	switch {
	case !known:
		return Missing
	case w.wants(id) && t.on(id, w.envoy) != nil:
		return Rejected
	case in(w.set, w.gone), slices.ContainsFunc(w.retry, func(b batch) bool { return in(b.set, b.gone) }):
		return Due
	case w.flight != nil && in(w.flight.set, w.flight.gone):
		return InFlight
	case t.entries[id].presence != present:
		return Missing
	case w.held.Contains(id):
		return Acknowledged
	}
	for copied, a := range t.aliases.of {
		if a.target == id && w.names.Contains(copied) {
			return w.progress(t, t.entries[copied].name)
		}
	}
	return NotAsked
}
