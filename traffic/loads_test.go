package traffic

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// clusterStats is what Envoy tells of a cluster.
func clusterStats(name string, interval time.Duration, issued, errors, inProgress uint64) *endpointv3.ClusterStats {
	c := &endpointv3.ClusterStats{ClusterName: name, LoadReportInterval: durationpb.New(interval)}
	if issued+errors+inProgress > 0 {
		c.UpstreamLocalityStats = []*endpointv3.UpstreamLocalityStats{{
			Locality: &corev3.Locality{}, TotalIssuedRequests: issued, TotalSuccessfulRequests: issued - min(issued, errors),
			TotalErrorRequests: errors, TotalRequestsInProgress: inProgress,
		}}
	}
	return c
}

func reportOf(t testing.TB, clusters ...*endpointv3.ClusterStats) []byte {
	t.Helper()
	raw, err := proto.Marshal(&lrsv3.LoadStatsRequest{Node: node("edge-1"), ClusterStats: clusters})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// testEnvoy reports to a Loads.
type testEnvoy struct {
	t        testing.TB
	loads    *Loads
	fleet    string
	reporter *reporter
}

func newLoads() *Loads {
	return NewLoads([]string{"external", "internal"}, func(_, cluster string) bool { return cluster != "relay-xds" })
}

func joinEnvoy(t testing.TB, l *Loads, fleet, id string) *testEnvoy {
	t.Helper()
	e := &testEnvoy{t, l, fleet, l.fleets[fleet].join(id, time.Now())}
	if e.reporter == nil {
		t.Fatal("there are too many Envoys")
	}
	return e
}

func (e *testEnvoy) report(clusters ...*endpointv3.ClusterStats) {
	e.t.Helper()
	e.send(reportOf(e.t, clusters...))
}

func (e *testEnvoy) send(raw []byte) {
	e.t.Helper()
	now := time.Now()
	if _, err := e.loads.fleets[e.fleet].report(e.reporter, raw, now, e.loads.sinceEpoch(now)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *testEnvoy) leave() { e.loads.fleets[e.fleet].leave(e.reporter) }

func near(a, b float64) bool { return math.Abs(a-b) <= 0.02*math.Max(math.Abs(a), math.Abs(b)) }

// expectLoad compares loads, of which rates are within 2 %.
func expectLoad(t *testing.T, what string, got, want Load) {
	t.Helper()
	if !near(got.Requests, want.Requests) || !near(got.Errors, want.Errors) || !near(got.Requests10m, want.Requests10m) ||
		!near(got.Errors10m, want.Errors10m) || got.InProgress != want.InProgress {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// The rates of two Envoys, which report at different moments, add up, and do not jump from one
// report to the next.
func TestLoadOfSeveralEnvoys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		a, b := joinEnvoy(t, l, "external", "a"), joinEnvoy(t, l, "external", "b")
		for i := range 120 { // twenty minutes
			time.Sleep(6 * time.Second)
			a.report(clusterStats("/shop_0", 10*time.Second, 1000, 10, 3), clusterStats("/idle_0", 10*time.Second, 0, 0, 0))
			time.Sleep(4 * time.Second)
			b.report(clusterStats("/shop_0", 10*time.Second, 500, 0, 4), clusterStats("/other_0", 10*time.Second, 10, 0, 0), clusterStats("relay-xds", time.Second, 9, 9, 9))
			if i < 8 { // one began to count before the other
				continue
			}
			load, ok := l.Cluster("external", "/shop_0")
			if !ok {
				t.Fatal("the cluster is not known")
			}
			expectLoad(t, fmt.Sprint("after report ", i), load, Load{Requests: 150, Errors: 1, Requests10m: 150, Errors10m: 1, InProgress: 7})
			expectLoad(t, "fleet", l.Fleet("external"), Load{Requests: 151, Errors: 1, Requests10m: 151, Errors10m: 1, InProgress: 7})
			if t.Failed() {
				return
			}
		}
		expectLoad(t, "total", l.Total(), Load{Requests: 151, Errors: 1, Requests10m: 151, Errors10m: 1, InProgress: 7})
		one, _ := l.Envoy("external", "a")
		expectLoad(t, "Envoy a", one, Load{Requests: 100, Errors: 1, Requests10m: 100, Errors10m: 1, InProgress: 3})
		if requests, errors := l.Counters("external"); requests != 120*1510 || errors != 120*10 {
			t.Errorf("%d requests, %d errors", requests, errors)
		}
		all := make(map[string]Load)
		l.Each(func(fleet, cluster string, load Load) { all[fleet+" "+cluster] = load })
		if len(all) != 3 || all["external /idle_0"] != (Load{}) || !near(all["external /other_0"].Requests, 1) {
			t.Errorf("%v", all)
		}
		if _, ok := l.Cluster("external", "relay-xds"); ok {
			t.Error("a cluster that is not of the fleet counts")
		}
		if _, ok := l.Cluster("internal", "/shop_0"); ok {
			t.Error("a cluster of another fleet counts")
		}
	})
}

// A minute ends: the rate over one minute is gone after it, and that over ten after ten.
func TestRatesFade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		busy := func(n int, issued uint64) {
			for range n {
				time.Sleep(10 * time.Second)
				e.report(clusterStats("/a_0", 10*time.Second, issued, issued/2, 0))
			}
		}
		busy(80, 600)
		busy(32, 0) // 5 minutes and 20 s, of which 10 s are not looked at yet
		got, _ := l.Cluster("external", "/a_0")
		if got.Requests != 0 || got.Errors != 0 || got.Requests10m < 25 || got.Requests10m > 33 || !near(got.Errors10m, got.Requests10m/2) {
			t.Errorf("after five minutes: %+v", got)
		}
		busy(40, 0)
		if got, _ := l.Cluster("external", "/a_0"); got != (Load{}) {
			t.Errorf("after ten: %+v", got)
		}
	})
}

