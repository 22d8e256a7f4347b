package xds

import (
	"container/list"
	"errors"
	"sync"
	"time"
)

const (
	// smallRequest is the size in bytes up to which a request is read at once:
	// those of Envoys that are current are far smaller.
	smallRequest = 16 << 10
	// promptRoom is how many bytes of large requests are read or dealt with at
	// the same time. A larger one is read alone.
	promptRoom = 12 << 20
	// slowRoom is how many bytes of requests there may be beside those, of
	// Envoys that were too slow while others waited.
	slowRoom = 32 << 20
	// headStart and minSpeed, in bytes/s, tell who is too slow.
	headStart = 50 * time.Millisecond
	minSpeed  = 1 << 20
	// patience is how long one for which others are held up may send less than
	// minProgress bytes, and busyEnvoy how long its Envoy may leave a response unread.
	patience    = 5 * time.Second
	busyEnvoy   = 30 * time.Second
	minProgress = 64 << 10
	// maxUntaken is how long what was received may take to get to its stream, if
	// the stream is free. What takes longer belongs to no stream: gRPC has dropped
	// it, or never took it.
	maxUntaken = time.Second
)

// budget bounds how much of large requests is in memory. When a Relay starts, all
// Envoys of a fleet come at once, each with lists of all that it has: to read them
// all and let them wait would take gigabytes. A connection reads a large request
// when there is room for all of it, in the order in which the Envoys came; until
// then the request stays where it is, at the Envoy.
//
// The room is for requests that come promptly. One that does not while others wait
// goes on beside, with room by what was received and not by what is still to come.
// When that is full, only the one of which most was received goes on, and the
// others are read no further; and those that stand still in front of others are
// disconnected. Room for what no stream takes is given back.
type budget struct {
	mu sync.Mutex
	// waiters is how many may wait, and waitersPerHost how many of one host.
	waiters, waitersPerHost int

	waiting      list.List // of *reservation
	hosts        map[string]int
	prompt, slow map[*reservation]struct{}
	promptBytes  int // lent
	slowBytes    int // received
	held         int // how many of the slow are held up
	timer        *time.Timer
	still        []*reservation // to be closed
}

// reservation is the room for one request.
type reservation struct {
	host string
	size int // of the request, in bytes
	// stalled tells whether the client leaves unread what it is sent, for which
	// its request waits, and close ends the connection of one in the way.
	stalled func() bool
	close   func()
	granted chan struct{} // closed when there is room

	// What the connection keeps.
	unuse  func()
	expire *time.Timer
	// assigned is set when a stream has got the request.
	assigned bool

	// What follows is guarded by the budget's mu.
	place    *list.Element // while it waits
	since    time.Time     // when it was granted
	received int
	// marked is how much was received at markedAt, when it last made progress.
	marked   int
	markedAt time.Time
	whole    time.Time     // when all of it was received
	taken    bool          // by the stream, which deals with it
	goOn     chan struct{} // closed when it is not held up any more; nil if it is not
}

var errCrowd = errors.New("too many Envoys wait with large requests")

func newBudget() *budget {
	b := &budget{
		hosts:  make(map[string]int),
		prompt: make(map[*reservation]struct{}), slow: make(map[*reservation]struct{}),
	}
	b.timer = time.AfterFunc(time.Hour, func() { b.change(func() {}) })
	b.timer.Stop()
	return b
}

// limit lets as many wait as may be connected.
func (b *budget) limit(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters, b.waitersPerHost = l.Streams, l.StreamsPerAddress
}

// reserve asks for room.
func (b *budget) reserve(r *reservation) (err error) {
	b.change(func() {
		if b.waiting.Len() >= b.waiters || b.hosts[r.host] >= b.waitersPerHost {
			err = errCrowd
			return
		}
		b.hosts[r.host]++
		r.place = b.waiting.PushBack(r)
	})
	return err
}

