package blackbox

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"relay/probe"
	"relay/probe/edge"
)

// maxPassage is how many bytes may come from an Envoy by a passage, beside the body of an answer by HTTP: lines that
// match nothing are read until then.
const maxPassage = 1 << 20

// passage is a port of this machine that leads to the Envoy of a target, for one connection.
type passage struct {
	listener net.Listener
	cancel   context.CancelFunc
	done     sync.WaitGroup
	// received is how many bytes came from the Envoy. failed is why it was not reached.
	received atomic.Int64
	failed   atomic.Pointer[error]
	limit    int64
}

func newPassage(ctx context.Context, t probe.Target, limit int64) (*passage, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &passage{listener: listener, cancel: cancel, limit: limit}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	p.done.Go(func() {
		defer stop()
		defer listener.Close()
		if conn, err := listener.Accept(); err == nil {
			p.carry(ctx, conn, t)
		}
	})
	return p, nil
}

func (p *passage) address() string { return p.listener.Addr().String() }

// carry copies both ways until one of them ends, the bound is reached, or the context ends.
func (p *passage) carry(ctx context.Context, conn net.Conn, t probe.Target) {
	defer conn.Close()
	envoy, err := edge.Dial(ctx, t)
	if err != nil {
		p.failed.Store(&err)
		return
	}
	defer envoy.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		_ = envoy.Close()
	})
	defer stop()
	p.done.Go(func() {
		_, _ = io.Copy(envoy, conn)
		_ = envoy.Close()
	})
	_, _ = io.Copy(conn, io.TeeReader(io.LimitReader(envoy, p.limit), counter{&p.received}))
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

// Write implements io.Writer.
func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// close ends the passage, and waits until nothing of it runs.
func (p *passage) close() {
	p.cancel()
	p.done.Wait()
}

// answered reports whether anything came from the Envoy.
func (p *passage) answered() bool { return p != nil && p.received.Load() > 0 }

// full reports whether more came than may.
func (p *passage) full() bool { return p != nil && p.received.Load() >= p.limit }

// failure is why the Envoy was not reached; nil if it was.
func (p *passage) failure() error {
	if p == nil || p.failed.Load() == nil {
		return nil
	}
	return *p.failed.Load()
}
