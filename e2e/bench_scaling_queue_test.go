package e2e

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

// queueBackend is an instance that takes some time for each request.
type queueBackend struct {
	*httptest.Server
	name  string
	takes time.Duration
	// now is how many requests are in progress, most how many ever were, and all how many there were.
	now, most, all atomic.Int64
}

// ServeHTTP implements http.Handler.
func (q *queueBackend) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("X-Task", q.name)
	now := q.now.Add(1)
	defer q.now.Add(-1)
	for most := q.most.Load(); now > most && !q.most.CompareAndSwap(most, now); most = q.most.Load() {
	}
	q.all.Add(1)
	time.Sleep(q.takes)
}

// queued starts three instances, and places tasks at them.
func queued(b *testing.B, takes ...time.Duration) (backends []*queueBackend, place func(string, int) (string, []int)) {
	b.Helper()
	for i, t := range takes {
		q := &queueBackend{name: strconv.Itoa(i), takes: t}
		q.Server = httptest.NewServer(q)
		b.Cleanup(q.Close)
		backends = append(backends, q)
	}
	var placed atomic.Int64
	return backends, func(string, int) (string, []int) {
		q := backends[int(placed.Add(1)-1)%len(backends)]
		return "127.0.0.1", []int{q.Listener.Addr().(*net.TCPAddr).Port}
	}
}

// benchmarkQueue sends 60 requests at once to three instances that take one at a time, with room for 40
// that wait; then with an instance that is ten times slower.
func benchmarkQueue(b *testing.B) {
	const at, answered, busy = 60, 43, 17
	for _, slow := range []bool{false, true} {
		takes := []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond}
		if slow {
			takes[0] = time.Second
		}
		backends, place := queued(b, takes...)
		w := newScaleWorld(b, marathontest.Options{Phantom: place}, time.Millisecond)
		w.apply(scaled("/queued", "queued.test", 3, "RELAY_0_CONCURRENCY", "1", "RELAY_0_QUEUE", "40").Definition)
		eventually(b, "all three instances answer", func() error {
			w.send(b.Context(), "queued.test", "/")
			for _, q := range backends {
				if q.all.Load() == 0 {
					return errNotYet
				}
			}
			return nil
		})
		for _, q := range backends {
			q.all.Store(0)
			q.most.Store(0)
		}
		replies := w.atOnce(at, "queued.test")
		statuses := make(map[int]int)
		var took, bySlow []time.Duration
		for _, r := range replies {
			statuses[r.status]++
			switch {
			case r.status != http.StatusOK:
			case slow && r.task == "0":
				bySlow = append(bySlow, r.took)
			default:
				took = append(took, r.took)
			}
		}
		most := int64(0)
		for i, q := range backends {
			most = max(most, q.most.Load())
			b.Logf("instance %d, which takes %v: %d requests, at most %d at a time", i, q.takes, q.all.Load(), q.most.Load())
		}
		longest := percentile(took, 100)
		b.Logf("statuses %v; answered after at most %v, by the slow instance after %v", statuses, longest.Round(time.Millisecond), bySlow)
		if statuses[http.StatusOK] != answered || statuses[http.StatusServiceUnavailable] != busy {
			b.Errorf("%v, want %d answered and %d busy", statuses, answered, busy)
		}
		atMost(b, float64(most), 1, "at-one-instance")
		// The two others take 22 turns of 100 ms for all.
		if slow {
			atMost(b, milliseconds(longest), 2500, "beside-slow-max-ms")
		} else {
			b.ReportMetric(milliseconds(longest), "max-ms")
		}
		w.envoy.Kill()
		w.relay.kill()
	}
}

// atOnce sends requests at the same moment.
func (w *scaleWorld) atOnce(n int, host string) []reply {
	replies := make([]reply, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { replies[i] = w.send(w.b.Context(), host, "/") })
	}
	all.Wait()
	return replies
}

// benchmarkQueueCost compares an app that has a queue, in which nobody waits, with one without.
func benchmarkQueueCost(b *testing.B) {
	w := newScaleWorld(b, marathontest.Options{Phantom: answering(b)}, time.Millisecond)
	w.apply(scaled("/queued", "queued.test", 1, "RELAY_0_CONCURRENCY", "100", "RELAY_0_QUEUE", "100").Definition)
	w.apply(scaled("/plain", "plain.test", 1).Definition)
	cpu, alone := w.turns("queued.test", "plain.test")
	b.Logf("CPU of Envoy: %.1f µs a request with a queue, %.1f without, at least %.1f and %.1f; one alone takes %.3f and %.3f ms",
		median(cpu[0]), median(cpu[1]), slices.Min(cpu[0]), slices.Min(cpu[1]), median(alone[0]), median(alone[1]))
	atMost(b, slices.Min(cpu[0])/slices.Min(cpu[1]), 2.2, "times-CPU")
	atMost(b, median(alone[0])-median(alone[1]), 0.5, "added-ms")
}
