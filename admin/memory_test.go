package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// memoryListener takes connections in memory, so that a whole server works in a synctest bubble: its limits are of the
// bubble's time then, and a machine that is busy exceeds none.
type memoryListener struct {
	accepted chan net.Conn
	once     sync.Once
	closed   chan struct{}
	port     atomic.Int64
}

// inMemory returns a listener, and a client that connects to it whatever the address.
func inMemory(t *testing.T) (*memoryListener, *http.Client) {
	t.Helper()
	l := &memoryListener{accepted: make(chan net.Conn), closed: make(chan struct{})}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }}
	t.Cleanup(transport.CloseIdleConnections)
	return l, &http.Client{Transport: transport}
}

// serveInMemory is serve in memory, and returns a client of it.
func serveInMemory(t *testing.T, cfg Config) *http.Client {
	t.Helper()
	l, client := inMemory(t)
	serveOn(t, cfg, l)
	return client
}

func (l *memoryListener) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.accepted <- memoryConn{theirs, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(20_000 + l.port.Add(1))}}:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9090} }

// memoryConn is a connection of a client on this machine.
type memoryConn struct {
	net.Conn
	remote net.Addr
}

func (c memoryConn) RemoteAddr() net.Addr { return c.remote }
