package xds

import "github.com/RoaringBitmap/roaring/v2"

// reclaimIfDue frees ids if there are many to free. Apply does so too, but Envoys may ask for many
// names that do not exist while nothing changes. It returns how often ids were freed so far.
func (s *Store) reclaimIfDue(t Type) (reclaims uint64) {
	s.mu.RLock()
	due, reclaims := s.tables[t].reclaimable(), s.reclaims
	s.mu.RUnlock()
	if !due {
		return reclaims
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reclaim()
	return s.reclaims
}

func (t *table) reclaimable() bool {
	return t.absent >= max(minReclaim, len(t.entries)/4, t.reclaimAt)
}

// minReclaim is the number of absent resources below which nobody looks for ids to free.
const minReclaim = 1024

// reclaim frees the ids of absent resources that no stream uses. It looks for them when the
// absent resources are a quarter of a table, and twice as many as it left the last time: a look
// costs as much as the table is large.
func (s *Store) reclaim() {
	for i := range s.tables {
		t := &s.tables[i]
		if !t.reclaimable() {
			continue
		}
		s.reclaims++
		used := roaring.New()
		s.unconfirmed.addUsedIDs(Type(i), used)
		for session := range s.sessions {
			session.types[i].addUsedIDs(used)
		}
		for id := range t.entries {
			e := &t.entries[id]
			if e.presence == absent && !used.Contains(uint32(id)) {
				delete(t.ids, e.name)
				*e = entry{}
				t.free = append(t.free, uint32(id))
				t.absent--
			}
		}
		t.reclaimAt = 2 * t.absent
	}
}
