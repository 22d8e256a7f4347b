package xds

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"relay/internal/guard"
)

// inflows are the connections of Envoys, by remote address.
type envoyConns struct {
	budget   *budget
	refusals *guard.Log
	// limit is how long one large request may take.
	limit time.Duration
	// use marks the connection of a remote address as in use until done is called.
	use func(remote string) (done func())

	mu    sync.Mutex
	conns map[string]*envoyConn
}

// inflow is a connection that reads a large request when there is room for it,
// and not before: gRPC reads whole messages.
type envoyConn struct {
	net.Conn
	conns  *envoyConns
	remote string
	frames frames
	// rest was read from the connection and is not handed on yet.
	unread []byte
	closed chan struct{}
	once   sync.Once
	// sending is set while the client is sent a response, which it may leave
	// unread.
	sending atomic.Bool

	mu      sync.Mutex
	streams int
	// open is the room of requests that are not dealt with.
	reservations []*reservation
	// waited is how long it waited for room, and since is when it began to wait
	// again; zero if it does not.
	waited       time.Duration
	waitingSince time.Time
}

// add makes an inflow of a connection that has got through the handshakes.
func (all *envoyConns) add(conn net.Conn) *envoyConn {
	c := &envoyConn{Conn: conn, conns: all, remote: conn.RemoteAddr().String(), closed: make(chan struct{})}
	c.frames = newFrames(c.received, c.release)
	all.mu.Lock()
	defer all.mu.Unlock()
	all.conns[c.remote] = c
	return c
}

// stream returns the connection of a stream; done is called at its end.
func (all *envoyConns) ofStream(remote string) (c *envoyConn, done func()) {
	if all == nil {
		return nil, func() {}
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	if c = all.conns[remote]; c == nil {
		return nil, func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams++
	return c, c.streamEnded
}

// streamEnded drops what nobody will deal with any more.
func (c *envoyConn) streamEnded() {
	c.mu.Lock()
	var left []*reservation
	if c.streams--; c.streams == 0 {
		for _, r := range c.reservations {
			// One that waits is of a stream that begins.
			if isGranted(r) {
				left = append(left, r)
			}
		}
	}
	c.mu.Unlock()
	for _, r := range left {
		c.release(r)
	}
}

func isGranted(r *reservation) bool {
	select {
	case <-r.granted:
		return true
	default:
		return false
	}
}

// Read reads until a large request begins, and waits there for its room.
func (c *envoyConn) Read(p []byte) (n int, err error) {
	if len(c.unread) > 0 {
		n = copy(p, c.unread)
		if c.unread = c.unread[n:]; len(c.unread) == 0 {
			c.unread = nil
		}
	} else if n, err = c.Conn.Read(p); n == 0 {
		return 0, err
	}
	for at := 0; ; {
		k, size, e := c.frames.scan(p[at:n])
		at += k
		if e == nil {
			return n, err
		}
		if e == errLarge && at > 0 {
			c.unread = slices.Concat(p[at:n], c.unread)
			return at, nil
		}
		if e == errLarge {
			c.frames.reservation, e = c.reserve(size)
		}
		if e != nil {
			return 0, e
		}
	}
}

// reserve returns when there is room for a request.
func (c *envoyConn) reserve(size int) (*reservation, error) {
	host, _, _ := net.SplitHostPort(c.remote)
	r := &reservation{
		host: host, size: size, granted: make(chan struct{}), stalled: c.sending.Load,
		close:     func() { c.closeSlow("its request came too slowly while others waited") },
		doneUsing: c.conns.use(c.remote),
	}
	c.mu.Lock()
	c.reservations = append(c.reservations, r)
	c.mu.Unlock()
	if err := c.conns.budget.reserve(r); err != nil {
		c.conns.refusals.Refuse(c.remote, guard.Refusal{Kind: guard.TooMany, Reason: "more Envoys wait with large requests " +
			"than may be connected: see what connects so often"})
		return nil, errors.Join(err, c.Close())
	}
	if !c.wait(r.granted) {
		c.release(r)
		return nil, net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.expire = time.AfterFunc(c.conns.limit, func() { c.expire(r) })
	return r, nil
}

// received notes that more of a request was read. It returns when it may be read
// further.
func (c *envoyConn) received(r *reservation, n int) {
	if resumed := c.conns.budget.receive(r, n); resumed != nil {
		c.wait(resumed)
	}
}

// wait waits for its turn; it reports false if the connection is closed before.
func (c *envoyConn) wait(turn <-chan struct{}) bool {
	c.mu.Lock()
	c.waitingSince = time.Now()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waited, c.waitingSince = c.waited+time.Since(c.waitingSince), time.Time{}
	}()
	select {
	case <-turn:
		return true
	case <-c.closed:
		return false
	}
}

// expire ends a request that takes too long.
func (c *envoyConn) expire(r *reservation) {
	if c.conns.budget.complete(r) {
		c.release(r)
		return
	}
	c.closeSlow(fmt.Sprintf("a request did not come within %s", c.conns.limit))
}

// release gives back the room of a request, if it has any, once.
func (c *envoyConn) release(r *reservation) {
	if r == nil {
		return
	}
	c.mu.Lock()
	at := slices.Index(c.reservations, r)
	if at >= 0 {
		c.reservations = slices.Delete(c.reservations, at, at+1)
	}
	expire := r.expire
	c.mu.Unlock()
	if at < 0 {
		return
	}
	if expire != nil {
		expire.Stop()
	}
	c.conns.budget.release(r)
	r.doneUsing()
}

// taken finds the room of a request that a stream has got. Those of the same size
// that are whole are alike; one that still comes, on another stream, is not.
func (c *envoyConn) assign(req *request) {
	if c == nil || req.size <= smallRequest {
		return
	}
	c.mu.Lock()
	at := slices.IndexFunc(c.reservations, func(r *reservation) bool {
		return r.size == req.size && !r.assigned && c.conns.budget.complete(r)
	})
	if at >= 0 {
		req.reservation = c.reservations[at]
		req.reservation.assigned = true
	}
	c.mu.Unlock()
	if req.reservation != nil {
		c.conns.budget.setDelivered(req.reservation)
	}
}

// during notes that the client is sent a response while f runs.
func (c *envoyConn) whileSending(f func() error) error {
	if c != nil {
		c.sending.Store(true)
		defer c.sending.Store(false)
	}
	return f()
}

// waiting returns how long the connection has waited for room so far.
func (c *envoyConn) waitingTime() time.Duration {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waitingSince.IsZero() {
		return c.waited
	}
	return c.waited + time.Since(c.waitingSince)
}

// drop closes the connection of a client that is in the way of others.
func (c *envoyConn) closeSlow(reason string) {
	c.conns.refusals.Refuse(c.remote, guard.Refusal{Kind: guard.Silent, Reason: reason + ": see its link, and how busy it is"})
	_ = c.Close()
}

// Close closes the connection and gives back its room.
func (c *envoyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.conns.mu.Lock()
	if c.conns.conns[c.remote] == c {
		delete(c.conns.conns, c.remote)
	}
	c.conns.mu.Unlock()
	c.mu.Lock()
	left := slices.Clone(c.reservations)
	c.mu.Unlock()
	for _, r := range left {
		c.release(r)
	}
	return c.Conn.Close()
}
