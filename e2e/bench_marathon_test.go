package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

const manyApps = 10_000

// BenchmarkMarathon measures Relay, as a process of its own, with 10 000 apps
// and a real Envoy: what a change costs, what is lost while apps are redeployed,
// a cold start, and all apps redeployed at once. Times of changes are those of
// BenchmarkChange.
func BenchmarkMarathon(b *testing.B) {
	b.Run("task", func(b *testing.B) {
		w := newBenchWorld(b, marathontest.Options{}, benchFiller(manyApps, "test")...)
		w.loadChanging(benchChanges)
		p := w.startProcess()
		w.startEnvoy()
		p.measure(b, w.newTask)
	})
	b.Run("domain", func(b *testing.B) {
		w := newBenchWorld(b, marathontest.Options{}, benchFiller(manyApps, "test")...)
		p := w.startProcess()
		w.startEnvoy()
		p.measure(b, func(i int) time.Duration { return w.newApp(i, "test") })
	})
	for _, n := range []int{1000, manyApps} {
		b.Run(fmt.Sprintf("domain-in-zone-of-%d", n), func(b *testing.B) { benchmarkZone(b, n) })
	}
	b.Run("redeploys", benchmarkRedeploys)
	b.Run("cold-start", benchmarkColdStart)
	b.Run("storm", benchmarkStorm)
	b.Run("sync-50000", benchmarkSync)
}

// measure is measure with the CPU time of the process for 100 changes.
func (p *benchProcess) measure(b *testing.B, change func(i int) time.Duration) {
	b.Helper()
	change(0) // the first builds what is built once
	before := p.cpu()
	measure(b, func(i int) time.Duration { return change(i + 1) })
	b.ReportMetric((p.cpu()-before).Seconds()/float64(b.N), "cpu-s/100")
}

// benchmarkZone has n domains below a domain that an app claims as a whole, and
// more of them come.
func benchmarkZone(b *testing.B, n int) {
	apps := append(benchFiller(n, "zone.test"), benchFiller(manyApps-n, "test")[:manyApps-n]...)
	for i := n; i < len(apps); i++ { // ids and domains of their own
		apps[i].Definition = benchApp(fmt.Sprintf("/other/%d", i), fmt.Sprintf("other-%d.test", i), 2)
	}
	w := newBenchWorld(b, marathontest.Options{}, apps...)
	w.apply(benchApp("/zone", "*.zone.test", 1))
	p := w.startProcess()
	w.startEnvoy()
	w.await("any.zone.test")
	old := map[string]bool{w.marathon.Tasks("/zone")[0].ID: true}
	p.measure(b, func(i int) time.Duration {
		id, host := fmt.Sprintf("/new/%d", i), fmt.Sprintf("new-%d.zone.test", i)
		return w.changeFrom(old, benchApp(id, host, 1), id, host)
	})
}

