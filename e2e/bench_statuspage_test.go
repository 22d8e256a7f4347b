package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

// statusRate is how many requests a second the public sends.
const statusRate = 1000

// benchServices are what the page of the benchmark has.
const benchServices = 20

// BenchmarkStatusPage measures what the public costs Relay, which has 1000 apps and a real Envoy: how long a change takes to reach a
// client while nobody asks for the status page, and while 1000 requests a second do; what CPU they take; and how long the public waits.
func BenchmarkStatusPage(b *testing.B) {
	for _, row := range []struct {
		name string
		rate int
		// fresh takes a connection for each request.
		fresh bool
	}{{"quiet", 0, false}, {"kept", statusRate, false}, {"fresh", statusRate / 2, true}} {
		b.Run(row.name, func(b *testing.B) {
			w := newBenchWorld(b, marathontest.Options{}, benchFiller(benchApps, "test")...)
			w.loadChanging(benchChanges)
			page := freeAddress(b)
			var settings strings.Builder
			settings.WriteString("services:\n")
			for i := range benchServices {
				fmt.Fprintf(&settings, "- {name: Service %d, description: What it does, domains: ['app-%d*']}\n", i, i)
			}
			file := filepath.Join(b.TempDir(), "status-page.yaml")
			if err := os.WriteFile(file, []byte(settings.String()), 0o600); err != nil {
				b.Fatal(err)
			}
			p := w.startProcess("--status-page", page, "--status-page-file", file)
			w.startEnvoy()
			p.awaitSyncs(1)
			p.settle()
			public := &public{url: "http://" + page + "/", fresh: row.fresh}
			before, begun := p.cpu(), time.Now()
			stop := public.ask(row.rate)
			time.Sleep(3 * time.Second)
			share := float64(p.cpu()-before) / float64(time.Since(begun)) * 100
			measure(b, w.newTask)
			stop()
			b.ReportMetric(share, "cpu-%")
			public.report(b)
		})
	}
}

// public asks for the page.
type public struct {
	url   string
	fresh bool

	mu     sync.Mutex
	took   []time.Duration
	others int // that were not answered with 200
}

// ask sends so many requests a second until stop is called, whether or not those before were answered.
func (p *public) ask(rate int) (stop func()) {
	if rate == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{MaxIdleConnsPerHost: 200, DisableKeepAlives: p.fresh}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				asking.Go(func() {
					begun := time.Now()
					status, _, err := read(client, p.url)
					p.mu.Lock()
					defer p.mu.Unlock()
					if err != nil || status != http.StatusOK {
						p.others++
						return
					}
					p.took = append(p.took, time.Since(begun))
				})
			}
		}
	})
	return func() {
		cancel()
		asking.Wait()
		transport.CloseIdleConnections()
	}
}

func (p *public) report(b *testing.B) {
	if len(p.took) == 0 {
		return
	}
	slices.Sort(p.took)
	b.ReportMetric(float64(p.took[len(p.took)*99/100].Microseconds())/1000, "public-p99-ms")
	b.ReportMetric(float64(len(p.took)), "answered")
	b.ReportMetric(float64(p.others), "not-answered")
}
