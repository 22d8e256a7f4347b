package xds

import (
	"container/list"
	"errors"
	"sync"
	"time"
)

const (
	// smallRequest is the size up to which a request is read at once, in bytes. Requests of
	// Envoys that are current are far smaller.
	smallRequest = 16 << 10
	// maxPromptBytes bounds the large requests that are read or handled at the same time, in
	// bytes. A larger one is read alone.
	maxPromptBytes = 12 << 20
	// maxSlowBytes bounds what was received of requests that were too slow while others
	// waited, in bytes.
	maxSlowBytes = 32 << 20
	// A request is too slow if it takes longer than baseTime, and its bytes at minSpeed
	// (in bytes a second).
	baseTime = 50 * time.Millisecond
	minSpeed = 1 << 20
	// stuckLimit is how long a request may bring less than minProgress bytes while others wait
	// for it.
	stuckLimit  = 5 * time.Second
	minProgress = 64 << 10
	// unreadLimit is how long an Envoy may leave a response unread while others wait for its
	// request.
	unreadLimit = 30 * time.Second
	// deliveryLimit is how long gRPC may take to hand a received request to its stream, if the
	// stream is free. What takes longer belongs to no stream: gRPC has dropped it, or never
	// took it.
	deliveryLimit = time.Second
)

// budget bounds the memory that large requests take. When a Relay starts, all Envoys of a fleet
// come at once, each with lists of all that it has. To read them all and let them wait would
// take gigabytes. So a connection reads a large request when there is memory for all of it, in
// the order in which the requests came. Until then the request stays at the Envoy.
//
// A request is prompt at first. If it is too slow while others wait, it becomes a slow one. A
// prompt request takes memory for its whole size, a slow one for what was received. When slow
// requests have taken all of their memory, only the one of which most was received is read
// further, and the others pause. Requests that are stuck while others wait are disconnected.
// The memory of a request that no stream takes is given back.
type budget struct {
	mu sync.Mutex
	// waiters is how many may wait, and waitersPerHost how many of one host.
	waiters, waitersPerHost int

	waiting      list.List // of *reservation
	hosts        map[string]int
	prompt, slow map[*reservation]struct{}
	promptBytes  int // the sizes of the prompt requests
	slowBytes    int // what was received of the slow ones
	paused       int // how many of the slow ones pause
	timer        *time.Timer
	stuck        []*reservation // whose connections are to be closed
}

// reservation is the memory for one request.
type reservation struct {
	host string
	size int // of the request, in bytes
	// stalled tells whether the client leaves a response unread: its request waits for that.
	stalled func() bool
	// close closes the connection.
	close   func()
	granted chan struct{} // closed when there is memory

	// What follows is the connection's.
	doneUsing func() // ends guard.Listener.Use
	expire    *time.Timer
	// assigned is set when a stream has got the request.
	assigned bool

	// What follows is guarded by the budget's mu.
	queued    *list.Element // while it waits
	grantedAt time.Time
	received  int
	// progressBytes is how much was received at progressAt, when there was progress last.
	progressBytes int
	progressAt    time.Time
	completeAt    time.Time     // when all of it was received
	delivered     bool          // to the stream, which handles it
	resumed       chan struct{} // closed when a pause ends; nil if there is no pause
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

// setLimits lets as many requests wait as there may be streams.
func (b *budget) setLimits(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters, b.waitersPerHost = l.Streams, l.StreamsPerAddress
}

// reserve asks for memory. See reservation.granted for when there is.
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

// release gives back the memory of a request, or its place if it waits.
func (b *budget) release(r *reservation) { b.change(func() { b.drop(r) }) }

// setDelivered notes that a stream has got a request and handles it.
func (b *budget) setDelivered(r *reservation) { b.change(func() { r.delivered = true }) }

// complete reports whether all of a request was received.
func (b *budget) complete(r *reservation) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.complete()
}

// change makes a change, and grants the memory that there is then.
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

// grant gives memory to those that wait.
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

// moveSlow makes slow requests of the prompt ones that are too slow, unless the server is busy
// with others.
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

// closeStuck drops requests that are stuck.
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

// resumePaused resumes slow requests if there is memory for them. Else it resumes the one of
// which most was received, and drops that if it is stuck.
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

// resume ends the pause of a slow request.
func (b *budget) resume(r *reservation, now time.Time) {
	if r.resumed != nil {
		r.markProgress(now)
		close(r.resumed)
		r.resumed = nil
		b.paused--
	}
}

// stopWaiting takes a request out of those that wait.
func (b *budget) stopWaiting(r *reservation) {
	b.waiting.Remove(r.queued)
	r.queued = nil
	if b.hosts[r.host]--; b.hosts[r.host] == 0 {
		delete(b.hosts, r.host)
	}
}

// drop forgets a request, and gives back its memory.
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

// serverBusy reports whether any of the requests waits for Relay, and not for its client.
func serverBusy(requests map[*reservation]struct{}, now time.Time) bool {
	for r := range requests {
		if r.complete() && !r.stalled() && (r.delivered || now.Sub(r.completeAt) < deliveryLimit) {
			return true
		}
	}
	return false
}

func (r *reservation) complete() bool { return r.received >= r.size }

// bytes is what a prompt request takes of maxPromptBytes.
func (r *reservation) bytes() int { return min(r.size, maxPromptBytes) }

func (r *reservation) markProgress(now time.Time) { r.progressBytes, r.progressAt = r.received, now }

// isStuck reports whether a request that may be read makes no progress, or cannot be handled
// since its Envoy leaves a response unread.
func (r *reservation) isStuck(now time.Time) bool {
	if r.complete() {
		return r.stalled() && now.Sub(r.completeAt) >= unreadLimit
	}
	return r.resumed == nil && now.Sub(r.progressAt) >= stuckLimit
}
