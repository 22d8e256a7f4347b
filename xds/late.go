package xds

import (
	"cmp"
	"slices"
	"time"
)

// Late is an Envoy with connections that may lack an extension.
type Late struct {
	NodeID string
	// Asked is when the Envoy asked for the extension; zero if it has not.
	Asked time.Time
}

// lateKey is an extension of an Envoy.
type lateKey struct {
	node
	extension string
}

// Late returns the Envoys of a fleet that have one of some listeners and did not ask for an extension,
// or did so lately, when they had listeners already. Connections of before go on without the extension,
// for as long as Envoy lets a listener drain that has another version. What an earlier process knew is
// not known.
func (s *Server) Late(fleet, extension string, listeners []string, within time.Duration) (all []Late) {
	now := time.Now()
	known := make(map[string]time.Time)
	s.mu.Lock()
	for key, asked := range s.late {
		switch {
		case now.Sub(asked) >= leftFor:
			delete(s.late, key)
		case key.fleet == fleet && key.extension == extension && now.Sub(asked) < within && len(s.nodes[key.node]) > 0:
			known[key.id] = asked
		}
	}
	s.mu.Unlock()
	for _, st := range s.streamsOf(fleet) {
		if asked, lacks := st.session.lacks(extension, listeners); lacks && (asked.IsZero() || now.Sub(asked) < within) {
			known[st.info.NodeID] = asked
		}
	}
	for id, asked := range known {
		all = append(all, Late{id, asked})
	}
	slices.SortFunc(all, func(a, b Late) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return all
}

// lacks reports whether an Envoy has one of some listeners and did not ask for an extension, or asked
// for it after it had listeners.
func (s *session) lacks(extension string, listeners []string) (asked time.Time, lacks bool) {
	s.store.readLocked(func() {
		s.locked(func() {
			id, ok := s.store.tables[ExtensionConfig].ids[extension]
			if ok && s.types[ExtensionConfig].names.Contains(id) {
				asked = s.asked[id]
				lacks = s.hadListeners && !asked.IsZero()
				return
			}
			lacks = slices.ContainsFunc(listeners, func(name string) bool {
				id, ok := s.store.tables[Listener].ids[name]
				return ok && s.types[Listener].mayHave(id)
			})
		})
	})
	return asked, lacks
}

// noteAsked notes which extensions an Envoy asks for that it has not. It is called before the change
// is taken over.
func (s *session) noteAsked(t Type, change subscriptionChange, now time.Time) {
	if t == Listener && !s.types[t].subscribed {
		s.hadListeners = len(change.initial) > 0
	}
	if t != ExtensionConfig {
		return
	}
	for _, id := range change.unsubscribe {
		delete(s.asked, id)
	}
	for _, id := range change.subscribe {
		had := s.types[t].names.Contains(id) || slices.ContainsFunc(change.initial, func(h initialResource) bool { return h.id == id })
		if had {
			continue
		}
		if s.asked == nil {
			s.asked = make(map[uint32]time.Time)
		}
		s.asked[id] = now
	}
}

// lateAsks are the extensions for which an Envoy asked when it had listeners, with when it did.
func (s *session) lateAsks() (asked map[string]time.Time) {
	s.store.readLocked(func() {
		s.locked(func() {
			if !s.hadListeners || len(s.asked) == 0 {
				return
			}
			asked = make(map[string]time.Time, len(s.asked))
			for id, at := range s.asked {
				asked[s.store.tables[ExtensionConfig].entries[id].name] = at
			}
		})
	})
	return asked
}

// keepLate keeps what Late needs of a stream that has ended. The Server is locked.
func (s *Server) keepLate(n node, asked map[string]time.Time) {
	if s.late == nil {
		s.late = make(map[lateKey]time.Time)
	}
	for extension, at := range asked {
		if len(s.late) < maxLeft {
			s.late[lateKey{n, extension}] = at
		}
	}
}
