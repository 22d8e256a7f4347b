package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"relay/collator/routing"
	"relay/sources/marathon/marathontest"
	"relay/xds/xdsload"
)

// adminEnvoys is how many Envoys are connected, adminPages how many pages are open, and
// benchRate how many changes a second there are meanwhile.
const adminEnvoys, adminPages, benchRate = 100, 10, 100

// BenchmarkAdmin measures what people who look at Relay cost, with 50 000 apps and 100 streams of
// Envoys: the time and CPU of the first screen, a search, a sorted list and one app, and the CPU
// of ten open pages at 100 changes a second. Relay is a process of its own.
func BenchmarkAdmin(b *testing.B) {
	const apps = 50_000
	w := newBenchWorld(b, marathontest.Options{}, benchFiller(apps, "filler.test")...)
	p := w.startProcess()
	p.awaitSyncs(1)
	names := xdsload.NewNames()
	for i := range adminEnvoys {
		e, err := xdsload.New(xdsload.Options{
			Address: w.config.XDS.Address, Fleet: "external", NodeID: fmt.Sprintf("edge-%03d", i), Names: names,
			ExtensionConfigs: []string{routing.HostsFilter},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = e.Close() })
		if err := e.Connect(b.Context()); err != nil {
			b.Fatal(err)
		}
		select {
		case <-e.Ready():
		case err := <-e.Ended():
			b.Fatal(err)
		}
	}
	p.settle()
	for _, one := range []struct{ name, path string }{
		{"status", "/api/v1/status"}, {"page", "/"}, {"search", "/api/v1/apps?q=app-4999&limit=50"}, {"domains", "/api/v1/domains?q=app-4999&limit=50"},
		{"list", "/api/v1/apps?limit=1000"}, {"app", "/api/v1/apps/group-1/app-1"}, {"domain", "/api/v1/domains/app-1.filler.test"},
	} {
		b.Run(one.name, func(b *testing.B) {
			before, n := p.cpu(), 0
			var took time.Duration
			for b.Loop() {
				time.Sleep(1100 * time.Millisecond) // what is kept of the last answer is too old
				start := time.Now()
				p.fetch(one.path)
				took += time.Since(start)
				n++
			}
			b.ReportMetric(float64(took.Milliseconds())/float64(n), "ms/answer")
			b.ReportMetric(float64((p.cpu()-before).Milliseconds())/float64(n), "cpu-ms/answer")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("pages", func(b *testing.B) {
		for b.Loop() {
			without := w.share(p)
			ctx, cancel := context.WithCancel(b.Context())
			for range adminPages {
				p.open(ctx)
			}
			with := w.share(p)
			cancel()
			after := w.share(p)
			b.ReportMetric(100*without, "%core-without")
			b.ReportMetric(100*with, "%core-with")
			b.ReportMetric(100*(with-(without+after)/2), "%core-of-pages")
			b.ReportMetric(0, "ns/op")
		}
	})
}

// share changes apps for a while, and returns the share of a core that Relay took.
func (w *benchWorld) share(p *benchProcess) float64 {
	const period = 20 * time.Second
	ctx, cancel := context.WithTimeout(w.b.Context(), period)
	defer cancel()
	before, start := p.cpu(), time.Now()
	ticks(ctx, time.Second/benchRate, func(i int) {
		n := i % 1000
		for _, task := range w.marathon.Tasks(fmt.Sprintf("/group-%d/app-%d", n%20, n))[:1] {
			if err := w.marathon.UpdateTask(task.ID, func(t *marathontest.Task) { t.Ports = []int{20_000 + i} }); err != nil {
				w.b.Error(err)
			}
		}
	})
	return float64(p.cpu()-before) / float64(time.Since(start))
}

func (p *benchProcess) fetch(path string) {
	resp, err := http.Get(p.admin + path)
	if err != nil {
		p.b.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || n == 0 {
		p.b.Fatalf("%s: %s, %d bytes, %v", path, resp.Status, n, err)
	}
}

// open reads events as an open page does.
func (p *benchProcess) open(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/api/v1/events", nil)
	if err != nil {
		p.b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.b.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}()
}
