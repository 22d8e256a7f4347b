package guard

import (
	"container/list"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits bound the connections of a port that are not in use: those on which no
// request is handled, whether or not they got through the TLS handshake.
type Limits struct {
	// First is how long one may stay so from the beginning, and Idle after it was
	// in use; 0 leaves that to the server.
	First, Idle time.Duration
	// PerAddress (of IPv6, per /64) and InAll are how many there may be, at least
	// 2. When one more comes the oldest that never was in use is closed: a client
	// that means well is in use within milliseconds, and gets in beside any number
	// that say nothing. Those that were in use may be half of it.
	PerAddress, InAll int
}

// Listener closes connections that are not in use.
type Listener struct {
	net.Listener
	limits Limits
	log    *Log

	mu    sync.Mutex
	conns map[string]*conn // by remote address
	// Those not in use.
	idle          *queue
	idleByNetwork map[netip.Prefix]*queue
}

// conn is a connection; what is below of is guarded by of.mu.
type conn struct {
	net.Conn
	remote   string
	network  netip.Prefix
	listener *Listener

	uses                     int
	used, closed             bool
	timer                    *time.Timer
	idleInAll, idleInNetwork *list.Element // set while it is not in use
}

// queue holds connections that are not in use, the oldest first: those that
// never were, and the others.
type queue struct{ neverUsed, usedBefore list.List }

func (q *queue) push(c *conn) *list.Element {
	if c.used {
		return q.usedBefore.PushBack(c)
	}
	return q.neverUsed.PushBack(c)
}

// remove takes out a connection; it does nothing in the list it is not of.
func (q *queue) remove(e *list.Element) {
	q.neverUsed.Remove(e)
	q.usedBefore.Remove(e)
}

func (q *queue) len() int { return q.neverUsed.Len() + q.usedBefore.Len() }

// surplus returns the one to close if there are more than the limit.
func (q *queue) toClose(limit int) *conn {
	switch {
	case q.len() <= limit:
		return nil
	case q.usedBefore.Len() > limit/2:
		return q.usedBefore.Front().Value.(*conn)
	}
	return q.neverUsed.Front().Value.(*conn)
}

// Listen bounds the connections of l.
func Listen(l net.Listener, limits Limits, log *Log) *Listener {
	return &Listener{
		Listener: l, limits: limits, log: log,
		conns: make(map[string]*conn), idle: new(queue), idleByNetwork: make(map[netip.Prefix]*queue),
	}
}

// Accept waits for a connection, which is not in use yet.
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

// rest counts a connection as not in use, and returns one to close if there are
// too many now.
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

// wake takes a connection out of those not in use.
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

func (l *Listener) closeSurplus(surplus *conn) {
	if surplus == nil {
		return
	}
	l.log.Refuse(surplus.remote, Refusal{Kind: TooMany, Reason: fmt.Sprintf(
		"there are more than %d connections from there, or %d in all, that are not in use; the oldest are closed: see what opens them",
		l.limits.PerAddress, l.limits.InAll)})
	_ = surplus.Close()
}

// expire closes a connection that was not used in time.
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

func networkOf(remote net.Addr) netip.Prefix {
	from, err := netip.ParseAddrPort(remote.String())
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
