package xds

import (
	"testing"
	"testing/synctest"
	"time"
)

// requests is a budget and the requests that want room of it.
type requests struct {
	*budget
	closed map[*reservation]bool
}

func newRequests() *requests {
	b := newBudget()
	b.limit(DefaultLimits())
	return &requests{budget: b, closed: make(map[*reservation]bool)}
}

func (q *requests) come(t *testing.T, size int) *reservation {
	t.Helper()
	r := &reservation{host: "h", size: size, granted: make(chan struct{}), stalled: func() bool { return false }}
	r.close = func() { q.closed[r] = true }
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
func TestBudgetLends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		a, b := q.come(t, promptRoom/2), q.come(t, promptRoom/2)
		huge, small := q.come(t, 2*promptRoom), q.come(t, 1)
		if !isClosed(a.granted) || !isClosed(b.granted) || isClosed(huge.granted) || isClosed(small.granted) {
			t.Fatal("want the first two to have room")
		}
		// All of them are up to the server, which is busy for long.
		q.receive(a, a.size)
		q.receive(b, b.size)
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
		if len(q.closed) > 0 {
			t.Error("an Envoy that means well is disconnected")
		}
	})
}

// Clients that announce much and send little hold up nobody for longer than the
// head start, and lose nothing by it.
func TestBudgetPutsSlowAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		const n = 10
		var slow []*reservation
		for range n {
			slow = append(slow, q.come(t, promptRoom))
		}
		good := q.come(t, promptRoom)
		start := time.Now()
		<-good.granted
		if took := time.Since(start); took > n*headStart {
			t.Errorf("%d that stand still took %s of those that do not", n, took)
		}
		q.receive(good, good.size)
		q.release(good)
		for _, r := range slow {
			if goOn := q.receive(r, r.size/n); goOn != nil && q.slowBytes <= slowRoom {
				t.Error("a slow one may not go on though there is room")
			}
		}
		if len(q.closed) > 0 {
			t.Error("a slow one is disconnected though there is room")
		}
	})
}

// Nobody is put aside while there is something to do.
func TestBudgetServerIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newRequests()
		whole, part := q.come(t, promptRoom/2), q.come(t, promptRoom/2)
		q.receive(whole, whole.size)
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
			if q.slowBytes+q.promptBytes > slowRoom+promptRoom {
				t.Fatal("more is in memory than there is room for")
			}
			q.receive(r, slowRoom/n+n)
		}
		<-q.come(t, 1).granted // puts the last one aside
		first := slow[2]
		q.receive(first, minProgress)
		var held []<-chan struct{}
		for _, r := range slow {
			if r == first {
				continue
			}
			goOn := q.receive(r, 1)
			if goOn == nil {
				t.Fatal("one goes on though there is no room")
			}
			held = append(held, goOn)
		}
		for range 10 {
			time.Sleep(patience / 2)
			if goOn := q.receive(first, minProgress); goOn != nil {
				t.Fatal("nobody goes on")
			}
		}
		if len(q.closed) > 0 {
			t.Fatal("one that goes on is disconnected")
		}
		time.Sleep(patience + headStart)
		synctest.Wait()
		if len(q.closed) != 1 || !q.closed[first] {
			t.Fatalf("%d are disconnected, want the one that stands still in front of the others", len(q.closed))
		}
		for _, goOn := range held {
			if !isClosed(goOn) {
				t.Error("there is room, and one is held up")
			}
		}
	})
}

// Not more wait than may be connected.
func TestBudgetCrowd(t *testing.T) {
	t.Parallel()
	q := newRequests()
	q.limit(Limits{Streams: 3, StreamsPerAddress: 2})
	q.come(t, promptRoom)
	for i, tt := range []struct {
		host string
		want error
	}{{"a", nil}, {"a", nil}, {"a", errCrowd}, {"b", nil}, {"c", errCrowd}} {
		r := &reservation{host: tt.host, size: promptRoom, granted: make(chan struct{}), stalled: func() bool { return false }}
		if err := q.reserve(r); err != tt.want {
			t.Errorf("%d: %v, want %v", i, err, tt.want)
		}
	}
}
