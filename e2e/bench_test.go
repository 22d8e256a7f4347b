package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/collator/routing"
	"relay/internal/relay"
	"relay/sources/marathon"
	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

const (
	benchApps    = 1000
	benchChanges = 100
	// benchRead is how long Marathon takes to answer a read of one app.
	benchRead = 5 * time.Millisecond
)

// BenchmarkChange measures how long a change in Marathon takes to reach a
// client, with 1000 apps and a real Envoy: from the moment at which Marathon
// publishes TASK_RUNNING of a new task to the end of the first request that
// this task answers, through Envoy, with a request sent every millisecond. One
// run is 100 changes, one after the other.
func BenchmarkChange(b *testing.B) {
	b.Run("task", func(b *testing.B) {
		w := newBenchWorld(b, marathontest.Options{}, benchFiller(benchApps, "test")...)
		w.loadChanging(benchChanges)
		w.start()
		measure(b, w.newTask)
	})
	b.Run("app", func(b *testing.B) {
		w := newBenchWorld(b, marathontest.Options{}, benchFiller(benchApps, "test")...)
		w.start()
		measure(b, func(i int) time.Duration { return w.newApp(i, "test") })
	})
}

// loadChanging adds apps of one task, a real server.
func (w *benchWorld) loadChanging(n int) {
	for i := range n {
		w.apply(benchApp(changingApp(i)))
	}
}

func changingApp(i int) (id, host string, instances int) {
	return fmt.Sprintf("/changing/%d", i), fmt.Sprintf("changing-%d.test", i), 1
}

// newTask measures a change of one of the apps of loadChanging.
func (w *benchWorld) newTask(i int) time.Duration {
	w.b.Helper()
	id, host, _ := changingApp(i % benchChanges)
	w.await(host) // an app in use, whose cluster and connections are warm
	return w.change(fmt.Sprintf(`{"id":%q,"instances":%d}`, id, 2+i/benchChanges), id, host)
}

// newApp measures an app whose domain, below parent, was unknown.
func (w *benchWorld) newApp(i int, parent string) time.Duration {
	w.b.Helper()
	id, host := fmt.Sprintf("/new/%d", i), fmt.Sprintf("new-%d.%s", i, parent)
	return w.change(benchApp(id, host, 1), id, host)
}

// measure reports the distribution over 100 changes for each run.
func measure(b *testing.B, change func(i int) time.Duration) {
	b.Helper()
	var all []time.Duration
	for n := 0; b.Loop(); n++ {
		for i := range benchChanges {
			all = append(all, change(n*benchChanges+i))
		}
	}
	slices.Sort(all)
	report := func(name string, at int) { b.ReportMetric(float64(all[at].Microseconds())/1000, name) }
	report("p50-ms", (len(all)*50+99)/100-1)
	report("p99-ms", (len(all)*99+99)/100-1)
	report("max-ms", len(all)-1)
	b.ReportMetric(0, "ns/op")
}

// benchWorld is Marathon with many apps, Relay and an Envoy.
type benchWorld struct {
	b        *testing.B
	marathon *marathontest.Server
	config   relay.Config
	client   *http.Client
	url      string // Envoy
}

func newBenchWorld(b *testing.B, options marathontest.Options, apps ...marathontest.App) *benchWorld {
	b.Helper()
	port := envoytest.FreePort(b)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	b.Cleanup(transport.CloseIdleConnections)
	w := &benchWorld{
		b: b, marathon: marathontest.Start(b, options), url: fmt.Sprintf("http://127.0.0.1:%d/", port),
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}
	w.config = relay.Config{
		Apps: relay.Apps{Marathon: marathon.Config{URLs: []string{w.marathon.URL()}, SyncInterval: time.Hour}, ACME: "/marathon-acme"},
		Fleets: []relay.Fleet{{Fleet: routing.Fleet{
			Name: "external", HTTP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), Options: routing.DefaultOptions(),
		}}},
		XDS:   relay.XDSPort{Address: fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(b))},
		Admin: relay.AdminPort{Address: "127.0.0.1:0"},
	}
	if err := w.marathon.LoadApps(apps...); err != nil {
		b.Fatal(err)
	}
	w.marathon.Inject(marathontest.KindApp, marathontest.Fault{Delay: benchRead})
	return w
}

