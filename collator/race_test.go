package collator

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/collator/routing"
	"relay/sources"
)

// readers calls everything that others than the loop may ask.
func readers(c *Collator) []func() {
	subjects := []string{"a.test", "x.a.test", "nobody.test", "/a", "/b", "tcp/5432", "deployment-group/g"}
	var reads []func()
	for _, subject := range subjects {
		reads = append(reads, func() { explained(c, subject) }, func() { c.App(subject) })
	}
	return append(reads,
		func() { c.Apps() },
		func() { c.Problems() },
		func() { c.Certificates() },
		func() { c.UncoveredDomains() },
		func() { c.DomainsByCertificate() },
		func() { c.SelectedCertificates() },
		func() { c.AppsSynced() },
	)
}

// TestReadersBesideTheLoop has every read method called while every kind of
// change is made. The race detector, or the runtime's check of maps, judges.
func TestReadersBesideTheLoop(t *testing.T) {
	t.Parallel()
	fleet, registry := testFleet(), prometheus.NewRegistry()
	fleet.CertificatesOnDemand = true
	internal := testFleet()
	internal.Name = "internal"
	c, err := New(Config{Fleets: []routing.Fleet{fleet, internal}, CertificateSources: []string{"vault"}},
		map[string]Publisher{"external": newRecorder(), "internal": discard{}}, slog.New(slog.DiscardHandler), registry)
	if err != nil {
		t.Fatal(err)
	}
	c.SyncApps(nil)
	c.SyncCertificates("vault", nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = c.Serve(ctx) })
	for _, read := range append(readers(c), func() { _, _ = registry.Gather() }) {
		all.Go(func() {
			for ctx.Err() == nil {
				read()
			}
		})
	}
	random := newRandom(1, 2)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		for range 4 {
			member := changed(webApp(fmt.Sprint("/member-", random.IntN(20)), "a.test"), func(p *sources.Port) { p.Endpoints = random.Endpoints() })
			member.Deployment = &sources.Deployment{Group: "g", StartedAt: testTime, TargetInstances: 2}
			c.UpdateApps([]*sources.App{random.App(), member}, []string{random.App().ID})
			c.SetTicketKeys("external", []TicketKey{make(TicketKey, ticketKeyBytes)})
			c.SyncCertificates("vault", random.Certificates(), nil)
			if random.IntN(50) == 0 {
				c.SyncApps([]*sources.App{random.App(), member})
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	all.Wait()
}
