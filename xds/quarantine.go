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
type suspect struct {
	envoy  string
	bit    uint32 // of the version, see versionBit
	second bool
	// nodes are the Envoys that reject it, by node id.
	nodes map[string]*objection
}

// objection is one Envoy's rejection.
type objection struct {
	streams []*kind // of this node id; each stream has its own
	message string
	since   time.Time
}

// enough is how many Envoys of a version have to reject a resource for others to be
// spared it.
const enough = 2

// suspect returns what Envoys of the version say against a resource as it is; nil if
// nothing.
func (t *table) suspect(id uint32, envoy *kind) *suspect {
	if len(t.suspects) == 0 {
		return nil
	}
	_, second := t.secondFor(id, envoy)
	for _, s := range t.suspects[id] {
		if s.envoy == envoy.version && s.second == second {
			return s
		}
	}
	return nil
}

// quarantined reports whether a resource is kept from Envoys of a version that did
// not reject it themselves.
func (t *table) quarantined(id uint32, envoy *kind) bool {
	s := t.suspect(id, envoy)
	return s != nil && len(s.nodes) >= enough && !t.acknowledgedBy(id, envoy)
}

// object notes that an Envoy rejects a resource as it is.
func (t *table) object(id uint32, envoy *kind, message string, now time.Time) Reach {
	s := t.suspect(id, envoy)
	if s == nil {
		_, second := t.secondFor(id, envoy)
		s = &suspect{envoy: envoy.version, bit: envoy.bit, second: second, nodes: make(map[string]*objection)}
		t.suspects[id] = append(t.suspects[id], s)
	}
	before := len(s.nodes)
	o := s.nodes[envoy.node]
	if o == nil {
		o = &objection{since: now}
		s.nodes[envoy.node] = o
	}
	o.message = message
	if !slices.Contains(o.streams, envoy) {
		o.streams = append(o.streams, envoy)
	}
	switch {
	case before == 0:
		return OneEnvoy
	case before < enough && t.quarantined(id, envoy):
		return EnvoyVersion
	}
	return Repeated
}

// withdraw takes back what a stream of an Envoy said against a resource, in whichever
// form. It reports whether that was something.
func (t *table) withdraw(id uint32, envoy *kind) (withdrawn bool) {
	t.setSuspects(id, func(s *suspect) bool {
		return s.withdraw(envoy.node, func(by *kind) bool {
			withdrawn = withdrawn || by == envoy
			return by == envoy
		})
	})
	return withdrawn
}

// withdraw takes back what streams of an Envoy said. It reports whether nobody says
// anything any more.
func (s *suspect) withdraw(node string, by func(*kind) bool) (none bool) {
	if o := s.nodes[node]; o != nil {
		if o.streams = slices.DeleteFunc(o.streams, by); len(o.streams) == 0 {
			delete(s.nodes, node)
		}
	}
	return len(s.nodes) == 0
}

// acquit forgets what was said against those forms of a resource that changed, and by
// Envoys that are not sent that form any more.
func (t *table) acquit(id uint32, first, second bool) {
	t.setSuspects(id, func(s *suspect) bool {
		if s.second && second || !s.second && first {
			return true
		}
		for node := range s.nodes {
			s.withdraw(node, func(by *kind) bool {
				_, second := t.secondFor(id, by)
				return second != s.second
			})
		}
		return len(s.nodes) == 0
	})
}

func (t *table) setSuspects(id uint32, gone func(*suspect) bool) {
	if len(t.suspects[id]) == 0 {
		return
	}
	if t.suspects[id] = slices.DeleteFunc(t.suspects[id], gone); len(t.suspects[id]) == 0 {
		delete(t.suspects, id)
	}
}

// version returns that of a resource as it is, in the form for an Envoy. It does not
// look at the entry: an Envoy that comes with all of its versions asks for all.
func (t *table) version(id uint32, envoy *kind) version {
	if form, second := t.secondFor(id, envoy); second {
		return form.version
	}
	return t.versions[id]
}

