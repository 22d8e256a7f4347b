package xds

import (
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
)

// maxDoubts is of how many Envoys that are away it is remembered what they may have.
const maxDoubts = 2000

// doubts remembers what Envoys may have without telling, or tell of without having it: parts
// of responses that they rejected or acknowledged unread, or whose answer did not come
// before their stream ended. When such an Envoy
// comes again it tells of the versions before. Should what it was sent have been
// deleted meanwhile, or be as it was before, nothing would be due.
type doubts struct {
	mu sync.Mutex
	of map[string]*[numTypes]doubt // by node id
}

// doubt is what one Envoy may have of one type.
type doubt struct {
	// parts were in rejected responses, sent in one that was not answered.
	parts, sent *roaring.Bitmap
	// revision is that of the unanswered response: what did not change since is told
	// of, or due.
	revision uint64
}

func (d doubt) empty() bool {
	return (d.parts == nil || d.parts.IsEmpty()) && (d.sent == nil || d.sent.IsEmpty())
}

// doubt returns what the Envoy may have without telling.
func (w *watch) doubt() doubt {
	d := doubt{parts: roaring.Or(w.unsure, w.unread)}
	for _, b := range w.retry {
		d.parts.Or(b.set)
		d.parts.Or(b.gone)
	}
	if f := w.flight; f != nil {
		d.parts.Or(f.gone)
		if f.lastGood != nil {
			d.parts.Or(f.lastGood)
		}
		d.sent, d.revision = f.set, f.revision
	}
	return d
}

// aged returns the doubt with all of sent that changed since among its parts: it may be
// as it was before, and Envoy tell of that.
func (d doubt) aged(t *table) doubt {
	if d.empty() || d.sent == nil {
		return d
	}
	d.parts = d.parts.Clone()
	for it := d.sent.Iterator(); it.HasNext(); {
		if id := it.Next(); t.entries[id].revision > d.revision {
			d.parts.Add(id)
		}
	}
	return d
}

// dispel makes due what is to be made sure, of an aged doubt.
func (w *watch) dispel(t *table, d doubt) {
	if d.empty() {
		return
	}
	ids := d.parts.Clone()
	if d.sent != nil {
		// What did not change, and Envoy told of, it has as it is.
		ids.Or(roaring.And(d.sent, w.set))
	}
	for it := ids.Iterator(); it.HasNext(); {
		if id := it.Next(); w.wants(id) {
			w.unsure.Add(id)
			w.due(t, id)
		}
	}
}

// share tells the other streams of an Envoy what is in doubt when one ends: it may have
// come again before the end of the first was seen. It is called under the store's lock.
func (s *Store) share(node string, t Type, d doubt) {
	if d.empty() || node == "" {
		return
	}
	table := &s.tables[t]
	aged := d.aged(table)
	for session := range s.sessions {
		if session.envoy.node != node {
			continue
		}
		session.locked(func() {
			if w := &session.watches[t]; w.subscribed {
				w.dispel(table, aged)
			}
		})
		session.notify()
	}
}

// keep remembers what is in doubt for an Envoy whose stream ends. The sets must not be
// changed any more.
func (d *doubts) keep(node string, t Type, later doubt) {
	if later.empty() || node == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	types := d.of[node]
	if types == nil {
		for other := range d.of {
			if len(d.of) < maxDoubts {
				break
			}
			delete(d.of, other)
		}
		types = new([numTypes]doubt)
		d.of[node] = types
	}
	if before := types[t]; !before.empty() {
		// Two streams ended, or one that did not get as far as this type: whenever it
		// was sent, it is in doubt.
		later.parts.Or(before.parts)
		for _, sent := range []*roaring.Bitmap{before.sent, later.sent} {
			if sent != nil {
				later.parts.Or(sent)
			}
		}
		later.sent = nil
	}
	types[t] = later
}

// take returns what is in doubt for an Envoy that comes again.
func (d *doubts) take(node string, t Type) doubt {
	d.mu.Lock()
	defer d.mu.Unlock()
	types := d.of[node]
	if types == nil {
		return doubt{}
	}
	taken := types[t]
	types[t] = doubt{}
	if *types == [numTypes]doubt{} {
		delete(d.of, node)
	}
	return taken
}

// use adds the ids of a type that must not be given to other names.
func (d *doubts) use(t Type, used *roaring.Bitmap) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, types := range d.of {
		for _, ids := range []*roaring.Bitmap{types[t].parts, types[t].sent} {
			if ids != nil {
				used.Or(ids)
			}
		}
	}
}
