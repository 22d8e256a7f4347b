package xds

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipeInflow is an inflow of a connection on which nothing comes.
func pipeInflow(t *testing.T) *inflow {
	t.Helper()
	conn, client := net.Pipe()
	t.Cleanup(func() { _, _ = conn.Close(), client.Close() })
	q := newRequests()
	all := &inflows{
		budget: q.budget, limit: time.Hour, use: func(string) func() { return func() {} }, conns: make(map[string]*inflow),
	}
	return all.add(conn)
}

// Of two requests of the same size on one connection, the room of the one that a
// stream has dealt with is given back, and not that of the one that still comes.
func TestRoomOfStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipeInflow(t)
		coming, err := c.reserve(promptRoom / 2)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := c.reserve(promptRoom / 2)
		if err != nil {
			t.Fatal(err)
		}
		c.received(whole, whole.size)
		req := &request{size: whole.size}
		c.taken(req)
		c.release(req.room)
		c.release(req.room)
		b := c.all.budget
		if _, there := b.prompt[coming]; !there || len(b.prompt) != 1 || len(c.open) != 1 || c.open[0] != coming {
			t.Errorf("%d have room, want the one that still comes", len(b.prompt))
		}
		_ = c.Close()
		if len(b.prompt) > 0 || b.promptBytes > 0 {
			t.Error("a connection that is closed has room")
		}
	})
}

// Each of two requests that are alike has room of its own.
func TestRoomOfAlike(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipeInflow(t)
		var requests [2]request
		for i := range requests {
			r, err := c.reserve(promptRoom / 2)
			if err != nil {
				t.Fatal(err)
			}
			c.received(r, r.size)
			requests[i].size = r.size
		}
		for i := range requests {
			c.taken(&requests[i])
		}
		for i := range requests {
			c.release(requests[i].room)
		}
		if b := c.all.budget; b.promptBytes > 0 || len(c.open) > 0 {
			t.Errorf("%d bytes are lent, after both were dealt with", b.promptBytes)
		}
		_ = c.Close()
	})
}

// The end of the last stream of a connection does not take the place of a request
// that waits: a stream that began has sent it.
func TestWaitingOutlivesStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := pipeInflow(t)
		_, done := c.all.stream(c.remote)
		if _, err := c.reserve(promptRoom); err != nil {
			t.Fatal(err)
		}
		other := &reservation{host: "other", size: promptRoom, granted: make(chan struct{}), stalled: func() bool { return false }}
		if err := c.all.budget.reserve(other); err != nil {
			t.Fatal(err)
		}
		granted := make(chan error, 1)
		go func() {
			_, err := c.reserve(promptRoom)
			granted <- err
		}()
		synctest.Wait()
		done()
		<-other.granted
		c.all.budget.release(other)
		if err := <-granted; err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
}
