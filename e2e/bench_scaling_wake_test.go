package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// benchmarkWake has 100 apps of 1000 woken, one after the other, each by one request: how much longer
// that takes than the start of the task alone, up to the end of the answer.
func benchmarkWake(b *testing.B) {
	w := newScaleWorld(b, marathontest.Options{}, 50*time.Millisecond, append(sleepers(101, "1h"), benchFiller(benchApps, "test")...)...)
	beyond := w.wakeAll(1, 101)
	b.Logf("%d wakes: p50 %.1f, p99 %.1f, at most %.1f ms beyond the start of the task", len(beyond), percentile(beyond, 50), percentile(beyond, 99), percentile(beyond, 100))
	atMost(b, percentile(beyond, 50), 50, "p50-ms")
	atMost(b, percentile(beyond, 99), 150, "p99-ms")
}

// wakeAll wakes sleepers, and returns how many milliseconds each took beyond the start of its task. Sleeper
// 0 is woken before: the first wake builds what is built once.
func (w *scaleWorld) wakeAll(from, to int) (beyond []float64) {
	w.b.Helper()
	var before, after []float64
	for i := range to {
		if i > 0 && i < from {
			continue
		}
		id, host := sleeper(i)
		began := time.Now()
		r := w.send(w.b.Context(), host, "/")
		if r.err != nil || r.status != http.StatusOK {
			w.b.Fatalf("the first request of %s: %+v", id, r)
		}
		if at := w.lastBoot(id); i > 0 {
			beyond = append(beyond, milliseconds(r.took-at.took()))
			before = append(before, milliseconds(at.scheduled.Sub(began)))
			after = append(after, milliseconds(began.Add(r.took).Sub(at.running)))
		}
	}
	w.b.Logf("p50 %.1f ms until Marathon schedules the task, and %.1f ms from when it runs until the answer", percentile(before, 50), percentile(after, 50))
	return beyond
}

// benchmarkWaiting has 1000 requests wait for one app: all must be answered, in order of arrival.
func benchmarkWaiting(b *testing.B) {
	const waiting, apart = 1000, 10 * time.Millisecond
	var mu sync.Mutex
	var order []int
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.Header.Get("X-Number"))
		mu.Lock()
		defer mu.Unlock()
		order = append(order, n)
	}))
	b.Cleanup(backend.Close)
	port := backend.Listener.Addr().(*net.TCPAddr).Port
	w := newScaleWorld(b, marathontest.Options{Phantom: func(string, int) (string, []int) { return "127.0.0.1", []int{port} }}, 5*time.Second, sleepers(1, "1h")...)
	_, host := sleeper(0)
	envoy := procfs{b, w.envoy.Pid()}
	before, relayBefore := envoy.memory("VmRSS"), w.relay.memory("VmRSS")
	replies := make([]reply, waiting)
	var all sync.WaitGroup
	for i := range waiting {
		all.Go(func() { replies[i] = w.send(b.Context(), host, "/", "X-Number", strconv.Itoa(i)) })
		time.Sleep(apart)
	}
	eventually(b, "all wait", func() error {
		if n := w.relay.metric("relay_wake_held_requests"); n != waiting {
			return fmt.Errorf("%d do", n)
		}
		return nil
	})
	ofEnvoy, ofRelay := envoy.memory("VmRSS")-before, w.relay.memory("VmRSS")-relayBefore
	began := time.Now()
	all.Wait()
	failed := 0
	for i, r := range replies {
		if r.err != nil || r.status != http.StatusOK {
			if failed++; failed < 4 {
				b.Logf("request %d: %+v", i, r)
			}
		}
	}
	late := 0
	for i, newest := 0, -1; i < len(order); i++ {
		if order[i] < newest {
			late++
		}
		newest = max(newest, order[i])
	}
	b.Logf("%d requests: %d failed, %d came after a later one, the last was answered %v after all waited; %d kB of Envoy and %d kB of Relay each",
		waiting, failed, late, time.Since(began).Round(time.Millisecond), ofEnvoy/waiting>>10, ofRelay/waiting>>10)
	atMost(b, float64(failed), 0, "failed")
	atMost(b, float64(late), 0, "out-of-order")
	atMost(b, float64(ofEnvoy+ofRelay)/waiting/1000, 100, "kB/request")
}

// benchmarkAsleep has 50 000 apps that sleep: an Envoy that starts, its memory, and wakes.
func benchmarkAsleep(b *testing.B) {
	const apps = 50_000
	// What Marathon takes itself is no part of the cost of a wake.
	w := newScaleWorld(b, marathontest.Options{PublishLag: time.Millisecond}, 50*time.Millisecond, sleepers(apps, "1h")...)
	w.marathon.ClearFaults()
	w.envoy.Kill()
	w.relay.settle()
	began := time.Now()
	w.envoy = envoytest.Start(b, envoytest.Options{XDS: []string{w.config.XDS.Address}})
	w.within(w.envoy.WaitReady)
	ready := time.Since(began)
	envoy := procfs{b, w.envoy.Pid()}
	spent := envoy.cpu()
	_, host := sleeper(apps - 1)
	eventually(b, "the last app is woken", func() error {
		if r := w.send(b.Context(), host, "/"); r.err != nil || r.status != http.StatusOK {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	memory := envoy.memory("VmRSS")
	beyond := w.wakeAll(1, 101)
	b.Logf("ready after %v and %v of CPU, %d MB; 100 wakes: p50 %.1f, p99 %.1f ms beyond the start of the task",
		ready.Round(time.Millisecond), spent, memory/1e6, percentile(beyond, 50), percentile(beyond, 99))
	atMost(b, ready.Seconds(), 3, "ready-s")
	atMost(b, float64(memory)/1e6, 550, "MB")
	atMost(b, percentile(beyond, 50), 10, "wake-p50-ms")
}
