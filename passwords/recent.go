package passwords

import (
	"container/list"
	"time"
)

// recent is a set that forgets: what is old, and what was not looked up for longest when it is full.
type recent[K comparable] struct {
	limit int
	ttl   time.Duration
	of    map[K]*list.Element
	order list.List // of entry[K], the one looked up last in front
}

type entry[K comparable] struct {
	key   K
	until time.Time
}

func newRecent[K comparable](limit int, ttl time.Duration) *recent[K] {
	return &recent[K]{limit: limit, ttl: ttl, of: make(map[K]*list.Element)}
}

// has reports whether a key is in the set.
func (r *recent[K]) has(k K, now time.Time) bool {
	e := r.of[k]
	if e == nil {
		return false
	}
	if !now.Before(e.Value.(entry[K]).until) {
		r.remove(e)
		return false
	}
	r.order.MoveToFront(e)
	return true
}

// add adds a key, or has it stay for longer.
func (r *recent[K]) add(k K, now time.Time) {
	if e := r.of[k]; e != nil {
		r.remove(e)
	}
	for len(r.of) >= r.limit && r.order.Len() > 0 {
		r.remove(r.order.Back())
	}
	r.of[k] = r.order.PushFront(entry[K]{k, now.Add(r.ttl)})
}

func (r *recent[K]) remove(e *list.Element) {
	delete(r.of, r.order.Remove(e).(entry[K]).key)
}
