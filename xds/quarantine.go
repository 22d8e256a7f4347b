package xds

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"google.golang.org/grpc/mem"
)

// suspect is a resource that connected Envoys of one version reject as it is. It is in
// quarantine when several do and none of the version has acknowledged it: others then
// keep the last good version, or are sent that.
//
// One Envoy's word is not enough, since the reason may be its machine: a port that
// something else listens on, an address that it does not have.
type versionRejections struct {
	envoyVersion string
	versionBit   uint32 // of the version, see versionBit
	variant      bool
	// nodes are the Envoys that reject it, by node id.
	byNode map[string]*nodeRejection
}

// objection is one Envoy's rejection.
type nodeRejection struct {
	streams []*envoyNode // of this node id; each stream has its own
	message string
	since   time.Time
}

// enough is how many Envoys of a version have to reject a resource for others to be
// spared it.
const quarantineAfter = 2

// suspect returns what Envoys of the version say against a resource as it is; nil if
// nothing.
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

// quarantined reports whether a resource is kept from Envoys of a version that did
// not reject it themselves.
func (t *table) quarantined(id uint32, envoy *envoyNode) bool {
	v := t.rejectionsFor(id, envoy)
	return v != nil && len(v.byNode) >= quarantineAfter && !t.acknowledgedBy(id, envoy)
}

// object notes that an Envoy rejects a resource as it is.
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

// withdraw takes back what a stream of an Envoy said against a resource, in whichever
// form. It reports whether that was something.
func (t *table) removeRejection(id uint32, envoy *envoyNode) (withdrawn bool) {
	t.filterRejections(id, func(v *versionRejections) bool {
		return v.remove(envoy.id, func(by *envoyNode) bool {
			withdrawn = withdrawn || by == envoy
			return by == envoy
		})
	})
	return withdrawn
}

// withdraw takes back what streams of an Envoy said. It reports whether nobody says
// anything any more.
func (v *versionRejections) remove(node string, by func(*envoyNode) bool) (none bool) {
	if rejection := v.byNode[node]; rejection != nil {
		if rejection.streams = slices.DeleteFunc(rejection.streams, by); len(rejection.streams) == 0 {
			delete(v.byNode, node)
		}
	}
	return len(v.byNode) == 0
}

// acquit forgets what was said against those forms of a resource that changed, and by
// Envoys that are not sent that form any more.
func (t *table) forgetRejections(id uint32, first, isVariant bool) {
	t.filterRejections(id, func(v *versionRejections) bool {
		if v.variant && isVariant || !v.variant && first {
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

func (t *table) filterRejections(id uint32, gone func(*versionRejections) bool) {
	if len(t.rejections[id]) == 0 {
		return
	}
	if t.rejections[id] = slices.DeleteFunc(t.rejections[id], gone); len(t.rejections[id]) == 0 {
		delete(t.rejections, id)
	}
}

// version returns that of a resource as it is, in the form for an Envoy. It does not
// look at the entry: an Envoy that comes with all of its versions asks for all.
func (t *table) version(id uint32, envoy *envoyNode) version {
	if v, isVariant := t.variantFor(id, envoy); isVariant {
		return v.version
	}
	return t.versions[id]
}

// wire returns a resource as it is, in the form for an Envoy.
func (t *table) wire(id uint32, envoy *envoyNode) mem.Buffer {
	if v, isVariant := t.variantFor(id, envoy); isVariant {
		return v.wire
	}
	return t.entries[id].wire
}

// lastGood returns the version before the present one that Envoys of this version
// acknowledged; 0 if none is known. Second forms have none.
func (t *table) lastGood(id uint32, envoy *envoyNode) (mem.Buffer, version) {
	e := &t.entries[id]
	if _, isVariant := t.variantFor(id, envoy); isVariant || e.goodFor&envoy.versionBit == 0 || e.goodVersion == t.versions[id] {
		return nil, 0
	}
	return e.good, e.goodVersion
}

// acknowledgers returns which versions of Envoy acknowledged a resource as it is, as
// bits. Many sessions write it at a time.
func (t *table) acknowledgers(id uint32, envoy *envoyNode) *uint32 {
	if v, isVariant := t.variantFor(id, envoy); isVariant {
		return &v.acknowledged
	}
	return &t.entries[id].acknowledged
}

func (t *table) acknowledgedBy(id uint32, envoy *envoyNode) bool {
	return atomic.LoadUint32(t.acknowledgers(id, envoy))&envoy.versionBit != 0
}

// acknowledge notes that an Envoy has acknowledged resources as they were at a
// revision. It returns those against which others of its version have said something,
// if it is the first of them.
func (t *table) acknowledge(ids *roaring.Bitmap, revision uint64, envoy *envoyNode) (rejected []uint32) {
	for it := ids.Iterator(); it.HasNext(); {
		id := it.Next()
		by := t.acknowledgers(id, envoy)
		if t.entries[id].revision > revision && t.changedFor(id, envoy, revision) || atomic.LoadUint32(by)&envoy.versionBit == envoy.versionBit {
			continue
		}
		atomic.OrUint32(by, envoy.versionBit)
		if t.rejectionsFor(id, envoy) != nil {
			rejected = append(rejected, id)
		}
	}
	return rejected
}

// offerAgain makes resources due for the Envoys of a version that lack them though they
// did not reject them themselves. It is called under the store's lock.
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

// versionBit returns the bit that stands for a version of Envoy in a set of versions.
// A fleet has two or three; whoever makes up more of them gets none.
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

// RejectedResource is a resource that connected Envoys of one version reject as it is.
type RejectedResource struct {
	Key
	// Envoy is the version of the Envoys.
	Envoy string
	// Nodes are the node ids of those that reject it, sorted.
	Nodes []string
	// Message is what the first of them said, and Since is when.
	Message string
	Since   time.Time
	// Acknowledged tells that others of the version have acknowledged the same.
	Acknowledged bool
	// Quarantined tells that it is kept from others of the version.
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

// merge adds what is said of another copy, or the other form, of the same resource.
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

// first returns what the first of the Envoys said, and when.
func (v *versionRejections) first() (since time.Time, message string) {
	for _, rejection := range v.byNode {
		if since.IsZero() || rejection.since.Before(since) || rejection.since.Equal(since) && rejection.message < message {
			since, message = rejection.since, rejection.message
		}
	}
	return since, message
}
