package xds

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// RejectedResource is a resource whose present version connected Envoys of one version of
// Envoy reject.
type RejectedResource struct {
	Key
	// Envoy is the version of the Envoys.
	Envoy string
	// Nodes are the node ids of the Envoys that reject it, sorted.
	Nodes []string
	// Message is what the first of them said, and Since when.
	Message string
	Since   time.Time
	// Acknowledged tells that others of the version have acknowledged it.
	Acknowledged bool
	// Quarantined tells that it is in quarantine for the version.
	Quarantined bool
}

// Rejected returns what connected Envoys reject, by type, name and version of Envoy. A
// secret that is sent under other names is one resource.
func (s *Store) Rejected() []RejectedResource {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []RejectedResource
	for t := range s.tables {
		table := &s.tables[t]
		for id, byVersion := range table.rejections {
			for _, rejections := range byVersion {
				all = append(all, s.rejectedResource(Type(t), id, rejections))
			}
		}
	}
	slices.SortFunc(all, func(a, b RejectedResource) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Envoy, b.Envoy), a.Since.Compare(b.Since))
	})
	merged := all[:0]
	for _, r := range all {
		if n := len(merged); n > 0 && merged[n-1].Key == r.Key && merged[n-1].Envoy == r.Envoy {
			merged[n-1].merge(r)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// merge adds the rejections of another copy of the resource, or of its variant.
func (r *RejectedResource) merge(other RejectedResource) {
	r.Nodes = slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.Nodes, other.Nodes))))
	r.Acknowledged = r.Acknowledged && other.Acknowledged
	r.Quarantined = r.Quarantined || other.Quarantined
}

func (s *Store) rejectedResource(t Type, id uint32, rejections *versionRejections) RejectedResource {
	table := &s.tables[t]
	by := &table.entries[id].acknowledged
	if rejections.variant {
		by = &table.variants[id].acknowledged
	}
	named := id
	if a, ok := table.aliases.of[id]; ok {
		named = a.target
	}
	r := RejectedResource{
		Key: Key{t, table.entries[named].name}, Envoy: rejections.envoyVersion, Nodes: slices.Sorted(maps.Keys(rejections.byNode)),
		Acknowledged: atomic.LoadUint32(by)&rejections.versionBit != 0,
	}
	r.Quarantined = len(r.Nodes) >= quarantineAfter && !r.Acknowledged
	r.Since, r.Message = rejections.first()
	return r
}
