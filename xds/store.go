package xds

import (
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/mem"
)

// Store holds the resources of one fleet, and which of them changed when.
//
// The work of Apply depends on the change alone. A stream reads what changed since its own
// cursor. A name has a small id, which is given to another name when it is not used any more:
// so the state of a session is touched only under the store's lock.
type Store struct {
	mu          sync.RWMutex
	revision    uint64
	tables      [numTypes]table
	sessions    map[*session]struct{}
	convergence convergence
	// reclaims counts how often ids were freed: an id that was looked up before may stand for
	// another name.
	reclaims uint64
	// opened is closed and replaced whenever a type is opened.
	opened chan struct{}
	// versions are those of the Envoys that came; see versionBit.
	versions    []string
	unconfirmed unconfirmedByNode

	// ClustersOnDemand tells that Envoys ask for a cluster when a request needs it: what names
	// clusters does not wait for them. It is set before the store is used.
	ClustersOnDemand bool
	// Outdated, if set, returns since when the resources that are made of apps may be outdated;
	// zero if they are not. It must be quick. It is set before the store is used.
	Outdated func() (since time.Time)
}

// table holds the resources of one type.
type table struct {
	ids     map[string]uint32
	entries []entry
	// versions are those of the entries that are present, and 0 for others. They are close
	// together in memory, since the list of all that an Envoy has is compared with them at
	// random places.
	versions []version
	free     []uint32
	present  int
	// absent counts the entries without a resource, reclaimed from time to time.
	absent int
	// reclaimAt is the number of absent entries at which reclaim looks for ids to free.
	reclaimAt int
	log       changeLog
	open      bool
	// rejections are those of the present versions, by id.
	rejections map[uint32][]*versionRejections
	// variants are those of the resources that have one, by id.
	variants map[uint32]*variant
	aliases  aliases
}

// presence is what is known of a resource.
type presence uint8

const (
	unused   presence = iota // the id is free
	absent                   // there is no such resource
	withheld                 // it is not known whether there is one; see Change.Withhold
	present
)

// entry is a name and its resource, if there is one.
type entry struct {
	name     string
	wire     mem.Buffer
	revision uint64 // of the last change
	presence presence
	// existed tells that there was a resource once.
	existed bool
	// usesScopes is that of the resource.
	usesScopes bool
	// acknowledged are the versions of Envoy that acknowledged the present version, as bits; see
	// acknowledgers.
	acknowledged uint32
	// lastGood is the content of the last good version, which Envoys of the versions
	// lastGoodFor acknowledged. See table.lastGood.
	lastGood        mem.Buffer
	lastGoodVersion version
	lastGoodFor     uint32
}

// NewStore returns an empty store in which no type is open.
func NewStore() *Store {
	s := &Store{sessions: make(map[*session]struct{}), opened: make(chan struct{})}
	s.convergence.begun, s.convergence.queues = time.Now(), make(map[uint32][]followedChange)
	s.unconfirmed.of = make(map[string]*[numTypes]unconfirmed)
	for t := range s.tables {
		s.tables[t].ids = make(map[string]uint32)
		s.tables[t].rejections = make(map[uint32][]*versionRejections)
		s.tables[t].variants = make(map[uint32]*variant)
		s.tables[t].aliases.of = make(map[uint32]alias)
	}
	return s
}

// Open has requests for the given types answered; without types, for all. Until then they are
// kept, and an Envoy goes on with what it has.
func (s *Store) Open(types ...Type) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(types) == 0 {
		types = Types()
	}
	changed := false
	for _, t := range types {
		changed = changed || !s.tables[t].open
		s.tables[t].open = true
	}
	if changed {
		close(s.opened)
		s.opened = make(chan struct{})
	}
}

// nextOpening returns a channel that is closed when a further type opens.
func (s *Store) nextOpening() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.opened
}

// Apply makes the change visible to all streams in one step and returns the
// store's revision. A resource that is equal to the present one changes nothing.
func (s *Store) Apply(c Change) (revision uint64) {
	var wake []*session
	s.locked(func() { revision, wake = s.apply(c) })
	for _, session := range wake {
		session.notify()
	}
	return revision
}

// apply also returns the sessions to wake. If it panics, all sessions are woken, and see what was
// done of the change.
func (s *Store) apply(c Change) (revision uint64, wake []*session) {
	next := s.revision + 1
	complete := false
	defer func() {
		if complete {
			return
		}
		s.revision = next
		for session := range s.sessions {
			session.notify()
		}
	}()
	var touched uint32
	for _, r := range c.Set {
		if s.tables[r.Type].set(r, next) {
			touched |= 1 << r.Type
		}
	}
	for _, k := range c.Remove {
		if s.tables[k.Type].unset(k.Name, absent, next) {
			touched |= 1 << k.Type
		}
	}
	for _, k := range c.Withhold {
		if s.tables[k.Type].unset(k.Name, withheld, next) {
			touched |= 1 << k.Type
		}
	}
	if c.Resolve != nil {
		s.tables[Secret].aliases.resolve = c.Resolve
	}
	if (c.Resolve != nil || touched&(1<<Secret) != 0) && s.tables[Secret].updateAliases(Secret, next) {
		touched |= 1 << Secret
	}
	complete = true
	if touched == 0 {
		return s.revision, nil
	}
	s.revision = next
	s.reclaim()
	s.convergence.begin(s, next, touched, time.Now())
	return next, s.subscribers(touched)
}

