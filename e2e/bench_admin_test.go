package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"relay/admin/api"
	"relay/sources/marathon/marathontest"
)

const (
	// adminApps and adminEnvoys are how many apps and Envoys there are, benchRate how many changes
	// a second, and shareTime how long each of adminRounds is with viewers, and how long without.
	adminApps, adminEnvoys, benchRate = 50_000, 100, 100
	shareTime, adminRounds            = 30 * time.Second, 3
	// adminPages is how many pages are open.
	adminPages = 10
)

// BenchmarkAdmin measures what people who look at Relay cost, with 50 000 apps and 100 Envoys
// that report load: the time and CPU of the first screen, a search, a sorted list and one app;
// and at 100 changes a second, what a change takes with ten open pages, two followers of requests
// and all load reports, beside what it takes without. Relay is a process of its own. The Envoys
// are made up.
func BenchmarkAdmin(b *testing.B) {
	w := newBenchWorld(b, marathontest.Options{}, benchFiller(adminApps, "filler.test")...)
	p := w.startProcess()
	p.awaitSyncs(1)
	fleet := w.startFleet(adminEnvoys, adminApps)
	fleet.reporting.Store(true)
	p.awaitReports()
	fleet.reporting.Store(false) // only what each answer costs is measured
	p.settle()
	for _, one := range []struct{ name, path string }{
		{"status", "/api/v1/status"}, {"page", "/"}, {"envoys", "/envoys"}, {"search", "/api/v1/apps?q=app-4999&limit=50"}, {"search-page", "/search?q=app-4999"},
		{"domains", "/api/v1/domains?q=app-4999&limit=50"},
		{"list", "/api/v1/apps?limit=1000"}, {"app", "/api/v1/apps/group-1/app-1"}, {"domain", "/api/v1/domains/app-1.filler.test"},
	} {
		b.Run(one.name, func(b *testing.B) { p.answers(b, one.path) })
	}
	for _, one := range []struct {
		name                   string
		pages, tails, reported bool
	}{{"pages", true, false, false}, {"tails", false, true, false}, {"reports", false, false, true}, {"all", true, true, true}} {
		b.Run(one.name, func(b *testing.B) {
			for b.Loop() {
				w.compareViewers(b, p, func(ctx context.Context) {
					if fleet.reporting.Store(one.reported); one.tails {
						fleet.tailing.Store(true)
						p.follow(ctx, tailedApps)
					}
					if one.pages {
						for i := range adminPages {
							p.open(ctx, time.Duration(i)*pageEvery/adminPages)
						}
					}
				}, func() { fleet.reporting.Store(false); fleet.tailing.Store(false) })
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// answers measures the least of some answers: others use the machine too.
func (p *benchProcess) answers(b *testing.B, path string) {
	b.Helper()
	least, cpu, n := time.Hour, p.cpu(), 0
	for b.Loop() {
		for range 10 {
			time.Sleep(1100 * time.Millisecond) // what is kept of the last answer is too old
			start := time.Now()
			p.fetch(path)
			least = min(least, time.Since(start))
			n++
		}
	}
	b.ReportMetric(float64(least.Microseconds())/1000, "ms/least")
	b.ReportMetric(float64((p.cpu()-cpu).Milliseconds())/float64(n), "cpu-ms/answer")
	b.ReportMetric(0, "ns/op")
}

// compareViewers changes apps with and without what begin begins and end ends, in turns.
func (w *benchWorld) compareViewers(b *testing.B, p *benchProcess, begin func(context.Context), end func()) {
	b.Helper()
	var without, with []share
	for range adminRounds {
		without = append(without, w.share(p))
		ctx, cancel := context.WithCancel(b.Context())
		begin(ctx)
		with = append(with, w.share(p))
		cancel()
		end()
	}
	without = append(without, w.share(p)) // what comes slowly with time is no viewer's
	for name, of := range map[string]func(share) float64{
		"%core": func(s share) float64 { return 100 * s.cores }, "cpu-ms/change": func(s share) float64 { return 1000 * s.cores * shareTime.Seconds() / float64(s.changes) },
		"p50-ms": func(s share) float64 { return s.p50 }, "p99-ms": func(s share) float64 { return s.p99 },
	} {
		var before, meanwhile, more []float64
		for i, s := range with {
			around := (of(without[i]) + of(without[i+1])) / 2
			before, meanwhile, more = append(before, around), append(meanwhile, of(s)), append(more, of(s)-around)
		}
		b.Logf("%s without %.2f, with %.2f, more %.2f", name, before, meanwhile, more)
		b.ReportMetric(median(before), name+"-without")
		b.ReportMetric(median(more), name+"-more")
	}
}

// share is what changes cost Relay for a while.
type share struct {
	cores, p50, p99 float64 // of a core, and milliseconds until all Envoys had a change
	changes         int
}

// share changes apps for a while.
func (w *benchWorld) share(p *benchProcess) share {
	ctx, cancel := context.WithTimeout(w.b.Context(), shareTime)
	defer cancel()
	cpu, began := p.cpu(), time.Now()
	s := share{}
	ticks(ctx, time.Second/benchRate, func(i int) {
		n := i % 1000
		for _, task := range w.marathon.Tasks(fmt.Sprintf("/group-%d/app-%d", n%20, n))[:1] {
			s.changes++
			if err := w.marathon.UpdateTask(task.ID, func(t *marathontest.Task) { t.Ports = []int{20_000 + i} }); err != nil {
				w.b.Error(err)
			}
		}
	})
	s.cores = float64(p.cpu()-cpu) / float64(time.Since(began))
	s.p50, s.p99 = p.converged(w.b, began)
	return s
}

// converged is how many milliseconds it took, from when a change was published, until all Envoys
// had acknowledged it.
func (p *benchProcess) converged(b *testing.B, since time.Time) (p50, p99 float64) {
	b.Helper()
	var answer struct{ Changes []api.Change }
	p.read("/api/v1/changes?limit=10000", &answer)
	var all []float64
	for _, c := range answer.Changes {
		if c.Converged != nil && c.Time.After(since) {
			all = append(all, 1000**c.Converged)
		}
	}
	if len(all) == 0 {
		b.Fatalf("none of %d changes is in all Envoys", len(answer.Changes))
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

func (p *benchProcess) read(path string, into any) {
	resp, err := http.Get(p.admin + path)
	if err != nil {
		p.b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		p.b.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
}

// awaitReports waits until all Envoys have reported.
func (p *benchProcess) awaitReports() {
	p.b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		var answer struct{ Envoys []api.Envoy }
		p.read("/api/v1/envoys?limit=10000", &answer)
		reported := 0
		for _, e := range answer.Envoys {
			if !e.Reported.IsZero() && e.Load != nil && e.Load.Requests > 0 {
				reported++
			}
		}
		if reported == adminEnvoys {
			return
		}
		if time.Now().After(deadline) {
			p.b.Fatalf("%d of %d Envoys have reported", reported, len(answer.Envoys))
		}
	}
}

func (p *benchProcess) fetch(path string) {
	resp, err := http.Get(p.admin + path)
	if err != nil {
		p.b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || n == 0 {
		p.b.Fatalf("%s: %s, %d bytes, %v", path, resp.Status, n, err)
	}
}

// pageEvery is how often the first page is read again while something happens. It is what its
// script is told (data-every).
const pageEvery = 2 * time.Second

// open reads events, and the page again and again from after a while on, as an open page does.
// Pages that are read at the same time cost less than those that are not.
func (p *benchProcess) open(ctx context.Context, after time.Duration) {
	p.readAll(ctx, "/api/v1/events")
	time.AfterFunc(after, func() { ticks(ctx, pageEvery, func(int) { p.fetch("/") }) })
}

// follow follows the requests of some apps.
func (p *benchProcess) follow(ctx context.Context, apps int) {
	for i := range apps {
		p.readAll(ctx, "/api/v1/tail?subject="+url.QueryEscape(fmt.Sprintf("app-%d.filler.test", i)))
	}
}

// readAll reads what comes until ctx ends.
func (p *benchProcess) readAll(ctx context.Context, path string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+path, nil)
	if err != nil {
		p.b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.b.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		p.b.Fatalf("%s: %s", path, resp.Status)
	}
	go func() {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}()
}