// benchFiller returns apps of two tasks each that nobody asks, with domains
// below parent.
func benchFiller(n int, parent string) []marathontest.App {
	apps := make([]marathontest.App, n)
	for i := range apps {
		apps[i].Definition = benchApp(fmt.Sprintf("/group-%d/app-%d", i%20, i), fmt.Sprintf("app-%d.%s", i, parent), 2)
		for k := range 2 {
			apps[i].Tasks = append(apps[i].Tasks, marathontest.Task{
				Host: fmt.Sprintf("10.%d.%d.%d", k, i/250, i%250+1), Ports: []int{31000 + i%30_000},
			})
		}
	}
	return apps
}

func benchApp(id, host string, instances int) string {
	return fmt.Sprintf(`{"id":%q,"instances":%d,"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":%q},`+
		`"portDefinitions":[{"port":0,"protocol":"tcp"}]}`, id, instances, host)
}

// start runs Relay and an Envoy until the benchmark ends.
func (w *benchWorld) start() {
	w.b.Helper()
	if err := w.config.Validate(); err != nil {
		w.b.Fatal(err)
	}
	r, err := relay.New(w.config, slog.New(slog.DiscardHandler))
	if err != nil {
		w.b.Fatal(err)
	}
	serve(w.b, r)
	w.startEnvoy()
}

func (w *benchWorld) within(f func(context.Context) error) {
	w.b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f(ctx); err != nil {
		w.b.Fatal(err)
	}
}

// apply changes an app and waits until Marathon is done with it.
func (w *benchWorld) apply(definition string) {
	w.b.Helper()
	if err := w.marathon.Apply(definition); err != nil {
		w.b.Fatal(err)
	}
	w.within(w.marathon.WaitIdle)
}

// ask sends one request and returns which task answered, if one did.
func (w *benchWorld) ask(ctx context.Context, host string) (task string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return ""
	}
	req.Host = host
	resp, err := w.client.Do(req)
	if err != nil {
		return ""
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.Header.Get("X-Task")
}

// await waits until an app answers.
func (w *benchWorld) await(host string) {
	w.b.Helper()
	w.within(func(ctx context.Context) error {
		for w.ask(ctx, host) == "" {
			if ctx.Err() != nil {
				return fmt.Errorf("%s is not answered: %w", host, ctx.Err())
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	})
}

// change applies a definition that starts one task, and returns the time from
// its TASK_RUNNING to its first answer.
func (w *benchWorld) change(definition, id, host string) time.Duration {
	w.b.Helper()
	return w.changeFrom(nil, definition, id, host)
}

// changeFrom is change where further tasks may answer before.
func (w *benchWorld) changeFrom(others map[string]bool, definition, id, host string) (took time.Duration) {
	w.b.Helper()
	old := make(map[string]bool)
	maps.Copy(old, others)
	for _, t := range w.marathon.Tasks(id) {
		old[t.ID] = true
	}
	before := w.marathon.LastSeq()
	w.within(func(ctx context.Context) error {
		polling, stop := context.WithCancel(ctx)
		defer stop()
		first := w.poll(polling, host, old)
		if err := w.marathon.Apply(definition); err != nil {
			return err
		}
		running, err := w.marathon.AwaitEvent(ctx, before, func(e marathontest.Event) bool {
			return e.App == id && e.Type == "status_update_event" && strings.Contains(string(e.Data), `"TASK_RUNNING"`)
		})
		if err != nil {
			return err
		}
		select {
		case at := <-first:
			took = at.Sub(running.Time)
		case <-ctx.Done():
			return fmt.Errorf("%s is not answered by its new task: %w", host, ctx.Err())
		}
		return w.marathon.WaitIdle(ctx)
	})
	return took
}

// poll sends a request every millisecond, whether or not the ones before were
// answered, and gives the time at which the first answer by a task that is not
// old was complete. It stops then, or with ctx.
func (w *benchWorld) poll(ctx context.Context, host string, old map[string]bool) <-chan time.Time {
	first := make(chan time.Time, 1)
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer stop()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		var wg sync.WaitGroup
		defer wg.Wait()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			wg.Go(func() {
				if task := w.ask(ctx, host); task != "" && !old[task] {
					select {
					case first <- time.Now():
					default: // not the first
					}
					stop()
				}
			})
		}
	}()
	return first
}
