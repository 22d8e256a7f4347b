package xds

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"google.golang.org/grpc/mem"
)

// verdict is that Envoys of one version reject a form of a resource as it is. It
// holds until the resource changes.
type verdict struct {
	envoy   string
	second  bool
	message string
	time    time.Time
	// all is set when they reject the last good version too.
	all bool
}

// Quarantined is a resource that is not sent to Envoys of some version, since
// one of them rejected it alone.
type Quarantined struct {
	Key
	// Envoy is the version of the Envoys.
	Envoy string
	// Message is Envoy's own.
	Message string
	Since   time.Time
}

// Quarantined returns what is kept from Envoys at present, by type and name.
func (s *Store) Quarantined() []Quarantined {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []Quarantined
	for t := range s.tables {
		table := &s.tables[t]
		for id, verdicts := range table.verdicts {
			for _, v := range verdicts {
				all = append(all, Quarantined{Key{Type(t), table.entries[id].name}, v.envoy, v.message, v.time})
			}
		}
	}
	slices.SortFunc(all, func(a, b Quarantined) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Envoy, b.Envoy))
	})
	return all
}

// on returns the verdict of Envoys of a version on a resource, if there is one.
func (t *table) on(id uint32, envoy *kind) *verdict {
	if len(t.verdicts) == 0 {
		return nil
	}
	verdicts := t.verdicts[id]
	_, second := t.secondFor(id, envoy)
	for i := range verdicts {
		if verdicts[i].envoy == envoy.version && verdicts[i].second == second {
			return &verdicts[i]
		}
	}
	return nil
}

// content returns what Envoys of a kind are sent for an id: the resource as it
// is, its last good version if they reject it and it is known, or nil.
func (t *table) content(id uint32, envoy *kind) (mem.Buffer, version) {
	e, v := &t.entries[id], t.on(id, envoy)
	form, second := t.secondFor(id, envoy)
	switch {
	case second && v == nil:
		return form.wire, form.version
	case second:
		return nil, 0
	case v == nil:
		return e.wire, t.versions[id]
	case !v.all:
		return e.good, e.goodVersion
	}
	return nil, 0
}

// current is the version of content, without a look at the entry where there
// are no verdicts: an Envoy that comes with all of its versions asks for all.
func (t *table) current(id uint32, envoy *kind) version {
	if len(t.verdicts) == 0 && len(t.second) == 0 {
		return t.versions[id]
	}
	_, v := t.content(id, envoy)
	return v
}

// condemn records that Envoys of a kind reject what they were sent for an id.
// It reports whether that is new.
func (s *Store) condemn(t Type, id uint32, sent version, rejection *Rejection, envoy *kind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	table := &s.tables[t]
	e := &table.entries[id]
	if e.presence != present {
		return false
	}
	_, now := table.content(id, envoy)
	_, second := table.secondFor(id, envoy)
	switch v := table.on(id, envoy); {
	case v == nil && sent == now:
		table.verdicts[id] = append(table.verdicts[id], verdict{envoy: envoy.version, second: second, message: rejection.Message, time: rejection.Time})
		return true
	case v != nil && !v.all && sent == e.goodVersion:
		v.all = true
	}
	return false
}

// acquit forgets the verdicts on those forms of a resource that changed.
func (t *table) acquit(id uint32, first, second bool) {
	if len(t.verdicts[id]) == 0 {
		return
	}
	kept := slices.DeleteFunc(t.verdicts[id], func(v verdict) bool {
		if v.second {
			return second
		}
		return first
	})
	if len(kept) == 0 {
		delete(t.verdicts, id)
		return
	}
	t.verdicts[id] = kept
}

// prove notes that an Envoy has acknowledged these resources.
func (t *table) prove(ids *roaring.Bitmap, revision uint64, envoy *kind) {
	for it := ids.Iterator(); it.HasNext(); {
		id := it.Next()
		e := &t.entries[id]
		if _, second := t.secondFor(id, envoy); second {
			continue
		}
		if e.revision <= revision && atomic.LoadUint32(&e.proven) == 0 {
			atomic.StoreUint32(&e.proven, 1)
		}
	}
}
