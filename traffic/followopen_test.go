package traffic

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"relay/xds/envoytest"
)

// withOpen is what an Envoy tells of a cluster with so much open at the endpoints 10.0.0.1, 10.0.0.2 and so on.
func withOpen(name string, open ...uint64) *endpointv3.ClusterStats {
	var sum uint64
	var endpoints []*endpointv3.UpstreamEndpointStats
	for i, n := range open {
		sum += n
		endpoints = append(endpoints, &endpointv3.UpstreamEndpointStats{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: fmt.Sprintf("10.0.0.%d", i+1), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 80},
			}}},
			TotalRequestsInProgress: n,
		})
	}
	c := clusterStats(name, 10*time.Second, 1, 0, sum)
	c.UpstreamLocalityStats[0].UpstreamEndpointStats = endpoints
	return c
}

// What is open at endpoints is the sum of the last reports of each Envoy. It is known once all of them
// tell of endpoints, and not kept when nobody asks any more.
func TestFollowOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		a, b := joinEnvoy(t, l, "external", "a"), joinEnvoy(t, l, "external", "b")
		expect := func(wantKnown bool, want ...uint64) {
			t.Helper()
			at, known := l.FollowOpen("external", "/a_0")
			got := make([]uint64, len(want))
			for i := range got {
				got[i] = at[netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)]
			}
			if known != wantKnown || known && (fmt.Sprint(got) != fmt.Sprint(want) || len(at) > len(want)) {
				t.Errorf("%v, known %t; want %v, %t", at, known, want, wantKnown)
			}
		}
		a.report(clusterStats("/a_0", time.Second, 0, 0, 5))
		expect(false) // it began to be asked for
		a.report(withOpen("/a_0", 3, 2))
		expect(true, 3, 2)
		b.report(clusterStats("/a_0", time.Second, 0, 0, 1))
		expect(false)
		b.report(withOpen("/a_0", 0, 1, 4))
		expect(true, 3, 3, 4)
		a.report()
		expect(true, 0, 1, 4)
		a.report(withOpen("/a_0", 7))
		expect(true, 7, 1, 4)
		time.Sleep(goneAfter + 2*time.Second)
		expect(true, 0, 0, 0)
		a.report(withOpen("/a_0", 7))
		expect(true, 7)
		time.Sleep(followOpenFor + 2*time.Second)
		a.report(withOpen("/a_0", 7))
		if n := len(l.fleets["external"].opens); n != 0 {
			t.Errorf("%d clusters are kept for which nobody asks", n)
		}
		if _, known := l.FollowOpen("nowhere", "/a_0"); known {
			t.Error("something is known of a fleet that is none")
		}
	})
}

// However many clusters are asked for, and whatever is reported, no more than so many are kept.
func TestFollowOpenIsBounded(t *testing.T) {
	t.Parallel()
	l := newLoads()
	for i := range maxFollowedOpen + 10 {
		l.FollowOpen("external", fmt.Sprintf("/a_%d", i))
	}
	if _, known := l.FollowOpen("external", "/other_0"); known || len(l.fleets["external"].opens) != maxFollowedOpen {
		t.Errorf("%d clusters are kept", len(l.fleets["external"].opens))
	}
	e := joinEnvoy(t, l, "external", "a")
	many := make([]uint64, maxEndpoints+10)
	for i := range many {
		many[i] = 1
	}
	c := withOpen("/a_0", many...)
	for i, one := range c.GetUpstreamLocalityStats()[0].GetUpstreamEndpointStats() {
		one.GetAddress().GetSocketAddress().Address = fmt.Sprintf("10.0.%d.%d", i>>8, i&255)
	}
	e.report(c)
	if at, known := l.FollowOpen("external", "/a_0"); known || len(at) != maxEndpoints {
		t.Errorf("%d endpoints are kept, known %t", len(at), known)
	}
}

// A real Envoy tells of silent connections, for as long as they are open.
func TestFollowOpenOfARealEnvoy(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		if version < fmt.Sprintf("1.%d", SilentBefore) {
			continue
		}
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := startLoadWorld(t, version)
			w.reporting()
			first, _ := w.open(w.tcp, ""), w.open(w.tcp, "")
			told := func(n uint64) func() bool {
				return func() bool {
					at, known := w.loads.FollowOpen("external", "tcp")
					var sum uint64
					for n := range maps.Values(at) {
						sum += n
					}
					return known && sum == n
				}
			}
			w.eventually("both connections", told(2))
			w.moreReports(3)
			if !told(2)() {
				t.Error("silent connections are not told")
			}
			_ = first.Close()
			w.eventually("one connection", told(1))
		})
	}
}
