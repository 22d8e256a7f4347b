package xds

import (
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// requests is a budget and the requests that want memory of it.
type requests struct {
	*budget
	noting sync.Mutex
	noted  map[*reservation]bool
}

// closed are those of which the connection was closed.
func (q *requests) closed() map[*reservation]bool {
	q.noting.Lock()
	defer q.noting.Unlock()
	return maps.Clone(q.noted)
}

func newRequests() *requests {
	b := newBudget()
	b.setLimits(DefaultLimits())
	return &requests{budget: b, noted: make(map[*reservation]bool)}
}

func (q *requests) come(t *testing.T, size int) *reservation {
	t.Helper()
	r := &reservation{host: "h", size: size, granted: make(chan struct{}), stalled: func() bool { return false }}
	r.close = func() {
		q.noting.Lock()
		defer q.noting.Unlock()
		q.noted[r] = true
	}
	if err := q.reserve(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Requests get memory in the order in which they come, as soon as there is enough for the whole
// request. One that is larger than all memory gets it alone.
func TestBudgetGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		a, b := q.come(t, maxPromptBytes/2), q.come(t, maxPromptBytes/2)
		huge, small := q.come(t, 2*maxPromptBytes), q.come(t, 1)
		if !isClosed(a.granted) || !isClosed(b.granted) || isClosed(huge.granted) || isClosed(small.granted) {
			t.Fatal("want the first two to have memory")
		}
		// All of them are whole, and the server is busy for long.
		q.receive(a, a.size)
		q.receive(b, b.size)
		q.setDelivered(a)
		q.setDelivered(b)
		time.Sleep(time.Minute)
		q.release(a)
		if isClosed(huge.granted) || isClosed(small.granted) {
			t.Fatal("one got memory that there is not, or too early")
		}
		q.release(b)
		if !isClosed(huge.granted) || isClosed(small.granted) {
			t.Fatal("want the huge one alone")
		}
		q.release(huge)
		if !isClosed(small.granted) {
			t.Error("there is memory, and it is not granted")
		}
		q.release(small)
		if q.promptBytes != 0 || q.slowBytes != 0 || len(q.hosts) != 0 {
			t.Errorf("memory is granted to nobody: %+v", q.budget)
		}
		if len(q.closed()) > 0 {
			t.Error("an Envoy that means well is disconnected")
		}
	})
}

// Clients that announce much and send little hold up nobody for longer than baseTime, and lose
// nothing by it.
func TestBudgetMovesSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		const n = 10
		var slow []*reservation
		for range n {
			slow = append(slow, q.come(t, maxPromptBytes))
		}
		good := q.come(t, maxPromptBytes)
		start := time.Now()
		<-good.granted
		if took := time.Since(start); took > n*baseTime {
			t.Errorf("%d that stand still took %s of those that do not", n, took)
		}
		q.receive(good, good.size)
		q.release(good)
		for _, r := range slow {
			if resumed := q.receive(r, r.size/n); resumed != nil && q.slowBytes <= maxSlowBytes {
				t.Error("a slow one pauses though there is memory")
			}
		}
		if len(q.closed()) > 0 {
			t.Error("a slow one is disconnected though there is memory")
		}
	})
}

// No request becomes a slow one while the server has something to do.
func TestBudgetServerIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		whole, part := q.come(t, maxPromptBytes/2), q.come(t, maxPromptBytes/2)
		q.receive(whole, whole.size)
		q.setDelivered(whole)
		next := q.come(t, 1)
		time.Sleep(time.Minute)
		if isClosed(next.granted) || q.slowBytes > 0 {
			t.Fatal("a request became slow though the server is busy")
		}
		// Its Envoy reads nothing, so that the request cannot be handled.
		q.change(func() { whole.stalled = func() bool { return true } })
		<-next.granted
		_ = part
	})
}

