package xds

import "github.com/RoaringBitmap/roaring/v2"

// tidy frees ids if there are many to free, since names that Envoys ask for in
// vain may come without any change; it returns how often that was done so far.
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

// minReclaim keeps small stores from looking for ids to reclaim at all.
const minReclaim = 1024

// reclaim frees the ids of absent resources that no stream holds or asked for,
// once they are a quarter of a table, and twice as many as were in use when it
// last looked: a look costs as much as the table is large.
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