// wire returns a resource as it is, in the form for an Envoy.
func (t *table) wire(id uint32, envoy *kind) mem.Buffer {
	if form, second := t.secondFor(id, envoy); second {
		return form.wire
	}
	return t.entries[id].wire
}

// lastGood returns the version before the present one that Envoys of this version
// acknowledged; 0 if none is known. Second forms have none.
func (t *table) lastGood(id uint32, envoy *kind) (mem.Buffer, version) {
	e := &t.entries[id]
	if _, second := t.secondFor(id, envoy); second || e.goodFor&envoy.bit == 0 || e.goodVersion == t.versions[id] {
		return nil, 0
	}
	return e.good, e.goodVersion
}

// acknowledgers returns which versions of Envoy acknowledged a resource as it is, as
// bits. Many sessions write it at a time.
func (t *table) acknowledgers(id uint32, envoy *kind) *uint32 {
	if form, second := t.secondFor(id, envoy); second {
		return &form.acknowledged
	}
	return &t.entries[id].acknowledged
}

func (t *table) acknowledgedBy(id uint32, envoy *kind) bool {
	return atomic.LoadUint32(t.acknowledgers(id, envoy))&envoy.bit != 0
}

// toldCounts are the types of which an Envoy that tells on a new stream that it has a
// resource as it is counts as one that acknowledged it: after a restart of Relay most
// never do. Only listeners are rejected for a machine, and only secrets and extensions
// are sent in their last good version to those that have it; of the others there may be
// too many to look at each.
var toldCounts = [numTypes]bool{Secret: true, Listener: true, ExtensionConfig: true}

// acknowledge notes that an Envoy has acknowledged resources as they were at a
// revision. It returns those against which others of its version have said something,
// if it is the first of them.
func (t *table) acknowledge(ids *roaring.Bitmap, revision uint64, envoy *kind) (suspects []uint32) {
	for it := ids.Iterator(); it.HasNext(); {
		id := it.Next()
		by := t.acknowledgers(id, envoy)
		if t.entries[id].revision > revision && t.changedFor(id, envoy, revision) || atomic.LoadUint32(by)&envoy.bit == envoy.bit {
			continue
		}
		atomic.OrUint32(by, envoy.bit)
		if t.suspect(id, envoy) != nil {
			suspects = append(suspects, id)
		}
	}
	return suspects
}

// offerAgain makes resources due for the Envoys of a version that lack them though they
// did not reject them themselves. It is called under the store's lock.
func (s *Store) offerAgain(t Type, ids []uint32, version string) {
	table := &s.tables[t]
	for session := range s.sessions {
		if session.envoy.version != version {
			continue
		}
		due := false
		session.locked(func() {
			w := &session.watches[t]
			if len(w.lacks) == 0 {
				return
			}
			for _, id := range ids {
				l, lacks := w.lacks[id]
				if lacks && w.wants(id) && table.entries[id].presence == present && w.offer(table, id) == offerCurrent {
					w.set.Add(id)
					w.since[id] = l.since
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
		for id, suspects := range table.suspects {
			for _, suspect := range suspects {
				all = append(all, s.rejectedResource(Type(t), id, suspect))
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

func (s *Store) rejectedResource(t Type, id uint32, suspect *suspect) RejectedResource {
	table := &s.tables[t]
	by := &table.entries[id].acknowledged
	if suspect.second {
		by = &table.second[id].acknowledged
	}
	named := id
	if a, ok := table.aliases.of[id]; ok {
		named = a.target
	}
	r := RejectedResource{
		Key: Key{t, table.entries[named].name}, Envoy: suspect.envoy, Nodes: slices.Sorted(maps.Keys(suspect.nodes)),
		Acknowledged: atomic.LoadUint32(by)&suspect.bit != 0,
	}
	r.Quarantined = len(r.Nodes) >= enough && !r.Acknowledged
	r.Since, r.Message = suspect.first()
	return r
}

// first returns what the first of the Envoys said, and when.
func (s *suspect) first() (since time.Time, message string) {
	for _, o := range s.nodes {
		if since.IsZero() || o.since.Before(since) || o.since.Equal(since) && o.message < message {
			since, message = o.since, o.message
		}
	}
	return since, message
}
