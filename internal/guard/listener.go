package guard

import (
	"container/list"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits bound the idle connections of a port. A connection is idle while no request on it is
// handled, whether or not it got through the TLS handshake.
type Limits struct {
	// First is how long a new connection may stay idle, and Idle how long one may that was in
	// use before; 0 leaves that to the server.
	First, Idle time.Duration
	// PerAddress and InAll are how many idle connections there may be, at least 2. The first
	// is for each address; of IPv6, for each /64.
	//
	// When there is one more, the oldest that was never in use is closed. A client that means
	// well is in use within milliseconds. So it gets in, however many clients say
	// nothing. Connections that were in use before may be half of the limit; when they are
	// more, the oldest of them is closed.
	PerAddress, InAll int
}

// Listener bounds the idle connections of a port, and closes those that are too many or idle for
// too long.
type Listener struct {
	net.Listener
	limits Limits
	log    *Log

	mu    sync.Mutex
	conns map[string]*conn // by remote address
	// idle has all idle connections, and idleByNetwork those of each network.
	idle          *queue
	idleByNetwork map[netip.Prefix]*queue
}

// conn is a connection.
type conn struct {
	net.Conn
	remote   string
	network  netip.Prefix
	listener *Listener

	// What follows is guarded by listener.mu. Uses counts the calls of Use that are not done.
	uses                     int
	used, closed             bool
	timer                    *time.Timer
	idleInAll, idleInNetwork *list.Element // set while it is idle
}

// queue holds idle connections, the oldest first: those that were never in use, and those that
// were in use before.
type queue struct{ neverUsed, usedBefore list.List }

// push adds a connection.
func (q *queue) push(c *conn) *list.Element {
	if c.used {
		return q.usedBefore.PushBack(c)
	}
	return q.neverUsed.PushBack(c)
}

// remove takes a connection out of the list in which it is.
func (q *queue) remove(e *list.Element) {
	q.neverUsed.Remove(e)
	q.usedBefore.Remove(e)
}

func (q *queue) len() int { return q.neverUsed.Len() + q.usedBefore.Len() }

// toClose returns the connection to close if there are more than the limit.
func (q *queue) toClose(limit int) *conn {
	switch {
	case q.len() <= limit:
		return nil
	case q.usedBefore.Len() > limit/2:
		return q.usedBefore.Front().Value.(*conn)
	}
	return q.neverUsed.Front().Value.(*conn)
}

// Listen bounds the idle connections of l. Log has those that are closed.
func Listen(l net.Listener, limits Limits, log *Log) *Listener {
	return &Listener{
		Listener: l, limits: limits, log: log,
		conns: make(map[string]*conn), idle: new(queue), idleByNetwork: make(map[netip.Prefix]*queue),
	}
}

// Accept waits for a connection, which is idle at first.
func (l *Listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, remote: accepted.RemoteAddr().String(), network: networkOf(accepted.RemoteAddr()), listener: l}
	l.mu.Lock()
	l.conns[c.remote] = c
	surplus := l.addIdle(c)
	l.mu.Unlock()
	l.closeSurplus(surplus)
	return c, nil
}

// Use marks the connection of a remote address as in use, until done is called.
func (l *Listener) Use(remote string) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conns[remote]
	if c == nil {
		return func() {}
	}
	c.used = true
	c.uses++
	l.removeIdle(c)
	return func() {
		l.mu.Lock()
		var surplus *conn
		if c.uses--; c.uses == 0 && !c.closed {
			surplus = l.addIdle(c)
		}
		l.mu.Unlock()
		l.closeSurplus(surplus)
	}
}

// CloseConn closes the connection of a remote address.
func (l *Listener) CloseConn(remote string) {
	l.mu.Lock()
	c := l.conns[remote]
	l.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

// addIdle makes a connection idle. It returns one to close if there are too many now.
func (l *Listener) addIdle(c *conn) (surplus *conn) {
	limit := l.limits.First
	if c.used {
		limit = l.limits.Idle
	}
	if limit > 0 {
		c.timer = time.AfterFunc(limit, c.expire)
	}
	network := l.idleByNetwork[c.network]
	if network == nil {
		network = new(queue)
		l.idleByNetwork[c.network] = network
	}
	c.idleInAll, c.idleInNetwork = l.idle.push(c), network.push(c)
	if surplus = network.toClose(l.limits.PerAddress); surplus == nil {
		surplus = l.idle.toClose(l.limits.InAll)
	}
	return surplus
}

// removeIdle takes a connection out of the idle ones.
func (l *Listener) removeIdle(c *conn) {
	if c.idleInAll == nil {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	network := l.idleByNetwork[c.network]
	l.idle.remove(c.idleInAll)
	network.remove(c.idleInNetwork)
	if network.len() == 0 {
		delete(l.idleByNetwork, c.network)
	}
	c.idleInAll, c.idleInNetwork = nil, nil
}

// closeSurplus closes a connection that is one too many, unless it is nil.
func (l *Listener) closeSurplus(surplus *conn) {
	if surplus == nil {
		return
	}
	l.log.Refuse(surplus.remote, Refusal{Kind: TooMany, Reason: fmt.Sprintf(
		"there are more than %d connections from there, or %d in all, that are not in use; the oldest are closed: see what opens them",
		l.limits.PerAddress, l.limits.InAll)})
	_ = surplus.Close()
}

// expire closes a connection that was idle for too long.
func (c *conn) expire() {
	c.listener.mu.Lock()
	idle, silent := c.idleInAll != nil, !c.used
	c.listener.mu.Unlock()
	if !idle {
		return
	}
	if silent {
		c.listener.log.Refuse(c.remote, Refusal{Kind: Silent, Reason: fmt.Sprintf(
			"no request came within %s of connecting: see what opens connections there", c.listener.limits.First)})
	}
	_ = c.Close()
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.closed = true
	c.listener.removeIdle(c)
	if c.listener.conns[c.remote] == c {
		delete(c.listener.conns, c.remote)
	}
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

func networkOf(remote net.Addr) netip.Prefix { return NetworkOf(remote.String()) }

// NetworkOf returns the network of HOST:PORT whose connections are counted together: an IPv4 address, or the
// /64 of an IPv6 address.
func NetworkOf(remote string) netip.Prefix {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := from.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	network, _ := ip.Prefix(bits)
	return network
}
