package probe_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"relay/probe"
)

// atOnce is a prober whose results have all that HTTP has.
type atOnce struct{}

func (atOnce) Probe(context.Context, probe.Target) probe.Result {
	return probe.Result{
		OK: true, Answered: true, Status: 200, Duration: time.Millisecond, CertificateExpires: time.Unix(2e9, 0),
		Phases: map[string]float64{"connect": 0.1, "tls": 0.1, "processing": 0.1, "transfer": 0.1},
	}
}

// BenchmarkScrape measures a scrape of as many targets with series of their own as there may be.
func BenchmarkScrape(b *testing.B) {
	registry := prometheus.NewRegistry()
	e := probe.New(probe.Options{Settings: probe.DefaultSettings(), Probers: map[probe.Kind]probe.Prober{probe.HTTP: atOnce{}}, Registerer: registry})
	e.SetTargets(targetsOf(5000, false))
	e.Once(b.Context())
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	size := 0
	for b.Loop() {
		scrape := httptest.NewRecorder()
		handler.ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
		size = scrape.Body.Len()
	}
	b.ReportMetric(float64(size)/(1<<20), "MB")
}
