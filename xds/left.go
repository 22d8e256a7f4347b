package xds

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// leftFor is how long an Envoy is told of that has left, and maxLeft of how many: the last ones.
	leftFor = time.Hour
	maxLeft = 1000
)

// Left is an Envoy that was connected, and is not any more.
type Left struct {
	// StreamStatus is without Types.
	StreamStatus
	At time.Time
}

// leavers are the Envoys that have left lately.
type leavers struct {
	mu   sync.Mutex
	last map[node]Left
}

// left notes that the last stream of an Envoy has ended.
func (l *leavers) left(info StreamStatus, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[node]Left)
	}
	l.last[node{info.Fleet, info.NodeID}] = Left{info, now}
	if len(l.last) <= maxLeft {
		return
	}
	var oldest node
	at := now
	for n, one := range l.last {
		if !one.At.After(at) {
			oldest, at = n, one.At
		}
	}
	delete(l.last, oldest)
}

// back notes that an Envoy is connected again.
func (l *leavers) back(info StreamStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.last, node{info.Fleet, info.NodeID})
}

// Left returns the Envoys that were connected within the last hour and are not now, by fleet and
// node id.
func (s *Server) Left() (all []Left) {
	l := &s.leavers
	now := time.Now()
	l.mu.Lock()
	for n, one := range l.last {
		if now.Sub(one.At) < leftFor {
			all = append(all, one)
		} else {
			delete(l.last, n)
		}
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b Left) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.NodeID, b.NodeID))
	})
	return all
}
