package xds

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipeConn is an envoyConn on which nothing comes.
func pipeConn(t *testing.T) *envoyConn {
	t.Helper()
	conn, client := net.Pipe()
	t.Cleanup(func() { _, _ = conn.Close(), client.Close() })
	q := newRequests()
	all := &envoyConns{
		budget: q.budget, limit: time.Hour, use: func(string) func() { return func() {} }, conns: make(map[string]*envoyConn),
	}
	return all.add(conn)
}

// Of two requests of the same size on one connection, the memory of the one that a stream has
// handled is given back, and not that of the one that still comes.
func TestReservationOfStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipeConn(t)
		coming, err := c.reserve(maxPromptBytes / 2)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := c.reserve(maxPromptBytes / 2)
		if err != nil {
			t.Fatal(err)
		}
		c.received(whole, whole.size)
		req := &request{size: whole.size}
		c.assign(req)
		c.release(req.reservation)
		c.release(req.reservation)
		b := c.conns.budget
		if _, there := b.prompt[coming]; !there || len(b.prompt) != 1 || len(c.reservations) != 1 || c.reservations[0] != coming {
			t.Errorf("%d have memory, want the one that still comes", len(b.prompt))
		}
		_ = c.Close()
		if len(b.prompt) > 0 || b.promptBytes > 0 {
			t.Error("a connection that is closed has memory")
		}
	})
}

// Each of two requests of the same size has a reservation of its own.
func TestReservationsOfEqualSize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipeConn(t)
		var requests [2]request
		for i := range requests {
			r, err := c.reserve(maxPromptBytes / 2)
			if err != nil {
				t.Fatal(err)
			}
			c.received(r, r.size)
			requests[i].size = r.size
		}
		for i := range requests {
			c.assign(&requests[i])
		}
		for i := range requests {
			c.release(requests[i].reservation)
		}
		if b := c.conns.budget; b.promptBytes > 0 || len(c.reservations) > 0 {
			t.Errorf("%d bytes are granted, after both were handled", b.promptBytes)
		}
		_ = c.Close()
	})
}

// The end of the last stream of a connection does not take the place of a request
// that waits: a stream that began has sent it.
func TestWaitingOutlivesStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipeConn(t)
		_, done := c.conns.ofStream(c.remote)
		if _, err := c.reserve(maxPromptBytes); err != nil {
			t.Fatal(err)
		}
		other := &reservation{host: "other", size: maxPromptBytes, granted: make(chan struct{}), stalled: func() bool { return false }}
		if err := c.conns.budget.reserve(other); err != nil {
			t.Fatal(err)
		}
		granted := make(chan error, 1)
		go func() {
			_, err := c.reserve(maxPromptBytes)
			granted <- err
		}()
		synctest.Wait()
		done()
		<-other.granted
		c.conns.budget.release(other)
		if err := <-granted; err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
}
