package traffic

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What an Envoy has in progress is that of its last report. It counts no more when the Envoy is
// gone, and once if the Envoy comes back before that is noticed.
func TestInProgressOfEnvoysThatGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		inProgress := func(want uint64) {
			t.Helper()
			load, _ := l.Cluster("external", "/a_0")
			if load.InProgress != want || l.Fleet("external").InProgress != want {
				t.Errorf("%d in progress, %d in the fleet, want %d", load.InProgress, l.Fleet("external").InProgress, want)
			}
		}
		a, b := joinEnvoy(t, l, "external", "a"), joinEnvoy(t, l, "external", "b")
		a.report(clusterStats("/a_0", time.Second, 5, 0, 5))
		b.report(clusterStats("/a_0", time.Second, 2, 0, 2))
		inProgress(7)
		a.report(clusterStats("/a_0", time.Second, 0, 0, 4))
		inProgress(6)
		// Envoy comes on a new stream. The old one is not known to be broken.
		again := joinEnvoy(t, l, "external", "a")
		inProgress(2)
		again.report(clusterStats("/a_0", time.Second, 0, 0, 4))
		inProgress(6)
		// Another Envoy has the same id.
		a.report(clusterStats("/a_0", time.Second, 0, 0, 1))
		inProgress(7)
		a.leave()
		again.leave()
		b.report()
		inProgress(5)
		time.Sleep(goneAfter)
		inProgress(5)
		time.Sleep(2 * time.Second)
		inProgress(0)
		if n := len(l.Reporters()); n != 2 {
			t.Errorf("%d Envoys are told of", n)
		}
		time.Sleep(forgetReporter)
		if r := l.Reporters(); len(r) != 1 || r[0].NodeID != "b" {
			t.Errorf("told of are %+v", r) // b has its stream still
		}
	})
}

// Clusters that no Envoy has any more are forgotten.
func TestClustersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		for i := range 90 {
			time.Sleep(10 * time.Second)
			e.report(clusterStats(fmt.Sprintf("/a_%d", i), 10*time.Second, 1, 0, 0), clusterStats("/stays_0", 10*time.Second, 0, 0, 0))
		}
		if n := len(l.fleets["external"].clusters); n > forgetCluster+2*stepsInMinute {
			t.Errorf("%d clusters are kept", n)
		}
		if _, ok := l.Cluster("external", "/stays_0"); !ok {
			t.Error("a cluster that Envoys have is forgotten")
		}
	})
}

// What Envoys report takes no more than so much memory, whatever they report.
func TestLoadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		for i := range 3 {
			var stats []*endpointv3.ClusterStats
			for j := range maxClusters/2 + 10 {
				stats = append(stats, clusterStats(fmt.Sprintf("/app-%d-%d", i, j), time.Second, 1, 0, 0))
			}
			e.report(stats...)
		}
		if n := len(l.fleets["external"].clusters); n != maxClusters {
			t.Errorf("%d clusters", n)
		}
		endless := &endpointv3.ClusterStats{ClusterName: "/app-0-0", LoadReportInterval: &durationpb.Duration{Seconds: -1}}
		for range 3 {
			endless.UpstreamLocalityStats = append(endless.UpstreamLocalityStats, &endpointv3.UpstreamLocalityStats{
				TotalIssuedRequests: math.MaxUint64, TotalErrorRequests: math.MaxUint64, TotalRequestsInProgress: math.MaxUint64,
			})
		}
		l.Watch("external", "/app-0-0")
		for i := range maxEndpoints + 10 {
			endless.UpstreamLocalityStats[0].UpstreamEndpointStats = append(endless.UpstreamLocalityStats[0].UpstreamEndpointStats, &endpointv3.UpstreamEndpointStats{
				Address: socket(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String(), 1), TotalRequestsInProgress: 1,
			})
		}
		e.report(endless)
		if load, _ := l.Cluster("external", "/app-0-0"); load.InProgress != math.MaxUint32 {
			t.Errorf("%+v", load)
		}
		if n := len(l.Endpoints("external", "/app-0-0")); n != maxEndpoints {
			t.Errorf("%d endpoints", n)
		}
		for i := range maxWatched + 10 {
			l.Watch("external", fmt.Sprintf("/app-0-%d", i))
		}
		if n := len(l.fleets["external"].watches.of); n != maxWatched {
			t.Errorf("%d clusters are watched", n)
		}
		for i := range maxReporters + 10 {
			if r := l.fleets["internal"].join(fmt.Sprint(i), time.Now()); r == nil != (i >= maxReporters) {
				t.Fatalf("Envoy %d: %v", i, r)
			}
		}
		for e := range l.fleets["internal"].envoys {
			l.fleets["internal"].leave(l.fleets["internal"].envoys[e].streams[0])
		}
		time.Sleep(goneAfter + time.Second)
		l.Fleet("internal")
		if l.fleets["internal"].join("one more", time.Now()) == nil {
			t.Error("those that are gone leave no room")
		}
	})
}

// 50 000 clusters, of which each has had requests all the time and some in progress at ten
// Envoys, take at most 50 MB.
func TestMemoryOfLoads(t *testing.T) {
	var reports [][]byte
	var stats []*endpointv3.ClusterStats
	for i := range 50_000 {
		stats = append(stats, clusterStats(fmt.Sprintf("/team-%d/product-%d/service-%d_0", i%100, i%1000, i), 10*time.Second, 10, 1, 1))
	}
	reports = append(reports, reportOf(t, stats...))
	stats = nil
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		for i := range 10 {
			joinEnvoy(t, l, "external", fmt.Sprint(i)).send(reports[0])
		}
		used := float64(heap()-before) / 1e6
		t.Logf("%.1f MB", used)
		if used > 50 {
			t.Errorf("%.1f MB are used", used)
		}
		if l.Fleet("external").InProgress != 500_000 {
			t.Error("not all is counted")
		}
	})
}
