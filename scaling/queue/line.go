package queue

import (
	"container/heap"
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// line has the requests of one app port: those in progress at each instance, and those that wait,
// in order of arrival. Its lock is for this app port alone.
type line struct {
	mu   sync.Mutex
	port Port
	// instances are those that take requests, and those that are gone and have some in progress.
	instances map[netip.AddrPort]*instance
	// free are those that take requests, the least loaded first.
	free instances
	// waiting are tickets.
	waiting list.List
	// inProgress counts requests at instances, and turn the requests so far.
	inProgress int
	turn       uint64
	// closed is set when nobody needs the line any more.
	closed bool
}

// instance is one address of the port.
type instance struct {
	address    netip.AddrPort
	inProgress int
	// used is the turn at which it got its last request.
	used uint64
	// since is when it appeared; zero for those that were there before the line was.
	since time.Time
	// index is its place in line.free; -1 while it takes no requests.
	index int
}

// verdict says what becomes of a request.
type verdict uint8

const (
	// wait has the request wait for its ticket's verdict.
	wait verdict = iota
	// granted lets it go to the instance of its ticket.
	granted
	// through lets it go to any instance, uncounted.
	through
	// busy refuses it.
	busy
	// gone says that the line is closed: there may be another.
	gone
)

// ticket is of a request that is in the line.
type ticket struct {
	line *line
	// verdict gets granted or through, once, if the ticket has to wait.
	verdict chan verdict
	// element is its place among those that wait, and at where it is in progress. One of them is set.
	element *list.Element
	at      *instance
	// address is that of the instance, and since when it has been there.
	address netip.AddrPort
	since   time.Time
	arrived time.Time
}

// newLine returns a line for a port. The instances that are there now count as known to all Envoys.
func newLine(port Port) *line {
	l := &line{instances: make(map[netip.AddrPort]*instance)}
	l.set(port, time.Time{})
	return l
}

// enter takes in a request. The ticket is set if the verdict is wait or granted, and is to be
// left then.
func (l *line) enter(now time.Time) (*ticket, verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, gone
	case !l.limits():
		return nil, through
	case l.waiting.Len() == 0 && l.hasRoom():
		t := &ticket{line: l, arrived: now}
		l.assign(t)
		return t, granted
	case l.waiting.Len() >= l.port.Queue.Length:
		return nil, busy
	}
	t := &ticket{line: l, arrived: now, verdict: make(chan verdict, 1)}
	t.element = l.waiting.PushBack(t)
	return t, wait
}

// limits reports whether requests are counted. An app that nobody runs answers nobody: Envoy says so.
func (l *line) limits() bool {
	return l.port.Queue != nil && (len(l.free) > 0 || !l.port.Stopped)
}

func (l *line) hasRoom() bool {
	return len(l.free) > 0 && l.free[0].inProgress < l.port.Queue.Concurrency
}

// assign gives a request to the least loaded instance.
func (l *line) assign(t *ticket) {
	l.turn++
	i := l.free[0]
	t.at, t.address, t.since = i, i.address, i.since
	i.used = l.turn
	i.inProgress++
	l.inProgress++
	heap.Fix(&l.free, 0)
}

// leave ends a request, wherever it is. A ticket is left once.
func (t *ticket) leave() {
	l := t.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.element != nil {
		l.waiting.Remove(t.element)
		t.element = nil
		return
	}
	i := t.at
	if i == nil {
		return
	}
	t.at = nil
	i.inProgress--
	l.inProgress--
	switch {
	case i.index >= 0:
		heap.Fix(&l.free, i.index)
	case i.inProgress == 0:
		delete(l.instances, i.address)
	}
	l.dispatch()
}

// giveUp takes a request that has waited too long out of the line. It returns busy, or what was
// decided in this moment. Without any instance Envoy says why there is none.
func (t *ticket) giveUp() verdict {
	l := t.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.element == nil {
		return <-t.verdict
	}
	l.waiting.Remove(t.element)
	t.element = nil
	if len(l.free) == 0 {
		return through
	}
	return busy
}

// dispatch lets those go that can, in order of arrival.
func (l *line) dispatch() {
	for l.waiting.Len() > 0 {
		limits := l.limits()
		if limits && !l.hasRoom() {
			return
		}
		t := l.waiting.Remove(l.waiting.Front()).(*ticket)
		t.element = nil
		if !limits {
			t.verdict <- through
			continue
		}
		l.assign(t)
		t.verdict <- granted
	}
}

// set takes over how the port is now. What is in progress at an instance counts on, also if the
// instance is gone and comes back.
func (l *line) set(port Port, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.port = port
	l.closed = l.closed || port.Queue == nil
	there := make(map[netip.AddrPort]bool, len(port.Endpoints))
	for _, address := range port.Endpoints {
		there[address] = true
		i := l.instances[address]
		if i == nil {
			i = &instance{address: address, index: -1}
			l.instances[address] = i
		}
		if i.index < 0 {
			i.since = now
			heap.Push(&l.free, i)
		}
	}
	for address, i := range l.instances {
		if there[address] {
			continue
		}
		if i.index >= 0 {
			heap.Remove(&l.free, i.index)
		}
		if i.inProgress == 0 {
			delete(l.instances, address)
		}
	}
	l.dispatch()
}

// close closes the line if it has had no request since a turn, and none is in it. It returns the
// present turn.
func (l *line) close(since uint64) (turn uint64, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = l.closed || l.turn == since && l.inProgress == 0 && l.waiting.Len() == 0
	return l.turn, l.closed
}

// depth returns how many are in the line.
func (l *line) depth() Depth {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Depth{Waiting: l.waiting.Len(), InProgress: l.inProgress, Instances: len(l.free)}
	if d.Waiting > 0 {
		d.Oldest = l.waiting.Front().Value.(*ticket).arrived
	}
	return d
}

// instances is a heap: the instance with the fewest requests first, and of those with as many the
// one that has had none for the longest.
type instances []*instance

// Len implements heap.Interface, as the others do.
func (h instances) Len() int { return len(h) }

// Less orders instances.
func (h instances) Less(i, j int) bool {
	if h[i].inProgress != h[j].inProgress {
		return h[i].inProgress < h[j].inProgress
	}
	return h[i].used < h[j].used
}

// Swap swaps two instances.
func (h instances) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push adds an instance.
func (h *instances) Push(x any) {
	i := x.(*instance)
	i.index = len(*h)
	*h = append(*h, i)
}

// Pop removes the last instance.
func (h *instances) Pop() any {
	last := len(*h) - 1
	i := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	i.index = -1
	return i
}
