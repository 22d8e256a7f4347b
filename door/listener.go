package door

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
	// Idle is how long one may stay so; 0 leaves that to the server.
	Idle time.Duration
	// PerAddress (of IPv6, per /64) and InAll are how many there may be. When one
	// more comes the oldest is closed: a client that means well is in use within
	// milliseconds, and gets in beside any number that say nothing.
	PerAddress, InAll int
}

// Listener closes connections that are not in use.
type Listener struct {
	net.Listener
	limits Limits
	log    *Log

	mu    sync.Mutex
	conns map[string]*conn // by remote address
	// Those not in use, the oldest first.
	idle   *list.List
	idleOf map[netip.Prefix]*list.List
}

// conn is a connection; what is below of is guarded by of.mu.
type conn struct {
	net.Conn
	remote  string
	network netip.Prefix
	of      *Listener

	uses         int
	used, closed bool
	timer        *time.Timer
	inAll, mine  *list.Element // set while it is not in use
}

// Listen bounds the connections of l.
func Listen(l net.Listener, limits Limits, log *Log) *Listener {
	return &Listener{
		Listener: l, limits: limits, log: log,
		conns: make(map[string]*conn), idle: list.New(), idleOf: make(map[netip.Prefix]*list.List),
	}
}

// Accept waits for a connection, which is not in use yet.
func (l *Listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, remote: accepted.RemoteAddr().String(), network: networkOf(accepted.RemoteAddr()), of: l}
	l.mu.Lock()
	l.conns[c.remote] = c
	crowd := l.rest(c)
	l.mu.Unlock()
	l.disperse(crowd)
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
	l.wake(c)
	return func() {
		l.mu.Lock()
		var crowd *conn
		if c.uses--; c.uses == 0 && !c.closed {
			crowd = l.rest(c)
		}
		l.mu.Unlock()
		l.disperse(crowd)
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
func (l *Listener) rest(c *conn) (crowd *conn) {
	if l.limits.Idle > 0 {
		c.timer = time.AfterFunc(l.limits.Idle, c.expire)
	}
	mine := l.idleOf[c.network]
	if mine == nil {
		mine = list.New()
		l.idleOf[c.network] = mine
	}
	c.inAll, c.mine = l.idle.PushBack(c), mine.PushBack(c)
	switch {
	case mine.Len() > l.limits.PerAddress:
		return mine.Front().Value.(*conn)
	case l.idle.Len() > l.limits.InAll:
		return l.idle.Front().Value.(*conn)
	}
	return nil
}

// wake takes a connection out of those not in use.
func (l *Listener) wake(c *conn) {
	if c.inAll == nil {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	mine := l.idleOf[c.network]
	l.idle.Remove(c.inAll)
	mine.Remove(c.mine)
	if mine.Len() == 0 {
		delete(l.idleOf, c.network)
	}
	c.inAll, c.mine = nil, nil
}

func (l *Listener) disperse(crowd *conn) {
	if crowd == nil {
		return
	}
	l.log.Refuse(crowd.remote, Refusal{Kind: Crowd, Reason: fmt.Sprintf(
		"there are more than %d connections from there, or %d in all, that are not in use; the oldest are closed: see what opens them",
		l.limits.PerAddress, l.limits.InAll)})
	_ = crowd.Close()
}

// expire closes a connection that was not used in time.
func (c *conn) expire() {
	c.of.mu.Lock()
	idle, silent := c.inAll != nil, !c.used
	c.of.mu.Unlock()
	if !idle {
		return
	}
	if silent {
		c.of.log.Refuse(c.remote, Refusal{Kind: Silent, Reason: fmt.Sprintf(
			"no request came within %s of connecting: see what opens connections there", c.of.limits.Idle)})
	}
	_ = c.Close()
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.of.mu.Lock()
	c.closed = true
	c.of.wake(c)
	if c.of.conns[c.remote] == c {
		delete(c.of.conns, c.remote)
	}
	c.of.mu.Unlock()
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
