package xds

import (
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// requests is a budget and the requests that want room of it.
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

// Requests get room in the order in which they come, as soon as there is room for
// all of them, and one that is larger than the room gets it alone.
func TestBudgetGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		a, b := q.come(t, maxPromptBytes/2), q.come(t, maxPromptBytes/2)
		huge, small := q.come(t, 2*maxPromptBytes), q.come(t, 1)
		if !isClosed(a.granted) || !isClosed(b.granted) || isClosed(huge.granted) || isClosed(small.granted) {
			t.Fatal("want the first two to have room")
		}
		// All of them are up to the server, which is busy for long.
		q.receive(a, a.size)
		q.receive(b, b.size)
		q.setDelivered(a)
		q.setDelivered(b)
		time.Sleep(time.Minute)
		q.release(a)
		if isClosed(huge.granted) || isClosed(small.granted) {
			t.Fatal("one got room that there is not, or before its turn")
		}
		q.release(b)
		if !isClosed(huge.granted) || isClosed(small.granted) {
			t.Fatal("want the huge one alone")
		}
		q.release(huge)
		if !isClosed(small.granted) {
			t.Error("there is room, and it is not lent")
		}
		q.release(small)
		if q.promptBytes != 0 || q.slowBytes != 0 || len(q.hosts) != 0 {
			t.Errorf("room is lent to nobody: %+v", q.budget)
		}
		if len(q.closed()) > 0 {
			t.Error("an Envoy that means well is disconnected")
		}
	})
}

// Clients that announce much and send little hold up nobody for longer than the
// head start, and lose nothing by it.
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
				t.Error("a slow one may not go on though there is room")
			}
		}
		if len(q.closed()) > 0 {
			t.Error("a slow one is disconnected though there is room")
		}
	})
}

// Nobody is put aside while there is something to do.
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
			t.Fatal("one is put aside though the server has not dealt with what is there")
		}
		// Its Envoy reads nothing, so that it cannot be dealt with.
		q.change(func() { whole.stalled = func() bool { return true } })
		<-next.granted
		_ = part
	})
}

// When those that are slow take all the room, only the one of which most is there
// goes on; if it stands still it has to go.
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
				t.Fatal("more is in memory than there is room for")
			}
			q.receive(r, maxSlowBytes/n+n)
		}
		<-q.come(t, 1).granted // puts the last one aside
		first := slow[2]
		q.receive(first, minProgress)
		var held []<-chan struct{}
		for _, r := range slow {
			if r == first {
				continue
			}
			resumed := q.receive(r, 1)
			if resumed == nil {
				t.Fatal("one goes on though there is no room")
			}
			held = append(held, resumed)
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
		for _, resumed := range held {
			if !isClosed(resumed) {
				t.Error("there is room, and one is held up")
			}
		}
	})
}

// Not more wait than may be connected.
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

// What belongs to no stream holds up nobody: gRPC has dropped it.
func TestBudgetOfNoStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		r := q.come(t, maxPromptBytes)
		q.receive(r, r.size)
		start := time.Now()
		<-q.come(t, maxPromptBytes).granted
		if took := time.Since(start); took > deliveryLimit+baseTime {
			t.Errorf("a request that no stream took held up the next for %s", took)
		}
		if q.slowBytes > 0 || q.closed()[r] {
			t.Errorf("%d bytes are slow, want none, and the connection left open", q.slowBytes)
		}
	})
}

// However many stand still, with requests of any size and all but the end of it
// sent, what they take is bounded, and who means well comes next.
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

// What still comes of a request that is held up, as its connection is being
// closed, is not counted as another that is.
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
			t.Errorf("%d are held up, of none that are left", q.paused)
		}
	})
}
