package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

// answering starts an app that answers at once, and returns where tasks are placed.
func answering(b *testing.B) func(string, int) (string, []int) {
	b.Helper()
	host, text, err := net.SplitHostPort(startBenchBackend(b))
	if err != nil {
		b.Fatal(err)
	}
	port, _ := strconv.Atoi(text)
	return func(string, int) (string, []int) { return host, []int{port} }
}

// turns gives apps of one Envoy their turns, and returns what a request costs in each: the CPU of Envoy
// in µs, and how long one takes that is alone, in ms.
func (w *scaleWorld) turns(hosts ...string) (cpu, alone [][]float64) {
	w.b.Helper()
	envoy := &benchProxy{procfs: procfs{w.b, w.envoy.Pid()}, http: strings.TrimSuffix(strings.TrimPrefix(w.url, "http://"), "/")}
	pin(w.b, w.relay.pid, 1)
	apart(w.b, []*benchProxy{envoy})
	cpu, alone = make([][]float64, len(hosts)), make([][]float64, len(hosts))
	for _, host := range hosts {
		eventually(w.b, host+" answers", func() error {
			if r := w.send(w.b.Context(), host, "/"); r.err != nil || r.status != http.StatusOK {
				return fmt.Errorf("%+v", r)
			}
			return nil
		})
	}
	for round := range benchRounds {
		for n := range hosts {
			i := (n + round) % len(hosts) // each is the first as often
			host := hosts[i]
			cpu[i] = append(cpu[i], envoy.turn(w.b, benchLoad{name: host, requests: 1600, host: host}))
			alone[i] = append(alone[i], w.alone(envoy, host))
		}
	}
	return cpu, alone
}

// alone is the median of some requests that come one after the other.
func (w *scaleWorld) alone(envoy *benchProxy, host string) float64 {
	w.b.Helper()
	c := &benchClient{load: benchLoad{host: host}, address: envoy.http, buffer: make([]byte, 4<<10)}
	defer c.close()
	var all []float64
	for range 100 {
		began := time.Now()
		if err := c.ask(); err != nil {
			w.b.Fatal(err)
		}
		all = append(all, float64(time.Since(began).Nanoseconds())/1e6)
	}
	return median(all)
}

// benchmarkAwake compares an app that runs and may sleep with one that may not.
func benchmarkAwake(b *testing.B) {
	w := newScaleWorld(b, marathontest.Options{Phantom: answering(b)}, time.Millisecond)
	w.apply(scaled("/may", "may.test", 1, "RELAY_IDLE_AFTER", "1h").Definition)
	w.apply(scaled("/may-not", "may-not.test", 1).Definition)
	cpu, alone := w.turns("may.test", "may-not.test")
	b.Logf("CPU of Envoy: %.1f µs a request, and %.1f of an app that may not sleep, at least %.1f and %.1f; one alone takes %.3f and %.3f ms",
		median(cpu[0]), median(cpu[1]), slices.Min(cpu[0]), slices.Min(cpu[1]), median(alone[0]), median(alone[1]))
	b.ReportMetric(median(alone[0])-median(alone[1]), "added-ms")
	atMost(b, slices.Min(cpu[0])/slices.Min(cpu[1]), 1.02, "to-may-not")
}

// benchmarkChurn has 10 000 apps, ten of which wake and ten fall asleep each second, for a minute, while
// 500 others are asked 500 times a second.
func benchmarkChurn(b *testing.B) {
	const (
		cycling, others, wakes = 1200, 500, 10
		length                 = time.Minute
	)
	apps := append(sleepers(cycling, "10s"), benchFiller(10_000-cycling-others, "test")...)
	w := newScaleWorld(b, marathontest.Options{}, 50*time.Millisecond, apps...)
	for i := range others {
		w.apply(benchApp(changingApp(i)))
	}
	for i := range others {
		_, host, _ := changingApp(i)
		w.await(host)
	}
	asleep := func() int { return w.relay.metric(`relay_scaling_decisions_total{event="app_asleep"}`) }
	w.churn(50*time.Second, wakes, cycling, 0) // from then on, apps fall asleep, too
	slept := asleep()
	failed, sent := w.churn(length, wakes, cycling, others)
	slept = asleep() - slept
	b.Logf("%d requests, %d of them failed; %d apps fell asleep", sent, len(failed), slept)
	for _, f := range failed[:min(len(failed), 5)] {
		b.Log(f)
	}
	if enough := wakes * int(length.Seconds()) * 8 / 10; slept < enough {
		var story any
		w.relay.read("/api/v1/apps/sleepers/1", &story)
		b.Errorf("%d apps fell asleep, at least %d are meant to: %v", slept, enough, story)
	}
	b.ReportMetric(float64(sent), "requests")
	b.ReportMetric(float64(slept), "sleeps")
	atMost(b, float64(len(failed)), 0, "failed")
}

// churn wakes apps, some a second, one after the other, and asks so many others a second.
func (w *scaleWorld) churn(length time.Duration, wakes, cycling, others int) (failed []string, sent int) {
	ctx, stop := context.WithTimeout(w.b.Context(), length)
	defer stop()
	var mu sync.Mutex
	var all sync.WaitGroup
	ask := func(host string) {
		all.Go(func() {
			r := w.send(w.b.Context(), host, "/")
			mu.Lock()
			defer mu.Unlock()
			if sent++; r.err != nil || r.status != http.StatusOK {
				failed = append(failed, fmt.Sprintf("%s: %+v", host, r))
			}
		})
	}
	all.Go(func() {
		ticks(ctx, time.Second/time.Duration(wakes), func(int) {
			_, host := sleeper(int(w.woken.Add(1)) % cycling)
			ask(host)
		})
	})
	if others > 0 {
		all.Go(func() {
			ticks(ctx, time.Second/time.Duration(others), func(i int) {
				_, host, _ := changingApp(i % others)
				ask(host)
			})
		})
	}
	<-ctx.Done()
	all.Wait()
	return failed, sent
}