// subscribers returns the sessions that subscribe to one of the types, given as bits.
func (s *Store) subscribers(types uint32) (sessions []*session) {
	for session := range s.sessions {
		if session.subscribedTypes.Load()&types != 0 {
			sessions = append(sessions, session)
		}
	}
	return sessions
}

// Revision returns the number of changes applied so far.
func (s *Store) Revision() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.revision
}

// Counts returns how many resources there are of each type.
func (s *Store) Counts() map[Type]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	counts := make(map[Type]int, numTypes)
	for t := range s.tables {
		counts[Type(t)] = s.tables[t].present
	}
	return counts
}

// Has reports whether there is a resource of a name.
func (s *Store) Has(t Type, name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.tables[t].ids[name]
	return ok && s.tables[t].entries[id].presence == present
}

// intern returns the ids of names. A name that the store does not know gets a new id: an Envoy
// may ask for a name before it exists. Such a name is copied, as it is a part of a request.
func (s *Store) intern(t Type, names []string) []uint32 {
	ids := make([]uint32, len(names))
	missing := false
	s.mu.RLock()
	for i, name := range names {
		id, ok := s.tables[t].ids[name]
		ids[i], missing = id, missing || !ok
	}
	s.mu.RUnlock()
	if !missing {
		return ids
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, name := range names {
		if id, ok := s.tables[t].ids[name]; ok {
			ids[i] = id
		} else {
			ids[i] = s.tables[t].id(strings.Clone(name), s.revision)
		}
	}
	return ids
}

// makeAliases makes aliases of those ids, for which Envoy asks, that have no resource and can be
// resolved.
func (s *Store) makeAliases(t Type, ids []uint32) {
	table := &s.tables[t]
	due := false
	s.readLocked(func() {
		due = slices.ContainsFunc(ids, func(id uint32) bool {
			e := &table.entries[id]
			if e.presence != absent {
				return false
			}
			_, ok := table.resolveAlias(e.name)
			return ok
		})
	})
	if !due {
		return
	}
	var wake []*session
	s.locked(func() {
		made, evicted := table.makeAliases(t, ids, s.revision)
		s.makeDue(t, made)
		if evicted {
			s.revision++
			wake = s.subscribers(1 << t)
		}
	})
	for _, session := range wake {
		session.notify()
	}
}

// makeDue makes aliases due that were made without a revision of their own, for Envoys that
// subscribe to them: they were told, or are to be told, that there are none.
func (s *Store) makeDue(t Type, ids []uint32) {
	for session := range s.sessions {
		due := false
		session.locked(func() {
			ts := &session.types[t]
			for _, id := range ids {
				if ts.names.Contains(id) && !ts.toSend.Contains(id) {
					ts.due(&s.tables[t], id)
					due = true
				}
			}
		})
		if due {
			session.notify()
		}
	}
}

// id returns the id of a name, and makes an absent entry if there is none.
func (t *table) id(name string, revision uint64) uint32 {
	if id, ok := t.ids[name]; ok {
		return id
	}
	var id uint32
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
	} else {
		id = uint32(len(t.entries))
		t.entries = append(t.entries, entry{})
		t.versions = append(t.versions, 0)
	}
	t.ids[name] = id
	t.entries[id] = entry{name: name, presence: absent, revision: revision}
	t.absent++
	return id
}

// set sets a resource. It reports whether that changed anything.
func (t *table) set(r Resource, revision uint64) bool {
	id := t.id(r.Name, revision)
	e := &t.entries[id]
	delete(t.aliases.of, id)
	same := e.presence == present && t.versions[id] == r.hash
	isVariant := t.setVariant(id, r, same, revision)
	if same && !isVariant {
		return false
	}
	if e.presence != present {
		t.absent--
		t.present++
	}
	if !same {
		if e.acknowledged != 0 {
			e.lastGood, e.lastGoodVersion, e.lastGoodFor = e.wire, t.versions[id], e.acknowledged
		}
		e.wire, e.presence, e.existed, e.acknowledged = r.wire, present, true, 0
		if e.lastGoodVersion == r.hash {
			e.acknowledged = e.lastGoodFor
		}
		t.versions[id] = r.hash
	}
	e.revision, e.usesScopes = revision, r.usesScopes
	t.forgetRejections(id, !same, isVariant)
	t.log.append(revision, id, len(t.entries))
	return true
}

// unset takes out a resource. It reports whether that changed anything.
func (t *table) unset(name string, p presence, revision uint64) bool {
	id, ok := t.ids[name]
	if !ok {
		if p == absent {
			return false
		}
		id = t.id(name, revision)
	}
	e := &t.entries[id]
	if e.presence == p {
		return false
	}
	if e.presence == present {
		t.absent++
		t.present--
	}
	*e = entry{name: e.name, revision: revision, presence: p, existed: e.existed}
	t.versions[id] = 0
	delete(t.rejections, id)
	delete(t.variants, id)
	delete(t.aliases.of, id)
	t.log.append(revision, id, len(t.entries))
	return true
}
