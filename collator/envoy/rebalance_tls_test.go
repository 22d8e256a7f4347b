package envoy_test

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"relay/sources"
	"relay/xds/envoytest"
)

// Where Envoy ends the TLS of devices, connections that come all at once are even, and those of one instance end
// as others do: in order, and no other ones.
func TestShedsOverTLS(t *testing.T) {
	t.Parallel()
	const all = 300
	for _, version := range envoytest.AllVersions()[:len(envoytest.AllVersions())-1] { // the oldest opens no port
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			d := e.devices("/imp", sources.TCP{Rebalance: 10, ServiceTLS: &sources.ServiceTLS{}})
			d.app = changed(d.app, func(p *sources.Port) { p.Domains = []string{"dev.test"} })
			servers := []string{d.add(), d.add(), d.add()}
			e.sync(nil, d.with(nil, servers...))
			e.opens(t, d.port)
			conns := make([]net.Conn, all)
			var wg sync.WaitGroup
			for i := range conns {
				conn := tls.Client(dial(t, d.port), &tls.Config{ServerName: "dev.test", InsecureSkipVerify: true})
				conns[i] = conn
				wg.Go(func() {
					if err := pinged(conn); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if got := d.spread(); got > 10 {
				t.Errorf("of connections that came all at once, an instance is %.1f %% from its share", got)
			}
			had := int(d.open[servers[0]].Load())
			before := time.Now().Unix() + 1
			e.until(t, "a second passes", func() bool { return time.Now().Unix() > before })
			published := e.store.Revision()
			e.c.UpdateApps([]*sources.App{d.with(func(es []sources.Endpoint) { es[0].Shed = sources.Shed{Percent: 100, Before: before} }, servers...)}, nil)
			e.until(t, "it is published", func() bool { return e.store.Revision() > published })
			e.until(t, "all of the instance have ended", func() bool {
				conns = pingAll(t, conns)
				return len(conns) <= all-had
			})
			if len(conns) != all-had {
				t.Errorf("%d connections are left, of %d that had another instance", len(conns), all-had)
			}
		})
	}
}
