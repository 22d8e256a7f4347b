package xds

import (
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
)

// maxDoubts is of how many Envoys that are away it is remembered what they may have.
const maxUnconfirmed = 2000

// doubts remembers what Envoys may have without telling, or tell of without having it: parts
// of responses that they rejected or acknowledged unread, or whose answer did not come
// before their stream ended. When such an Envoy
// comes again it tells of the versions before. Should what it was sent have been
// deleted meanwhile, or be as it was before, nothing would be due.
type unconfirmedByNode struct {
	mu sync.Mutex
	of map[string]*[numTypes]unconfirmed // by node id
}

// doubt is what one Envoy may have of one type.
type unconfirmed struct {
	// parts were in rejected responses, sent in one that was not answered.
	resend, unanswered *roaring.Bitmap
	// revision is that of the unanswered response: what did not change since is told
	// of, or due.
	revision uint64
}

func (u unconfirmed) empty() bool {
	return (u.resend == nil || u.resend.IsEmpty()) && (u.unanswered == nil || u.unanswered.IsEmpty())
}

// doubt returns what the Envoy may have without telling.
func (ts *typeState) unconfirmed() unconfirmed {
	u := unconfirmed{resend: roaring.Or(ts.maybeInEnvoy, ts.ackedUnread)}
	for _, b := range ts.searchParts {
		u.resend.Or(b.resources)
		u.resend.Or(b.removed)
	}
	if sent := ts.inFlight; sent != nil {
		u.resend.Or(sent.removed)
		if sent.lastGood != nil {
			u.resend.Or(sent.lastGood)
		}
		u.unanswered, u.revision = sent.resources, sent.revision
	}
	return u
}

// aged returns the doubt with all of sent that changed since among its parts: it may be
// as it was before, and Envoy tell of that.
func (u unconfirmed) withChanged(t *table) unconfirmed {
	if u.empty() || u.unanswered == nil {
		return u
	}
	u.resend = u.resend.Clone()
	for it := u.unanswered.Iterator(); it.HasNext(); {
		if id := it.Next(); t.entries[id].revision > u.revision {
			u.resend.Add(id)
		}
	}
	return u
}

// dispel makes due what is to be made sure, of an aged doubt.
func (ts *typeState) resendUnconfirmed(t *table, u unconfirmed) {
	if u.empty() {
		return
	}
	ids := u.resend.Clone()
	if u.unanswered != nil {
		// What did not change, and Envoy told of, it has as it is.
		ids.Or(roaring.And(u.unanswered, ts.toSend))
	}
	for it := ids.Iterator(); it.HasNext(); {
		if id := it.Next(); ts.subscribesTo(id) {
			ts.maybeInEnvoy.Add(id)
			ts.due(t, id)
		}
	}
}

// share tells the other streams of an Envoy what is in doubt when one ends: it may have
// come again before the end of the first was seen. It is called under the store's lock.
func (s *Store) shareUnconfirmed(node string, t Type, u unconfirmed) {
	if u.empty() || node == "" {
		return
	}
	table := &s.tables[t]
	aged := u.withChanged(table)
	for session := range s.sessions {
		if session.envoy.id != node {
			continue
		}
		session.locked(func() {
			if ts := &session.types[t]; ts.subscribed {
				ts.resendUnconfirmed(table, aged)
			}
		})
		session.notify()
	}
}

// keep remembers what is in doubt for an Envoy whose stream ends. The sets must not be
// changed any more.
func (all *unconfirmedByNode) keep(node string, t Type, later unconfirmed) {
	if later.empty() || node == "" {
		return
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	types := all.of[node]
	if types == nil {
		for other := range all.of {
			if len(all.of) < maxUnconfirmed {
				break
			}
			delete(all.of, other)
		}
		types = new([numTypes]unconfirmed)
		all.of[node] = types
	}
	if before := types[t]; !before.empty() {
		// Two streams ended, or one that did not get as far as this type: whenever it
		// was sent, it is in doubt.
		later.resend.Or(before.resend)
		for _, sent := range []*roaring.Bitmap{before.unanswered, later.unanswered} {
			if sent != nil {
				later.resend.Or(sent)
			}
		}
		later.unanswered = nil
	}
	types[t] = later
}

// take returns what is in doubt for an Envoy that comes again.
func (all *unconfirmedByNode) take(node string, t Type) unconfirmed {
	all.mu.Lock()
	defer all.mu.Unlock()
	types := all.of[node]
	if types == nil {
		return unconfirmed{}
	}
	taken := types[t]
	types[t] = unconfirmed{}
	if *types == [numTypes]unconfirmed{} {
		delete(all.of, node)
	}
	return taken
}

// use adds the ids of a type that must not be given to other names.
func (all *unconfirmedByNode) addUsedIDs(t Type, used *roaring.Bitmap) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, types := range all.of {
		for _, ids := range []*roaring.Bitmap{types[t].resend, types[t].unanswered} {
			if ids != nil {
				used.Or(ids)
			}
		}
	}
}