// benchmarkRedeploys replaces the one task of each of 50 apps again and again,
// ten a second, while these apps are asked. An old task ends 100 ms after the
// new one runs. Nothing may fail.
func benchmarkRedeploys(b *testing.B) {
	const apps, every, length, requestEvery = 50, 100 * time.Millisecond, 20 * time.Second, 20 * time.Second / 4400
	w := newBenchWorld(b, marathontest.Options{KillGrace: 100 * time.Millisecond}, benchFiller(manyApps, "test")...)
	w.loadChanging(apps)
	p := w.startProcess()
	w.startEnvoy()
	for i := range apps {
		_, host, _ := changingApp(i)
		w.await(host)
	}
	var failed, sent, pause atomic.Int64
	before, n := p.cpu(), 0
	for b.Loop() {
		ctx, stop := context.WithTimeout(context.Background(), length)
		var wg sync.WaitGroup
		wg.Go(func() {
			last := time.Now()
			ticks(ctx, requestEvery, func(i int) {
				now := time.Now()
				pause.Store(max(pause.Load(), int64(now.Sub(last))))
				last = now
				wg.Go(func() {
					_, host, _ := changingApp(i % apps)
					sent.Add(1)
					if w.ask(context.Background(), host) == "" {
						failed.Add(1)
					}
				})
			})
		})
		ticks(ctx, every, func(int) {
			id, _, _ := changingApp(n % apps)
			n++
			if err := w.marathon.Apply(fmt.Sprintf(`{"id":%q,"env":{"RELEASE":"%d"}}`, id, n)); err != nil {
				b.Error(err)
			}
		})
		stop()
		wg.Wait()
		w.within(w.marathon.WaitIdle)
	}
	if failed.Load() > 0 {
		b.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	if wantSent, want := b.N*4400, b.N*int(length/every); int(sent.Load()) < wantSent*9/10 || n < want*9/10 {
		b.Errorf("no result: only %d of %d requests and %d of %d changes were made, with a pause of %v",
			sent.Load(), wantSent, n, want, time.Duration(pause.Load()))
	}
	b.ReportMetric(float64(failed.Load())/float64(b.N), "failed")
	b.ReportMetric(float64(sent.Load())/float64(b.N), "requests")
	b.ReportMetric(float64(n)/float64(b.N), "changes")
	b.ReportMetric(float64(pause.Load())/1e6, "longest-pause-ms")
	b.ReportMetric((p.cpu()-before).Seconds()/float64(b.N), "cpu-s")
	b.ReportMetric(0, "ns/op")
}

// ticks calls f at a steady pace until ctx ends.
func ticks(ctx context.Context, every time.Duration, f func(i int)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f(i)
		}
	}
}

// release is a server that stands for all tasks of one release; it returns the port.
func release(b *testing.B, name string) int {
	b.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("X-Task", name) }))
	b.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// released returns apps whose one task listens on that port.
func released(n, port int) []marathontest.App {
	apps := make([]marathontest.App, n)
	for i := range apps {
		apps[i] = marathontest.App{
			Definition: benchApp(fmt.Sprintf("/app-%d", i), fmt.Sprintf("app-%d.test", i), 1),
			Tasks:      []marathontest.Task{{Host: "127.0.0.1", Ports: []int{port}}},
		}
	}
	return apps
}

// awaitAll returns when each of n apps is answered by the task named, and when
// the first one was: when 300 apps are, for asking more would take the
// processors from those who are measured. Then all are asked, and if one is not
// answered at once it is later when the last one is.
func (w *benchWorld) awaitAll(n int, task string) (first, last time.Time) {
	w.b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	order := rand.Perm(n)
	answered := func(i int) bool { return w.ask(ctx, fmt.Sprintf("app-%d.test", i)) == task }
	await := func(i int) (waited bool) {
		for !answered(i) {
			if ctx.Err() != nil {
				w.b.Fatalf("app %d is not answered by %s", i, task)
			}
			time.Sleep(5 * time.Millisecond)
			waited = true
		}
		return waited
	}
	for _, i := range order[:300] {
		await(i)
		if first.IsZero() {
			first = time.Now()
		}
	}
	last = time.Now()
	for _, i := range order[300:] {
		if await(i) {
			last = time.Now()
		}
	}
	return first, last
}

// benchmarkColdStart starts Relay and Envoy at the same time.
func benchmarkColdStart(b *testing.B) {
	w := newBenchWorld(b, marathontest.Options{}, released(manyApps, release(b, "task"))...)
	var first, last time.Duration
	for b.Loop() {
		start := time.Now()
		p := w.startProcess()
		envoy := envoytest.Start(b, envoytest.Options{XDS: []string{w.config.XDS.Address}})
		at, all := w.awaitAll(manyApps, "task")
		first, last = first+at.Sub(start), last+all.Sub(start)
		b.ReportMetric(p.cpu().Seconds(), "relay-cpu-s")
		envoy.Kill()
		p.kill()
	}
	b.ReportMetric(first.Seconds()/float64(b.N), "first-s")
	b.ReportMetric(last.Seconds()/float64(b.N), "last-s")
	b.ReportMetric(0, "ns/op")
}

