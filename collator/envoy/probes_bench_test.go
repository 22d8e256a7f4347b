package envoy_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"relay/certs"
	"relay/internal/cputest"
	"relay/probe"
	"relay/sources"
)

// BenchmarkProbes measures what probes cost this process: through a real Envoy, which answers from its own
// admin endpoint, so that nothing here serves. Rows: a probe of each kind; and 20 Envoys with 500 domains each that were
// chosen by chance, at 1000 probes a minute for a minute, with the memory and the scrape of all 10 000.
func BenchmarkProbes(b *testing.B) {
	e := startEnvoy(b)
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("many", "*.many.test")}, nil)
	app := changed(webApp("/many", "*.many.test"), func(p *sources.Port) { p.Endpoints = endpoints(e.envoy.Admin) })
	e.c.SyncApps([]*sources.App{app})
	e.eventually(b, request{host: "d0.many.test", path: "/ready", tls: true, sni: "d0.many.test"}, status(200))
	p := e.probed(b)
	target := func(name string) probe.Target {
		return probe.Target{
			ID: "f/e/" + name, Name: name, Kind: probe.HTTP, Fleet: "external", Envoy: "e", Domain: name, ServerName: name,
			TLS: true, Address: e.fleet.HTTPS.String(), Ask: probe.Ask{Path: "/ready", Status: []int{200}},
		}
	}
	https := target("d0.many.test")
	http, module := https, https
	http.TLS, http.Address = false, e.fleet.HTTP.String()
	module.Ask.Module = "any"
	for name, one := range map[string]probe.Target{"http": http, "https": https, "https-by-a-module": module} {
		b.Run(name, func(b *testing.B) { p.cost(b, one) })
	}
	b.Run("sampled", func(b *testing.B) { p.sampled(b, target) })
}

// cost asks a target again and again.
func (p *probed) cost(b *testing.B, t probe.Target) {
	b.ReportAllocs()
	spent := cputest.Process(func() {
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
			if r := p.probers[probe.HTTP].Probe(ctx, t); !r.OK {
				b.Fatalf("%+v", r)
			}
			cancel()
		}
	})
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-µs/probe")
}

// sampled runs an engine with 10 000 targets for a minute, after all were asked once.
func (p *probed) sampled(b *testing.B, target func(string) probe.Target) {
	var targets []probe.Target
	for envoy := range 20 {
		for domain := range 500 {
			t := target(fmt.Sprintf("d%d.many.test", domain))
			t.Envoy, t.Sampled = fmt.Sprint("edge-", envoy), true
			t.ID = fmt.Sprintf("external/%s/%s", t.Envoy, t.Name)
			targets = append(targets, t)
		}
	}
	heap := heapInUse()
	idle := cputest.Process(func() { <-time.After(15 * time.Second) })
	b.ReportMetric(100*idle.Seconds()/15, "%core-idle")
	registry := prometheus.NewRegistry()
	var asked, failed atomic.Int64
	count := func(s probe.State) {
		asked.Add(1)
		if !s.OK {
			failed.Add(1)
		}
	}
	s := probe.DefaultSettings()
	e := probe.New(probe.Options{Settings: s, Probers: p.probers, Registerer: registry, OnResult: count})
	e.SetTargets(targets)
	begin := time.Now()
	all := cputest.Process(func() { e.Once(b.Context()) })
	b.ReportMetric(float64(asked.Load())/time.Since(begin).Seconds(), "probes/s")
	b.ReportMetric(float64(all.Microseconds())/float64(asked.Load()), "cpu-µs/probe")
	b.ReportMetric(float64(heapInUse()-heap)/(1<<20), "MB")
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx) }()
	asked.Store(0)
	minute := cputest.Process(func() { <-time.After(time.Minute) })
	b.ReportMetric(100*minute.Seconds()/60, "%core")
	b.ReportMetric(float64(asked.Load()), "probes/min")
	cancel()
	<-done
	scrape := httptest.NewRecorder()
	took := cputest.Process(func() {
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	})
	b.ReportMetric(float64(took.Microseconds())/1000, "scrape-ms")
	b.ReportMetric(float64(scrape.Body.Len())/1024, "scrape-kB")
	answer := cputest.Process(func() { e.Answer(probe.Query{}) })
	b.ReportMetric(float64(answer.Microseconds())/1000, "answer-ms")
	if failed.Load() > 0 {
		b.Errorf("%d probes failed", failed.Load())
	}
	if share := minute.Seconds()/60 - idle.Seconds()/15; share > 0.02 {
		b.Errorf("a minute with %d probes costs %.2f%% of a core, and may cost 2%%; idle it costs %.2f%%", asked.Load(), 100*share, 100*idle.Seconds()/15)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
