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

// envoyConns are the connections of Envoys.
type envoyConns struct {
	budget   *budget
	refusals *guard.Log
	// limit is how long one large request may take.
	limit time.Duration
	// use marks the connection of a remote address as in use until done is called.
	use func(remote string) (done func())

	mu    sync.Mutex
	conns map[string]*envoyConn // by remote address
}

// envoyConn is a connection of an Envoy. It reads a large request when the budget has memory
// for it, and not before: gRPC reads whole messages.
type envoyConn struct {
	net.Conn
	conns  *envoyConns
	remote string
	frames frames
	// unread was read from the connection and is not handed to gRPC yet.
	unread []byte
	closed chan struct{}
	once   sync.Once
	// sending is set while the client is sent a response. It may leave that unread.
	sending atomic.Bool

	mu      sync.Mutex
	streams int
	// lasting are the streams that are not of Server.PerRequest.
	lasting int
	// reservations are those of requests that are not handled yet.
	reservations []*reservation
	// waited is how long the connection waited for memory before, and waitingSince when it
	// began to wait again; zero if it does not wait.
	waited       time.Duration
	waitingSince time.Time
}

// add returns an envoyConn for a connection that has got through the handshakes.
func (all *envoyConns) add(conn net.Conn) *envoyConn {
	c := &envoyConn{Conn: conn, conns: all, remote: conn.RemoteAddr().String(), closed: make(chan struct{})}
	c.frames = newFrames(c.received, c.release)
	all.mu.Lock()
	defer all.mu.Unlock()
	all.conns[c.remote] = c
	return c
}

// ofStream returns the connection of a stream, by remote address. Done is to be called at the
// end of the stream. The connection is nil if it is not known.
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

// streamEnded gives back the memory of requests that no stream will handle any more.
func (c *envoyConn) streamEnded() {
	c.mu.Lock()
	var left []*reservation
	if c.streams--; c.streams == 0 {
		for _, r := range c.reservations {
			// A request that waits is of a stream that begins.
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

// Read reads until a large request begins, and waits there for memory.
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

// reserve returns when there is memory for a request.
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

// received notes that n more bytes of a request were read. It returns when more may be read.
func (c *envoyConn) received(r *reservation, n int) {
	if resumed := c.conns.budget.receive(r, n); resumed != nil {
		c.wait(resumed)
	}
}

// wait waits until a channel is closed. It reports false if the connection is closed before.
func (c *envoyConn) wait(until <-chan struct{}) bool {
	c.mu.Lock()
	c.waitingSince = time.Now()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waited, c.waitingSince = c.waited+time.Since(c.waitingSince), time.Time{}
	}()
	select {
	case <-until:
		return true
	case <-c.closed:
		return false
	}
}

// expire ends a request that took too long: it gives back the memory if the request is whole,
// and closes the connection if not.
func (c *envoyConn) expire(r *reservation) {
	if c.conns.budget.complete(r) {
		c.release(r)
		return
	}
	c.closeSlow(fmt.Sprintf("a request did not come within %s", c.conns.limit))
}

// release gives back the memory of a request. A second call, and one with nil, do nothing.
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

// assign finds the reservation of a request that a stream has got. Any reservation of the same
// size will do, if its request is whole: one that still comes is of another stream.
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

// whileSending notes that the client is sent a response while f runs.
func (c *envoyConn) whileSending(f func() error) error {
	if c != nil {
		c.sending.Store(true)
		defer c.sending.Store(false)
	}
	return f()
}

// waitingTime returns how long the connection has waited for memory so far.
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

// closeSlow closes the connection of a client for which others wait.
func (c *envoyConn) closeSlow(reason string) {
	c.conns.refusals.Refuse(c.remote, guard.Refusal{Kind: guard.Silent, Reason: reason + ": see its link, and how busy it is"})
	_ = c.Close()
}

// Close closes the connection and gives back its memory.
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
