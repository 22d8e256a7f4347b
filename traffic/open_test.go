package traffic

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
)

// How many connections an instance has is known once each Envoy was asked, and has reported since.
func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		a, b := joinEnvoy(t, l, "external", "a"), joinEnvoy(t, l, "external", "b")
		stats := func(open uint64) *endpointv3.ClusterStats {
			c := clusterStats("/imp_0", time.Second, 0, 0, open)
			if open > 0 {
				c.UpstreamLocalityStats[0].UpstreamEndpointStats = []*endpointv3.UpstreamEndpointStats{{Address: socket("10.0.0.1", 31000), TotalRequestsInProgress: open}}
			}
			return c
		}
		server := netip.MustParseAddrPort("10.0.0.1:31000")
		expect := func(what string, want int, known bool) {
			t.Helper()
			open, is := l.Open("external", "/imp_0")
			if is != known || open[server] != want || !known && open != nil {
				t.Errorf("%s: %v, known %v", what, open, is)
			}
		}
		asked := func(e *testEnvoy) { l.fleets["external"].asked(e.reporter, true) }
		report := func(e *testEnvoy, open uint64) { time.Sleep(time.Second); e.report(stats(open)) }

		report(a, 3)
		report(b, 0)
		expect("nobody looks", 0, false)
		l.Watch("external", "/imp_0")
		report(a, 3)
		report(b, 0)
		expect("they were not asked for instances", 0, false)
		asked(a)
		asked(b)
		a.report(stats(0))
		b.report(stats(0))
		expect("what was on its way", 0, false)
		report(a, 3)
		expect("one has not reported yet", 0, false)
		report(b, 0)
		expect("both have", 3, true)
		report(b, 2)
		expect("both have some", 5, true)
		report(a, 0)
		report(b, 0)
		expect("none is left", 0, true)

		l.Replaced("external", "a", "/imp_0") // while nothing is open
		expect("another version of the cluster", 0, true)
		report(a, 1)
		l.Replaced("external", "a", "/imp_0")
		expect("what is open is out of sight", 0, false)
		time.Sleep(hiddenFor)
		l.Watch("external", "/imp_0")
		report(a, 0)
		report(b, 0)
		expect("a day later", 0, true)

		b.leave()
		expect("one has left, and may have some", 0, false)
		time.Sleep(goneAfter + time.Second)
		l.Watch("external", "/imp_0")
		expect("the other one is silent", 0, false)
		report(a, 4)
		expect("it reports again", 4, true)
		if _, known := l.Open("external", "/other_0"); known {
			t.Error("a cluster that nobody has is known")
		}
		if _, known := l.Open("no fleet", "/imp_0"); known {
			t.Error("no fleet is known")
		}
	})
}
