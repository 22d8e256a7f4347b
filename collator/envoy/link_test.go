package envoy_test

import (
	"net"
	"sync"
)

// link is where the Envoy reaches Relay. It can break.
type link struct {
	net.Listener
	mu    sync.Mutex
	conns map[*linkConn]bool
	away  bool
	// reads is closed while Relay reads what it is sent.
	reads chan struct{}
}

func newLink(l net.Listener) *link {
	reads := make(chan struct{})
	close(reads)
	return &link{Listener: l, conns: make(map[*linkConn]bool), reads: reads}
}

// Accept accepts a connection; while Relay is away it closes all.
func (l *link) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &linkConn{Conn: conn, link: l, closed: make(chan struct{})}
		l.mu.Lock()
		away := l.away
		l.conns[c] = true
		l.mu.Unlock()
		if !away {
			return c, nil
		}
		_ = c.Close()
	}
}

// hang has Relay accept connections, and read nothing, until it is told otherwise.
func (l *link) hang() (resume func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = make(chan struct{})
	return sync.OnceFunc(func() { close(l.reads) })
}

// leave has Relay be away until it is told otherwise.
func (l *link) leave() (comeBack func()) {
	l.mu.Lock()
	l.away = true
	var all []*linkConn
	for c := range l.conns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.away = false
	}
}

type linkConn struct {
	net.Conn
	link   *link
	once   sync.Once
	closed chan struct{}
}

func (c *linkConn) Read(b []byte) (int, error) {
	c.link.mu.Lock()
	reads := c.link.reads
	c.link.mu.Unlock()
	select {
	case <-reads:
		return c.Conn.Read(b)
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *linkConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}
