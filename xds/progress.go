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
	// Acknowledged resources are in use in their present version.
	Acknowledged Progress = "acknowledged"
	// Due resources changed and have not been sent yet.
	Due Progress = "not sent yet"
	// InFlight resources were sent and not answered.
	InFlight Progress = "sent, not acknowledged yet"
	// Rejected resources were rejected by this Envoy in their present version. It keeps an
	// older version or has none, and is offered them again from time to time.
	Rejected Progress = "rejected"
	// Quarantined resources were rejected by several others of its version, and
	// acknowledged by none. It has the last good version, if there is one.
	Quarantined Progress = "rejected by others of its version"
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
	Resources []ResourceProgress
}

// ResourceProgress is how far an Envoy has come with one resource.
type ResourceProgress struct {
	Progress
	// Stale says why, if the resource is Rejected or Quarantined.
	Stale StaleResource
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

func (s *session) progress(keys []Key) []ResourceProgress {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]ResourceProgress, len(keys))
	for i, key := range keys {
		ts, t := &s.types[key.Type], &s.store.tables[key.Type]
		if ts.subscribed {
			ts.collectChanges(t, s.store.revision)
		}
		p, id := ts.progress(t, key.Name)
		states[i].Progress = p
		if p == Rejected || p == Quarantined {
			states[i].Stale = ts.staleResource(t, id)
		}
	}
	return states
}

// progress returns that of a resource, or of the copy of it that the Envoy asked for. The id
// tells which of both.
func (ts *typeState) progress(t *table, name string) (p Progress, id uint32) {
	id, known := t.ids[name]
	_, isStale := ts.stale[id]
	in := func(set, gone *roaring.Bitmap) bool { return set.Contains(id) || gone.Contains(id) }
	switch {
	case !known:
		return Missing, id
	case ts.subscribesTo(id) && ts.rejectsCurrent(t, id):
		return Rejected, id
	case ts.subscribesTo(id) && isStale:
		return Quarantined, id
	case in(ts.toSend, ts.toRemove), slices.ContainsFunc(ts.searchParts, func(b batch) bool { return in(b.resources, b.removed) }):
		return Due, id
	case ts.inFlight != nil && in(ts.inFlight.resources, ts.inFlight.removed):
		return InFlight, id
	case t.entries[id].presence != present:
		return Missing, id
	case ts.inEnvoy.Contains(id):
		return Acknowledged, id
	}
	for copied, a := range t.aliases.of {
		if a.target == id && ts.names.Contains(copied) {
			return ts.progress(t, t.entries[copied].name)
		}
	}
	return NotAsked, id
}
