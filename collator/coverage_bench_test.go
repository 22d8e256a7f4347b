package collator

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/sources"
)

// covered is a collator with 50 000 domains and 5000 certificates, of which the
// last domain has none.
func covered(b *testing.B) (*Collator, []*certs.Certificate) {
	b.Helper()
	c, _ := newTest(b, Config{CertificateSources: []string{"vault"}})
	c.fleets[0].publisher = discard{}
	apps := make([]*sources.App, 50_000)
	for i := range apps {
		apps[i] = webApp(fmt.Sprint("/app-", i), fmt.Sprintf("app-%d.zone-%d.test", i, i/10))
	}
	all := make([]*certs.Certificate, 5000)
	for i := range all {
		name := fmt.Sprintf("*.zone-%d.test", i)
		all[i] = certificate(name, fmt.Sprint(i), name)
	}
	c.SyncCertificates("vault", all[1:], nil)
	syncApps(c, apps...)
	b.ReportAllocs()
	return c, all
}

// BenchmarkCoverageOfAll looks at all domains, as at the start.
func BenchmarkCoverageOfAll(b *testing.B) {
	c, _ := covered(b)
	f := c.fleets[0]
	for b.Loop() {
		f.recheck, f.coverage = recheck{all: true}, newFleetCoverage()
		c.coverage.fleets[f.Name] = f.coverage
		c.checkCoverage()
	}
}

// BenchmarkCoverageOfACertificate is what one that comes or goes adds to its round.
func BenchmarkCoverageOfACertificate(b *testing.B) {
	c, all := covered(b)
	with, without := certs.Select(all, testTime), certs.Select(all[1:], testTime)
	for i := 0; b.Loop(); i++ {
		if c.setServed(with); i%2 > 0 {
			c.setServed(without)
		}
		c.checkCoverage()
	}
}

// BenchmarkCoverageScrape is what a scrape costs.
func BenchmarkCoverageScrape(b *testing.B) {
	c, _ := covered(b)
	registry := prometheus.NewRegistry()
	c.registerCoverage(registry)
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCoverageViews is what the status page asks for.
func BenchmarkCoverageViews(b *testing.B) {
	c, _ := covered(b)
	for b.Loop() {
		c.UncoveredDomains()
		c.DomainsByCertificate()
	}
}