// When slow requests take all of their memory, only the one of which most was received is read
// further. If it is stuck it is dropped.
func TestBudgetBoundsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		const n = 5
		var slow []*reservation
		for range n {
			r := q.come(t, maxRequest)
			<-r.granted
			slow = append(slow, r)
			if q.slowBytes+q.promptBytes > maxSlowBytes+maxPromptBytes {
				t.Fatal("more is in memory than is allowed")
			}
			q.receive(r, maxSlowBytes/n+n)
		}
		<-q.come(t, 1).granted // makes a slow one of the last
		first := slow[2]
		q.receive(first, minProgress)
		var paused []<-chan struct{}
		for _, r := range slow {
			if r == first {
				continue
			}
			resumed := q.receive(r, 1)
			if resumed == nil {
				t.Fatal("one goes on though there is no memory")
			}
			paused = append(paused, resumed)
		}
		for range 10 {
			time.Sleep(stuckLimit / 2)
			if resumed := q.receive(first, minProgress); resumed != nil {
				t.Fatal("nobody goes on")
			}
		}
		if len(q.closed()) > 0 {
			t.Fatal("one that goes on is disconnected")
		}
		time.Sleep(stuckLimit + baseTime)
		synctest.Wait()
		if len(q.closed()) != 1 || !q.closed()[first] {
			t.Fatalf("%d are disconnected, want the one that stands still in front of the others", len(q.closed()))
		}
		for _, resumed := range paused {
			if !isClosed(resumed) {
				t.Error("there is memory, and one pauses")
			}
		}
	})
}

// No more requests wait than there may be streams.
func TestBudgetBoundsWaiting(t *testing.T) {
	t.Parallel()
	q := newRequests()
	q.setLimits(Limits{Streams: 3, StreamsPerAddress: 2})
	q.come(t, maxPromptBytes)
	for i, tt := range []struct {
		host string
		want error
	}{{"a", nil}, {"a", nil}, {"a", errTooManyWaiting}, {"b", nil}, {"c", errTooManyWaiting}} {
		r := &reservation{host: tt.host, size: maxPromptBytes, granted: make(chan struct{}), stalled: func() bool { return false }}
		if err := q.reserve(r); err != tt.want {
			t.Errorf("%d: %v, want %v", i, err, tt.want)
		}
	}
}

// A request that belongs to no stream holds up nobody: gRPC has dropped it.
func TestBudgetOfNoStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		r := q.come(t, maxPromptBytes)
		q.receive(r, r.size)
		start := time.Now()
		<-q.come(t, maxPromptBytes).granted
		if took := time.Since(start); took > deliveryLimit+baseTime {
			t.Errorf("a request that no stream took delayed the next for %s", took)
		}
		if q.slowBytes > 0 || q.closed()[r] {
			t.Errorf("%d bytes are slow, want none, and the connection left open", q.slowBytes)
		}
	})
}

// However many requests are stuck, of whatever size and sent but for their end, their memory is
// bounded, and a client that means well comes next.
func TestBudgetBoundsStuck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size, sent int
		stalled    bool
	}{{100_000, 99_999, false}, {maxPromptBytes, maxPromptBytes - 1, false}, {100_000, 100_000, true}} {
		synctest.Test(t, func(t *testing.T) {
			q := newRequests()
			most := 0
			for range 200 << 20 / tt.size {
				r := q.come(t, tt.size)
				r.stalled = func() bool { return tt.stalled }
				<-r.granted
				q.receive(r, tt.sent)
				q.setDelivered(r)
				most = max(most, q.promptBytes+q.slowBytes)
			}
			if limit := maxSlowBytes + 2*maxPromptBytes; most > limit {
				t.Errorf("%+v: %d bytes are in memory, want %d at most", tt, most, limit)
			}
			start := time.Now()
			<-q.come(t, maxPromptBytes).granted
			if took := time.Since(start); took > 2*unreadLimit {
				t.Errorf("%+v: one that means well waited %s", tt, took)
			}
		})
	}
}

// A request that pauses is counted once, also if more of it comes while its connection is being
// closed.
func TestBudgetPausesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		var slow []*reservation
		for range 3 {
			r := q.come(t, maxRequest)
			<-r.granted
			q.receive(r, maxSlowBytes/2)
			slow = append(slow, r)
		}
		<-q.come(t, 1).granted
		for range 3 {
			q.receive(slow[0], 1)
			q.receive(slow[1], 1)
		}
		for _, r := range slow {
			q.release(r)
		}
		if q.paused != 0 {
			t.Errorf("%d pause, of none that are left", q.paused)
		}
	})
}