// benchmarkStorm redeploys all apps at once, in one deployment.
func benchmarkStorm(b *testing.B) {
	next := release(b, "new")
	var running atomic.Int64 // when the last task did, in Unix nanoseconds
	w := newBenchWorld(b, marathontest.Options{
		OnEvent: func(e marathontest.Event) {
			if e.Type == "status_update_event" && bytes.Contains(e.Data, []byte(`"TASK_RUNNING"`)) {
				running.Store(e.Time.UnixNano())
			}
		},
		Phantom: func(string, int) (string, []int) { return "127.0.0.1", []int{next} },
	}, released(manyApps, release(b, "old"))...)
	p := w.startProcess()
	w.startEnvoy()
	w.awaitAll(manyApps, "old")
	var body []byte
	for i := range manyApps {
		body = fmt.Appendf(append(body, ','), `{"id":"/app-%d","env":{"RELEASE":"2"}}`, i)
	}
	body = append(append([]byte{'['}, body[1:]...), ']')
	w.marathon.ResetRequests()
	cpu, events := p.cpu(), w.marathon.LastSeq()
	if b.N != 1 {
		b.Fatal("every app is redeployed once: use -benchtime 1x")
	}
	req, err := http.NewRequest(http.MethodPut, w.marathon.URL()+"/v2/apps", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	resp, err := w.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status)
	}
	_, last := w.awaitAll(manyApps, "new")
	w.within(w.marathon.WaitIdle)
	lists, apps := w.marathon.Requests(marathontest.KindList), w.marathon.Requests(marathontest.KindApp)
	if lists+apps > 2*manyApps {
		b.Errorf("Marathon was asked %d times", lists+apps)
	}
	b.ReportMetric(float64(w.marathon.LastSeq()-events), "events")
	b.ReportMetric(float64(lists), "list-reads")
	b.ReportMetric(float64(apps), "app-reads")
	b.ReportMetric(float64(w.marathon.MostInFlight(marathontest.KindApp)), "most-app-reads-at-once")
	b.ReportMetric(float64(w.marathon.Requests(marathontest.KindEvents)), "event-streams")
	b.ReportMetric(last.Sub(start).Seconds(), "routed-s")
	b.ReportMetric(last.Sub(time.Unix(0, running.Load())).Seconds(), "after-last-task-s")
	b.ReportMetric((p.cpu() - cpu).Seconds(), "cpu-s")
	b.ReportMetric(0, "ns/op")
}

// benchmarkSync reads 50 000 apps again, of which none changed. No Envoy: it
// would be told nothing.
func benchmarkSync(b *testing.B) {
	w := newBenchWorld(b, marathontest.Options{}, benchFiller(50_000, "test")...)
	p := w.startProcess()
	p.awaitSyncs(1)
	p.settle()
	start := p.memory("VmRSS")
	p.resetPeak()
	cpu := p.cpu()
	n := 0
	for b.Loop() {
		for range 5 {
			p.reload()
			n++
		}
	}
	b.ReportMetric((p.cpu()-cpu).Seconds()/float64(n), "cpu-s")
	b.ReportMetric(float64(start)/1e6, "before-MB")
	b.ReportMetric(float64(p.memory("VmHWM")-start)/1e6, "extra-MB")
	b.ReportMetric(0, "ns/op")
}

// startEnvoy runs an Envoy until the benchmark ends, and waits until it is ready.
func (w *benchWorld) startEnvoy() *envoytest.Envoy {
	w.b.Helper()
	e := envoytest.Start(w.b, envoytest.Options{XDS: []string{w.config.XDS.Address}})
	w.within(e.WaitReady)
	return e
}
