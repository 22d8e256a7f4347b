package accept

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/internal/ratelimit"
)

// world is a service with one app port.
type world struct {
	*Service
	t     *testing.T
	began time.Time

	mu   sync.Mutex
	port Port
	// went has when each connection went on, by its name.
	went map[string]time.Duration
	// ended has what became of the others.
	ended map[string]string
	all   sync.WaitGroup
}

func (w *world) Port(fleet, app string, port int) Port {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fleet != "edge" || app != "/db" || port != 0 {
		return Port{}
	}
	return w.port
}

func (w *world) set(port Port) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.port = port
}

// instances are so many.
func instances(n int) (all []Instance) {
	for i := range n {
		all = append(all, Instance{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1)})
	}
	return all
}

func newWorld(t *testing.T, port Port, change ...func(*Limits)) *world {
	limits := DefaultLimits()
	for _, c := range change {
		c(&limits)
	}
	w := &world{t: t, began: time.Now(), port: port, went: make(map[string]time.Duration), ended: make(map[string]string)}
	w.Service = New(w, limits, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	t.Cleanup(func() {
		w.set(Port{})
		w.all.Wait()
		time.Sleep(2 * lookEvery) // what lets connections go on sees that none waits
	})
	return w
}

// ask asks about a connection of a client.
func (w *world) ask(ctx context.Context, client string) (bool, error) {
	address, _ := netip.ParseAddr(client)
	return w.Connection(ctx, ratelimit.Question{Fleet: "edge", App: "/db", Client: address})
}

// connect has a connection come, which waits for its answer.
func (w *world) connect(ctx context.Context, name, client string) {
	w.all.Go(func() {
		within, err := w.ask(ctx, client)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil || !within {
			w.ended[name] = fmt.Sprint(status.Code(err))
			return
		}
		w.went[name] = time.Since(w.began)
	})
	synctest.Wait()
}

// count returns how many connections had an outcome.
func (w *world) count(o outcome) float64 {
	var m dto.Metric
	if err := w.metrics.Results.WithLabelValues(string(o)).Write(&m); err != nil {
		w.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// in returns how many connections went on from one moment to another one.
func (w *world) in(from, to time.Duration) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.went {
		if at >= from && at < to {
			n++
		}
	}
	return n
}

// Each instance takes so many a second, and the others wait in order of arrival.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 50, Instances: instances(4)})
		for n := range 2000 {
			w.connect(t.Context(), fmt.Sprint(n), "192.0.2.1")
		}
		if d := w.Depth("/db", 0); d.Waiting != 1980 || d.Rate != 200 || d.Left != 9900*time.Millisecond {
			t.Errorf("%+v", d)
		}
		w.all.Wait()
		if took := time.Since(w.began); took < 9500*time.Millisecond || took > 10*time.Second {
			t.Errorf("all after %s", took)
		}
		for n := range 1999 {
			if w.went[fmt.Sprint(n)] > w.went[fmt.Sprint(n+1)] {
				t.Fatalf("connection %d went on after the next one", n)
			}
		}
		for second := range 10 {
			if n := w.in(time.Duration(second)*time.Second, time.Duration(second+1)*time.Second); n > 220 || second < 9 && n < 190 {
				t.Errorf("second %d: %d", second, n)
			}
		}
		if w.Waiting() != 0 || !w.Depth("/db", 0).Oldest.IsZero() {
			t.Error("some wait still")
		}
	})
}

// The pace follows the instances, and the rate. Without an instance all wait.
func TestPaceFollowsInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 10})
		for n := range 300 {
			w.connect(t.Context(), fmt.Sprint(n), "192.0.2.1")
		}
		time.Sleep(5 * time.Second)
		steps := []struct {
			port Port
			want int
		}{{Port{AcceptRate: 10, Instances: instances(1)}, 10}, {Port{AcceptRate: 10, Instances: instances(4)}, 40}, {Port{AcceptRate: 10}, 0}, {Port{AcceptRate: 20, Instances: instances(2)}, 40}}
		for _, step := range steps {
			w.set(step.port)
			from := time.Since(w.began)
			time.Sleep(time.Second)
			if n := w.in(from, time.Since(w.began)); n < step.want-step.want/8 || n > step.want+8 {
				t.Errorf("%d at %g a second: %d", len(step.port.Instances), step.port.AcceptRate, n)
			}
		}
		w.set(Port{})
		w.all.Wait()
		if n := w.in(0, time.Hour); n != 300 {
			t.Errorf("without a rate %d go on", n)
		}
	})
}