// What an Envoy counted while it could not report makes no peak, and is not lost.
func TestLateReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		for range 30 {
			time.Sleep(10 * time.Second)
			e.report(clusterStats("/a_0", 10*time.Second, 100, 0, 1))
		}
		e.leave()
		time.Sleep(5 * time.Minute)
		if got := l.Fleet("external"); got.InProgress != 0 || got.Requests != 0 {
			t.Errorf("while nothing is reported: %+v", got)
		}
		if r := l.Reporters(); len(r) != 1 || r[0].Reports(time.Now()) || time.Since(r[0].Last) != 5*time.Minute {
			t.Errorf("reporters: %+v", r)
		}
		e = joinEnvoy(t, l, "external", "a")
		e.report(clusterStats("/a_0", 5*time.Minute, 3000, 0, 1))
		for range 6 {
			time.Sleep(10 * time.Second)
			e.report(clusterStats("/a_0", 10*time.Second, 100, 0, 1))
			expectLoad(t, "afterwards", l.Fleet("external"), Load{Requests: 10, Requests10m: 10, InProgress: 1})
			load, _ := l.Cluster("external", "/a_0")
			expectLoad(t, "the cluster", load, Load{Requests: 10, Requests10m: 10, InProgress: 1})
		}
		s := l.Series("external")
		known := 0
		for i, v := range s.Requests {
			if math.IsNaN(v) {
				continue
			}
			if known++; !near(v, 10) {
				t.Errorf("point %d: %v", i, v)
			}
		}
		if known < 60+5 {
			t.Errorf("%d points are known", known)
		}
	})
}

// The last hour, in steps of 10 s. What nobody reported is not known.
func TestSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e, other := joinEnvoy(t, l, "external", "a"), joinEnvoy(t, l, "internal", "b")
		for i := range 400 {
			time.Sleep(10 * time.Second)
			e.report(clusterStats("/a_0", 10*time.Second, 100, 20, 0))
			if i >= 390 {
				other.report(clusterStats("/a_0", 10*time.Second, 50, 0, 0))
			}
		}
		s := l.Series("external")
		if len(s.Requests) != historySteps || len(s.Errors) != historySteps || s.Start.UnixNano()%int64(Step) != 0 {
			t.Errorf("%d points from %v", len(s.Requests), s.Start)
		}
		if age := time.Since(s.Start) - historySteps*Step; age < 0 || age >= 2*Step {
			t.Errorf("the newest point ended %v ago", age)
		}
		for i := range s.Requests {
			if !near(s.Requests[i], 10) || !near(s.Errors[i], 2) {
				t.Fatalf("point %d: %v, %v", i, s.Requests[i], s.Errors[i])
			}
		}
		known := 0
		for _, v := range l.Series("internal").Requests {
			if !math.IsNaN(v) {
				known++
			}
		}
		if known < 8 || known > 11 {
			t.Errorf("%d points are known of an Envoy that reported ten times", known)
		}
		all := l.Series("")
		if last := all.Requests[historySteps-1]; !near(last, 15) || !near(all.Requests[0], 10) {
			t.Errorf("all fleets: %v, %v", all.Requests[0], last)
		}
	})
}

// The rates of the endpoints of a cluster at which somebody looks.
func TestEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		stats := func() *endpointv3.ClusterStats {
			c := clusterStats("/a_0", 10*time.Second, 300, 30, 3)
			for i, n := range []uint64{100, 200} {
				c.UpstreamLocalityStats[0].UpstreamEndpointStats = append(c.UpstreamLocalityStats[0].UpstreamEndpointStats, &endpointv3.UpstreamEndpointStats{
					Address: socket("10.0.0.1", uint32(31000+i)), TotalIssuedRequests: n, TotalErrorRequests: n / 10, TotalSuccessfulRequests: n - n/10,
					TotalRequestsInProgress: uint64(i + 1),
				})
			}
			return c
		}
		l.Watch("external", "/a_0") // is not known yet
		if e.report(stats()); l.Endpoints("external", "/a_0") != nil {
			t.Error("endpoints without a watch")
		}
		for i := range 30 {
			l.Watch("external", "/a_0")
			time.Sleep(10 * time.Second)
			e.report(stats())
			got := l.Endpoints("external", "/a_0")
			if len(got) != 2 {
				t.Fatalf("%v", got)
			}
			expectLoad(t, fmt.Sprint("endpoint 1, report ", i), got[netip.MustParseAddrPort("10.0.0.1:31000")], Load{Requests: 10, Errors: 1, Requests10m: 10, Errors10m: 1, InProgress: 1})
			expectLoad(t, fmt.Sprint("endpoint 2, report ", i), got[netip.MustParseAddrPort("10.0.0.1:31001")], Load{Requests: 20, Errors: 2, Requests10m: 20, Errors10m: 2, InProgress: 2})
		}
		time.Sleep(watchFor + time.Second)
		e.report(stats())
		if got := l.Endpoints("external", "/a_0"); got != nil {
			t.Errorf("nobody looks any more: %v", got)
		}
	})
}