// receive notes that n more bytes of the request were read. No more may be read
// before the channel that it returns is closed, if there is one.
func (b *budget) receive(r *reservation, n int) (goOn <-chan struct{}) {
	b.change(func() {
		now := time.Now()
		if r.received += n; r.received-r.marked >= minProgress {
			r.mark(now)
		}
		if r.complete() && r.whole.IsZero() {
			r.whole = now
		}
		if _, slow := b.slow[r]; !slow {
			return
		}
		b.slowBytes += n
		if b.slowBytes > slowRoom && !r.complete() && r.goOn == nil {
			r.goOn = make(chan struct{})
			b.held++
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.goOn
}

// release gives back the room, or the place of one that waits.
func (b *budget) release(r *reservation) { b.change(func() { b.drop(r) }) }

// take notes that a stream has got a request and deals with it.
func (b *budget) take(r *reservation) { b.change(func() { r.taken = true }) }

// complete reports whether all of a request was received.
func (b *budget) complete(r *reservation) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.complete()
}

// change makes a change and lends the room that there is then.
func (b *budget) change(f func()) {
	b.mu.Lock()
	f()
	now := time.Now()
	b.lend(now)
	b.goOn(now)
	still := b.still
	b.still = nil
	crowd := b.waiting.Len() > 0 || b.held > 0
	if crowd {
		b.timer.Reset(headStart)
	} else {
		b.timer.Stop()
	}
	b.mu.Unlock()
	if crowd {
		garbage.crowd()
	}
	for _, r := range still {
		r.close()
	}
}

// lend grants room to those that wait.
func (b *budget) lend(now time.Time) {
	for b.waiting.Len() > 0 {
		r := b.waiting.Front().Value.(*reservation)
		if b.promptBytes+r.room() > promptRoom {
			b.putAside(now)
		}
		if b.promptBytes+r.room() > promptRoom {
			return
		}
		b.leave(r)
		r.since = now
		r.mark(now)
		b.prompt[r] = struct{}{}
		b.promptBytes += r.room()
		close(r.granted)
	}
}

// putAside makes room of those that are too slow, unless others that are not keep
// the server busy.
func (b *budget) putAside(now time.Time) {
	if anyDue(b.prompt, now) || anyDue(b.slow, now) {
		return
	}
	for _, all := range []map[*reservation]struct{}{b.prompt, b.slow} {
		for r := range all {
			if r.complete() && !r.taken && !r.stalled() {
				b.drop(r)
			}
		}
	}
	for r := range b.prompt {
		due := headStart + time.Duration(float64(r.received)/minSpeed*float64(time.Second))
		if now.Sub(r.since) < due {
			continue
		}
		if b.slowBytes > slowRoom {
			b.closeStill(now)
			return
		}
		delete(b.prompt, r)
		b.promptBytes -= r.room()
		b.slow[r] = struct{}{}
		b.slowBytes += r.received
	}
}

// closeStill drops those that stand still in front of others, when there is no
// room left to put them aside.
func (b *budget) closeStill(now time.Time) {
	for _, all := range []map[*reservation]struct{}{b.prompt, b.slow} {
		for r := range all {
			if r.still(now) {
				b.drop(r)
				b.still = append(b.still, r)
			}
		}
	}
}

// goOn lets those go on that may. One that stands still in front of others is
// dropped.
func (b *budget) goOn(now time.Time) {
	if b.held == 0 {
		return
	}
	if b.slowBytes <= slowRoom {
		for r := range b.slow {
			b.free(r, now)
		}
		return
	}
	if anyDue(b.slow, now) {
		return
	}
	var most *reservation
	for r := range b.slow {
		if !r.complete() && (most == nil || r.received > most.received) {
			most = r
		}
	}
	if b.free(most, now); most.still(now) {
		b.drop(most)
		b.still = append(b.still, most)
	}
}

func (b *budget) free(r *reservation, now time.Time) {
	if r.goOn != nil {
		r.mark(now)
		close(r.goOn)
		r.goOn = nil
		b.held--
	}
}

func (b *budget) leave(r *reservation) {
	b.waiting.Remove(r.place)
	r.place = nil
	if b.hosts[r.host]--; b.hosts[r.host] == 0 {
		delete(b.hosts, r.host)
	}
}

func (b *budget) drop(r *reservation) {
	_, prompt := b.prompt[r]
	_, slow := b.slow[r]
	switch {
	case r.place != nil:
		b.leave(r)
	case prompt:
		delete(b.prompt, r)
		b.promptBytes -= r.room()
	case slow:
		delete(b.slow, r)
		b.slowBytes -= r.received
		b.free(r, time.Now())
	}
}

// anyDue reports whether it is up to the server to deal with any of the requests.
func anyDue(requests map[*reservation]struct{}, now time.Time) bool {
	for r := range requests {
		if r.complete() && !r.stalled() && (r.taken || now.Sub(r.whole) < maxUntaken) {
			return true
		}
	}
	return false
}

func (r *reservation) complete() bool { return r.received >= r.size }

func (r *reservation) room() int { return min(r.size, promptRoom) }

func (r *reservation) mark(now time.Time) { r.marked, r.markedAt = r.received, now }

// still reports whether a request makes no progress though it may, or cannot be dealt
// with for long.
func (r *reservation) still(now time.Time) bool {
	if r.complete() {
		return r.stalled() && now.Sub(r.whole) >= busyEnvoy
	}
	return r.goOn == nil && now.Sub(r.markedAt) >= patience
}
