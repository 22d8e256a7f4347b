package xds

import (
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
)

// maxUnconfirmed is of how many Envoys without a stream it is remembered what they may have.
const maxUnconfirmed = 2000

// unconfirmedByNode remembers, when the stream of an Envoy ends, what the Envoy may have and
// does not tell of, or tells of and does not have. That is what it rejected, acknowledged
// unread, or did not answer.
//
// On its next stream the Envoy tells of the versions that it had before. If what it was sent
// was deleted meanwhile, or changed back, nothing would be due.
type unconfirmedByNode struct {
	mu sync.Mutex
	of map[string]*[numTypes]unconfirmed // by node id
}

// unconfirmed is what one Envoy may have of one type. The sets may be nil.
type unconfirmed struct {
	// resend is sent again whatever Envoy tells.
	resend *roaring.Bitmap
	// unanswered was in the response that was not answered. It is sent again if it changed
	// since, or if Envoy does not tell that it has it.
	unanswered *roaring.Bitmap
	// revision is that of the unanswered response.
	revision uint64
}

func (u unconfirmed) empty() bool {
	return (u.resend == nil || u.resend.IsEmpty()) && (u.unanswered == nil || u.unanswered.IsEmpty())
}

// unconfirmed returns what the Envoy may have of the type.
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

// withChanged moves to resend what is unanswered and changed since: it may have changed back
// to what Envoy tells of.
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

// resendUnconfirmed makes due what is to be sent again.
func (ts *typeState) resendUnconfirmed(t *table, u unconfirmed) {
	if u.empty() {
		return
	}
	ids := u.resend.Clone()
	if u.unanswered != nil {
		// What did not change and is not due, Envoy has: it told so.
		ids.Or(roaring.And(u.unanswered, ts.toSend))
	}
	for it := ids.Iterator(); it.HasNext(); {
		if id := it.Next(); ts.subscribesTo(id) {
			ts.maybeInEnvoy.Add(id)
			ts.due(t, id)
		}
	}
}

// shareUnconfirmed hands what is unconfirmed, when a stream ends, to the other streams of the
// Envoy: it may have come again before Relay saw the end of the first stream. It is called
// under the store's lock.
func (s *Store) shareUnconfirmed(node string, t Type, u unconfirmed) {
	if u.empty() || node == "" {
		return
	}
	table := &s.tables[t]
	changed := u.withChanged(table)
	for session := range s.sessions {
		if session.envoy.id != node {
			continue
		}
		session.locked(func() {
			if ts := &session.types[t]; ts.subscribed {
				ts.resendUnconfirmed(table, changed)
			}
		})
		session.notify()
	}
}

// keep remembers what is unconfirmed when the stream of an Envoy ends. The sets must not be
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
		// Two streams ended, or the second one did not get as far as this type: all is sent
		// again, whenever it was sent.
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

// take returns what is unconfirmed for an Envoy that comes again, and forgets it.
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

// addUsedIDs adds the ids of a type that must not be given to other names.
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
