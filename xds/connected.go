package xds

import (
	"cmp"
	"slices"
	"time"
)

// Envoy is an Envoy that is connected.
type Envoy struct {
	NodeID, Version string
	// Since is when its oldest stream began.
	Since time.Time
}

// Before reports whether the Envoy is older than a minor version of Envoy 1, or says no version.
func (e Envoy) Before(minor int) bool { return StreamStatus{Version: e.Version}.Before(minor) }

// envoyList is the list of the Envoys of a fleet, made when somebody asks for it and made anew
// after a change.
type envoyList struct {
	envoys     []Envoy
	generation uint64
	stale      bool
}

// Envoys returns the Envoys of a fleet that are connected, one for each node id and version, by node
// id. It must not be modified. As long as the generation is the same, so is the list. It costs
// nothing while none comes or leaves.
func (s *Server) Envoys(fleet string) (envoys []Envoy, generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lists[fleet]
	if l == nil {
		return nil, 0
	}
	if l.stale {
		l.envoys, l.stale = s.listEnvoys(fleet), false
	}
	return l.envoys, l.generation
}

func (s *Server) listEnvoys(fleet string) (envoys []Envoy) {
	for n, streams := range s.nodes {
		if n.fleet != fleet {
			continue
		}
		for i, st := range streams {
			version := st.info.Version
			if !slices.ContainsFunc(streams[:i], func(other *stream) bool { return other.info.Version == version }) {
				envoys = append(envoys, Envoy{n.id, version, st.info.Since})
			}
		}
	}
	slices.SortFunc(envoys, func(a, b Envoy) int {
		return cmp.Or(cmp.Compare(a.NodeID, b.NodeID), cmp.Compare(a.Version, b.Version))
	})
	return envoys
}

// listChanged notes that an Envoy came or left. The caller holds the lock.
func (s *Server) listChanged(fleet string) {
	l := s.lists[fleet]
	if l == nil {
		l = new(envoyList)
		s.lists[fleet] = l
	}
	l.stale = true
	l.generation++
}
