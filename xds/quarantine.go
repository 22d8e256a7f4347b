package xds

import (
	"slices"
	"time"
)

// versionRejections are the rejections of one resource by connected Envoys of one version.
// The resource is in quarantine for the version if several Envoys reject it and none of the
// version has acknowledged it. Other Envoys of the version then keep the last good version,
// or are sent that.
//
// One Envoy is not enough, since the reason may be its machine: a port that something else
// listens on, an address that it does not have.
type versionRejections struct {
	envoyVersion string
	versionBit   uint32 // see Store.versionBit
	// variant tells that the variant of the resource is rejected.
	variant bool
	// byNode has one rejection for each node id.
	byNode map[string]*nodeRejection
}

// nodeRejection is the rejection by the Envoys of one node id.
type nodeRejection struct {
	streams []*envoyNode // each stream has its own
	message string
	since   time.Time
}

// quarantineAfter is how many Envoys of a version have to reject a resource before it is in
// quarantine for the version.
const quarantineAfter = 2

// rejectionsFor returns the rejections of the present version of a resource by Envoys of the
// same version as the one given; nil if there are none.
func (t *table) rejectionsFor(id uint32, envoy *envoyNode) *versionRejections {
	if len(t.rejections) == 0 {
		return nil
	}
	_, isVariant := t.variantFor(id, envoy)
	for _, v := range t.rejections[id] {
		if v.envoyVersion == envoy.version && v.variant == isVariant {
			return v
		}
	}
	return nil
}

// quarantined reports whether a resource is in quarantine for the version of an Envoy.
func (t *table) quarantined(id uint32, envoy *envoyNode) bool {
	v := t.rejectionsFor(id, envoy)
	return v != nil && len(v.byNode) >= quarantineAfter && !t.acknowledgedBy(id, envoy)
}

// addRejection notes that an Envoy rejects the present version of a resource.
func (t *table) addRejection(id uint32, envoy *envoyNode, message string, now time.Time) Reach {
	v := t.rejectionsFor(id, envoy)
	if v == nil {
		_, isVariant := t.variantFor(id, envoy)
		v = &versionRejections{envoyVersion: envoy.version, versionBit: envoy.versionBit, variant: isVariant, byNode: make(map[string]*nodeRejection)}
		t.rejections[id] = append(t.rejections[id], v)
	}
	before := len(v.byNode)
	rejection := v.byNode[envoy.id]
	if rejection == nil {
		rejection = &nodeRejection{since: now}
		v.byNode[envoy.id] = rejection
	}
	rejection.message = message
	if !slices.Contains(rejection.streams, envoy) {
		rejection.streams = append(rejection.streams, envoy)
	}
	switch {
	case before == 0:
		return OneEnvoy
	case before < quarantineAfter && t.quarantined(id, envoy):
		return EnvoyVersion
	}
	return Repeated
}

// removeRejection forgets that a stream of an Envoy rejected a resource, or its variant. It
// reports whether there was such a rejection.
func (t *table) removeRejection(id uint32, envoy *envoyNode) (removed bool) {
	t.filterRejections(id, func(v *versionRejections) bool {
		return v.remove(envoy.id, func(by *envoyNode) bool {
			removed = removed || by == envoy
			return by == envoy
		})
	})
	return removed
}

// remove forgets the rejections by streams of a node id. It reports whether no rejections
// are left.
func (v *versionRejections) remove(node string, by func(*envoyNode) bool) (none bool) {
	if rejection := v.byNode[node]; rejection != nil {
		if rejection.streams = slices.DeleteFunc(rejection.streams, by); len(rejection.streams) == 0 {
			delete(v.byNode, node)
		}
	}
	return len(v.byNode) == 0
}

// forgetRejections forgets the rejections of a resource if it changed, and those of its
// variant if that changed. It also forgets those by Envoys that are not sent any more what
// they rejected.
func (t *table) forgetRejections(id uint32, changed, variantChanged bool) {
	t.filterRejections(id, func(v *versionRejections) bool {
		if v.variant && variantChanged || !v.variant && changed {
			return true
		}
		for node := range v.byNode {
			v.remove(node, func(by *envoyNode) bool {
				_, isVariant := t.variantFor(id, by)
				return isVariant != v.variant
			})
		}
		return len(v.byNode) == 0
	})
}

// filterRejections drops those rejections of a resource for which drop returns true.
func (t *table) filterRejections(id uint32, drop func(*versionRejections) bool) {
	if len(t.rejections[id]) == 0 {
		return
	}
	if t.rejections[id] = slices.DeleteFunc(t.rejections[id], drop); len(t.rejections[id]) == 0 {
		delete(t.rejections, id)
	}
}

// first returns what the first Envoy said that rejected the resource, and when.
func (v *versionRejections) first() (since time.Time, message string) {
	for _, rejection := range v.byNode {
		if since.IsZero() || rejection.since.Before(since) || rejection.since.Equal(since) && rejection.message < message {
			since, message = rejection.since, rejection.message
		}
	}
	return since, message
}

// offerToOthers makes resources due for the Envoys of a version for which they are stale
// only because others rejected them. It is called under the store's lock.
func (s *Store) offerToOthers(t Type, ids []uint32, version string) {
	table := &s.tables[t]
	for session := range s.sessions {
		if session.envoy.version != version {
			continue
		}
		due := false
		session.locked(func() {
			ts := &session.types[t]
			if len(ts.stale) == 0 {
				return
			}
			for _, id := range ids {
				state, isStale := ts.stale[id]
				if isStale && ts.subscribesTo(id) && table.entries[id].presence == present && ts.offerOf(table, id) == offerCurrent {
					ts.toSend.Add(id)
					ts.dueSince[id] = state.since
					due = true
				}
			}
		})
		if due {
			session.notify()
		}
	}
}

// versionBit returns the bit that stands for a version of Envoy in a set of versions. A
// fleet has two or three. A client that makes up more than 32 gets no bit.
func (s *Store) versionBit(version string) uint32 {
	i := slices.Index(s.versions, version)
	if i < 0 {
		if len(s.versions) == 32 {
			return 0
		}
		i = len(s.versions)
		s.versions = append(s.versions, version)
	}
	return 1 << i
}