// An instance that has just come gets all connections until it has as many as the others: its pace counts.
func TestPaceOfANewInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		four := instances(4)
		for i := range 3 {
			four[i].Connections = 1000
		}
		w := newWorld(t, Port{AcceptRate: 50, Instances: four})
		for n := range 500 {
			w.connect(t.Context(), fmt.Sprint(n), "192.0.2.1")
		}
		time.Sleep(4 * time.Second)
		if n := w.in(0, 4*time.Second); n < 190 || n > 210 {
			t.Errorf("%d in 4 s, of which all went to the new one", n)
		}
		w.set(Port{AcceptRate: 50, Instances: instances(4)})
		w.all.Wait()
	})
}

// Connections that came one by one, long before all of the rate was used, count for all instances alike: when
// the rate is lowered, that of all of them counts.
func TestPaceAfterAQuietTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 5000, Instances: instances(3)})
		for n := range 900 {
			w.connect(t.Context(), fmt.Sprint("before ", n), "192.0.2.1")
			time.Sleep(10 * time.Millisecond)
		}
		w.set(Port{AcceptRate: 50, Instances: instances(2)})
		time.Sleep(2 * time.Second) // the rate is known
		for n := range 500 {
			w.connect(t.Context(), fmt.Sprint(n), "192.0.2.1")
		}
		from := time.Since(w.began)
		time.Sleep(4 * time.Second)
		if n := w.in(from, from+4*time.Second); n < 390 || n > 420 {
			t.Errorf("%d in 4 s, which two could take 400 of", n)
		}
		w.all.Wait()
	})
}

// One that opens very many does not delay the others: clients take turns.
func TestClientsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 10, Instances: instances(1)})
		for n := range 100 {
			w.connect(t.Context(), fmt.Sprint("flood ", n), "192.0.2.1")
		}
		for n := range 5 {
			w.connect(t.Context(), fmt.Sprint(n), fmt.Sprintf("198.51.100.%d", n))
		}
		w.connect(t.Context(), "v6", "2001:db8::1")
		w.connect(t.Context(), "same network", "2001:db8::2")
		w.all.Wait()
		for n := range 5 {
			if at := w.went[fmt.Sprint(n)]; at > time.Second {
				t.Errorf("client %d after %s", n, at)
			}
		}
		if w.went["same network"]-w.went["v6"] < 200*time.Millisecond {
			t.Error("two addresses of an IPv6 network count as two clients")
		}
	})
}

// A connection that ends while it waits costs the others no turn.
func TestWhoLeavesCostsNoTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 20, Instances: instances(1)})
		ctx, leave := context.WithCancel(t.Context())
		for n := range 1000 {
			w.connect(ctx, fmt.Sprint("gone ", n), fmt.Sprintf("192.0.2.%d", n%250))
		}
		w.connect(t.Context(), "last", "198.51.100.1")
		leave()
		w.all.Wait()
		if at := w.went["last"]; at > 300*time.Millisecond {
			t.Errorf("the last one after %s", at)
		}
		if got := w.ended["gone 7"]; got != codes.Unavailable.String() {
			t.Errorf("who leaves: %s", got)
		}
		if n := w.count(left); n != 998 {
			t.Errorf("%g have left", n)
		}
	})
}

// A client that gave up, of which Envoy does not know, and comes again is let in by the connection at
// which it waits: those that it gave up do not keep it out for ever.
func TestWhoComesAgainGetsIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 1, Instances: instances(1)})
		var clients sync.WaitGroup
		for n := range 40 {
			clients.Go(func() {
				for in := false; !in && time.Since(w.began) < 5*time.Minute; {
					answered := make(chan bool, 1)
					w.all.Go(func() {
						within, _ := w.ask(t.Context(), fmt.Sprintf("192.0.2.%d", n))
						answered <- within
					})
					tries := time.NewTimer(12 * time.Second)
					select {
					case in = <-answered:
						if !in {
							<-tries.C
						}
					case <-tries.C:
					}
				}
			})
		}
		clients.Wait()
		if took := time.Since(w.began); took > 3*time.Minute {
			t.Errorf("all are in after %s only, at one a second", took)
		}
	})
}
