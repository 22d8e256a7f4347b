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
	maxPromptBytes = 12 << 20
	// slowRoom is how many bytes of requests there may be beside those, of
	// Envoys that were too slow while others waited.
	maxSlowBytes = 32 << 20
	// headStart and minSpeed, in bytes/s, tell who is too slow.
	baseTime = 50 * time.Millisecond
	minSpeed = 1 << 20
	// patience is how long one for which others are held up may send less than
	// minProgress bytes, and busyEnvoy how long its Envoy may leave a response unread.
	stuckLimit  = 5 * time.Second
	unreadLimit = 30 * time.Second
	minProgress = 64 << 10
	// maxUntaken is how long what was received may take to get to its stream, if
	// the stream is free. What takes longer belongs to no stream: gRPC has dropped
	// it, or never took it.
	deliveryLimit = time.Second
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
	paused       int // how many of the slow are held up
	timer        *time.Timer
	stuck        []*reservation // to be closed
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
	doneUsing func()
	expire    *time.Timer
	// assigned is set when a stream has got the request.
	assigned bool

	// What follows is guarded by the budget's mu.
	queued    *list.Element // while it waits
	grantedAt time.Time     // when it was granted
	received  int
	// marked is how much was received at markedAt, when it last made progress.
	progressBytes int
	progressAt    time.Time
	completeAt    time.Time     // when all of it was received
	delivered     bool          // by the stream, which deals with it
	resumed       chan struct{} // closed when it is not held up any more; nil if it is not
}

var errTooManyWaiting = errors.New("too many Envoys wait with large requests")

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
func (b *budget) setLimits(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters, b.waitersPerHost = l.Streams, l.StreamsPerAddress
}

// reserve asks for room.
func (b *budget) reserve(r *reservation) (err error) {
	b.change(func() {
		if b.waiting.Len() >= b.waiters || b.hosts[r.host] >= b.waitersPerHost {
			err = errTooManyWaiting
			return
		}
		b.hosts[r.host]++
		r.queued = b.waiting.PushBack(r)
	})
	return err
}

// receive notes that n more bytes of the request were read. No more may be read
// before the channel that it returns is closed, if there is one.
func (b *budget) receive(r *reservation, n int) (resumed <-chan struct{}) {
	b.change(func() {
		now := time.Now()
		if r.received += n; r.received-r.progressBytes >= minProgress {
			r.markProgress(now)
		}
		if r.complete() && r.completeAt.IsZero() {
			r.completeAt = now
		}
		if _, slow := b.slow[r]; !slow {
			return
		}
		b.slowBytes += n
		if b.slowBytes > maxSlowBytes && !r.complete() && r.resumed == nil {
			r.resumed = make(chan struct{})
			b.paused++
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.resumed
}

// release gives back the room, or the place of one that waits.
func (b *budget) release(r *reservation) { b.change(func() { b.drop(r) }) }

// take notes that a stream has got a request and deals with it.
func (b *budget) setDelivered(r *reservation) { b.change(func() { r.delivered = true }) }

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
	b.grant(now)
	b.resumePaused(now)
	stuck := b.stuck
	b.stuck = nil
	waiting := b.waiting.Len() > 0 || b.paused > 0
	if waiting {
		b.timer.Reset(baseTime)
	} else {
		b.timer.Stop()
	}
	b.mu.Unlock()
	if waiting {
		garbage.limit()
	}
	for _, r := range stuck {
		r.close()
	}
}

// lend grants room to those that wait.
func (b *budget) grant(now time.Time) {
	for b.waiting.Len() > 0 {
		r := b.waiting.Front().Value.(*reservation)
		if b.promptBytes+r.bytes() > maxPromptBytes {
			b.moveSlow(now)
		}
		if b.promptBytes+r.bytes() > maxPromptBytes {
			return
		}
		b.stopWaiting(r)
		r.grantedAt = now
		r.markProgress(now)
		b.prompt[r] = struct{}{}
		b.promptBytes += r.bytes()
		close(r.granted)
	}
}

// putAside makes room of those that are too slow, unless others that are not keep
// the server busy.
func (b *budget) moveSlow(now time.Time) {
	if serverBusy(b.prompt, now) || serverBusy(b.slow, now) {
		return
	}
	for _, all := range []map[*reservation]struct{}{b.prompt, b.slow} {
		for r := range all {
			if r.complete() && !r.delivered && !r.stalled() {
				b.drop(r)
			}
		}
	}
	for r := range b.prompt {
		due := baseTime + time.Duration(float64(r.received)/minSpeed*float64(time.Second))
		if now.Sub(r.grantedAt) < due {
			continue
		}
		if b.slowBytes > maxSlowBytes {
			b.closeStuck(now)
			return
		}
		delete(b.prompt, r)
		b.promptBytes -= r.bytes()
		b.slow[r] = struct{}{}
		b.slowBytes += r.received
	}
}

// closeStill drops those that stand still in front of others, when there is no
// room left to put them aside.
func (b *budget) closeStuck(now time.Time) {
	for _, all := range []map[*reservation]struct{}{b.prompt, b.slow} {
		for r := range all {
			if r.isStuck(now) {
				b.drop(r)
				b.stuck = append(b.stuck, r)
			}
		}
	}
}

// goOn lets those go on that may. One that stands still in front of others is
// dropped.
func (b *budget) resumePaused(now time.Time) {
	if b.paused == 0 {
		return
	}
	if b.slowBytes <= maxSlowBytes {
		for r := range b.slow {
			b.resume(r, now)
		}
		return
	}
	if serverBusy(b.slow, now) {
		return
	}
	var most *reservation
	for r := range b.slow {
		if !r.complete() && (most == nil || r.received > most.received) {
			most = r
		}
	}
	if b.resume(most, now); most.isStuck(now) {
		b.drop(most)
		b.stuck = append(b.stuck, most)
	}
}

func (b *budget) resume(r *reservation, now time.Time) {
	if r.resumed != nil {
		r.markProgress(now)
		close(r.resumed)
		r.resumed = nil
		b.paused--
	}
}

func (b *budget) stopWaiting(r *reservation) {
	b.waiting.Remove(r.queued)
	r.queued = nil
	if b.hosts[r.host]--; b.hosts[r.host] == 0 {
		delete(b.hosts, r.host)
	}
}

func (b *budget) drop(r *reservation) {
	_, prompt := b.prompt[r]
	_, slow := b.slow[r]
	switch {
	case r.queued != nil:
		b.stopWaiting(r)
	case prompt:
		delete(b.prompt, r)
		b.promptBytes -= r.bytes()
	case slow:
		delete(b.slow, r)
		b.slowBytes -= r.received
		b.resume(r, time.Now())
	}
}

// anyDue reports whether it is up to the server to deal with any of the requests.
func serverBusy(requests map[*reservation]struct{}, now time.Time) bool {
	for r := range requests {
		if r.complete() && !r.stalled() && (r.delivered || now.Sub(r.completeAt) < deliveryLimit) {
			return true
		}
	}
	return false
}

func (r *reservation) complete() bool { return r.received >= r.size }

func (r *reservation) bytes() int { return min(r.size, maxPromptBytes) }

func (r *reservation) markProgress(now time.Time) { r.progressBytes, r.progressAt = r.received, now }

// still reports whether a request makes no progress though it may, or cannot be dealt
// with for long.
func (r *reservation) isStuck(now time.Time) bool {
	if r.complete() {
		return r.stalled() && now.Sub(r.completeAt) >= unreadLimit
	}
	return r.resumed == nil && now.Sub(r.progressAt) >= stuckLimit
}
