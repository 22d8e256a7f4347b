package traffic

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What is read of a report is what the message says.
func TestReadReport(t *testing.T) {
	endpoint := func(address string, port uint32, issued, errors, open uint64) *endpointv3.UpstreamEndpointStats {
		return &endpointv3.UpstreamEndpointStats{Address: socket(address, port), TotalIssuedRequests: issued, TotalSuccessfulRequests: issued - errors, TotalErrorRequests: errors, TotalRequestsInProgress: open}
	}
	raw, err := proto.Marshal(&lrsv3.LoadStatsRequest{
		Node: &corev3.Node{Id: "edge-1", Cluster: "external"},
		ClusterStats: []*endpointv3.ClusterStats{{
			ClusterName: "/a_0", ClusterServiceName: "other", TotalDroppedRequests: 4, LoadReportInterval: &durationpb.Duration{Seconds: 10, Nanos: 5000},
			UpstreamLocalityStats: []*endpointv3.UpstreamLocalityStats{{
				Locality: &corev3.Locality{Zone: "z"}, TotalIssuedRequests: 7, TotalSuccessfulRequests: 5, TotalErrorRequests: 2, TotalRequestsInProgress: 3, Priority: 1,
				UpstreamEndpointStats: []*endpointv3.UpstreamEndpointStats{
					endpoint("10.0.0.1", 31000, 4, 1, 1), endpoint("::1", 80, 3, 1, 2), endpoint("a.test", 80, 1, 0, 0),
					{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/p"}}}},
				},
			}, {TotalIssuedRequests: 10, TotalSuccessfulRequests: 10}},
		}, {}, {ClusterName: "/b_0"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	endpoints := make(map[netip.AddrPort]counts)
	if err := eachCluster(raw, func(c *clusterReport) {
		names = append(names, string(c.name))
		if len(names) > 1 {
			return
		}
		if want := (counts{tally{17, 2}, 3}); c.counts != want || c.interval != 10*time.Second+5*time.Microsecond {
			t.Errorf("got %+v", c)
		}
		if err := c.eachEndpoint(func(a netip.AddrPort, of counts) { endpoints[a] = of }); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, []string{"/a_0", "", "/b_0"}) {
		t.Errorf("clusters %q", names)
	}
	if len(endpoints) != 2 || endpoints[netip.MustParseAddrPort("10.0.0.1:31000")] != (counts{tally{4, 1}, 1}) || endpoints[netip.MustParseAddrPort("[::1]:80")] != (counts{tally{3, 1}, 2}) {
		t.Errorf("endpoints %v", endpoints)
	}
	if n, err := reportNode(raw); err != nil || n.GetId() != "edge-1" || n.GetCluster() != "external" {
		t.Errorf("%v, %v", n, err)
	}
}

// Tries that got no connection are requests, too; those whose answer comes later are no more
// than they are.
func TestRequests(t *testing.T) {
	for _, tt := range []struct{ issued, successes, errors, want uint32 }{
		{0, 0, 0, 0}, {10, 10, 0, 10}, {10, 8, 2, 10}, {10, 5, 2, 10}, // three are in progress
		{0, 0, 2, 2}, // none got a connection
		{1, 1, 1, 2}, // one did not
		{0, 7, 0, 0}, // they were issued before
		{math.MaxUint32, 0, math.MaxUint32, math.MaxUint32}, {0, 0, math.MaxUint32, math.MaxUint32},
	} {
		if got := requests(tt.issued, tt.successes, tt.errors); got != tt.want || got < tt.errors {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

// What was counted is divided over the steps without a rest.
func TestSpread(t *testing.T) {
	for _, interval := range []time.Duration{0, time.Second, 10 * time.Second, 14 * time.Second, 3 * time.Minute, time.Hour} {
		for _, n := range []uint32{0, 1, 2, 3, 1000, math.MaxUint32} {
			end := 1_000_000*Step + 3*time.Second
			var sum uint64
			var parts []uint32
			spanOf(end, interval).each(tally{n, n / 2}, historySteps+kept, func(step int64, part tally) {
				if step < 1_000_000-360 || step > 1_000_000 {
					t.Errorf("step %d", step)
				}
				sum += uint64(part.requests)
				parts = append(parts, part.requests)
			})
			if sum != uint64(n) {
				t.Errorf("%v: %d of %d", interval, sum, n)
			}
			if interval == 10*time.Second && n == 1000 && !slices.Equal(parts, []uint32{700, 300}) {
				t.Errorf("parts %v", parts)
			}
		}
	}
}

// A report that is more work than any Envoy's is refused before it is counted.
func TestReportOfTooManyClusters(t *testing.T) {
	l := newLoads()
	e := joinEnvoy(t, l, "external", "a")
	now := time.Now()
	raw := bytes.Repeat(reportOf(t, clusterStats("/a_0", time.Hour, 1, 0, 0)), maxReported+1)
	if _, err := l.fleets["external"].report(e.reporter, raw, now, l.sinceEpoch(now)); !errors.Is(err, errMalformed) {
		t.Errorf("error %v", err)
	}
	if requests, _ := l.Counters("external"); requests != 0 {
		t.Errorf("%d requests count", requests)
	}
	for interval, most := range map[time.Duration]int{10 * time.Second: 3, time.Hour: newestSteps + 1} {
		raw := reportOf(t, clusterStats("/a_0", interval, 1_000_000, 0, 0))
		if steps, err := l.fleets["external"].report(e.reporter, raw, now, l.sinceEpoch(now)); err != nil || steps > most {
			t.Errorf("%s: %d steps, %v", interval, steps, err)
		}
	}
}

// Whatever an Envoy sends is read within bounds, and as protobuf reads it.
func FuzzReport(f *testing.F) {
	f.Add([]byte{}, uint64(1), uint64(2), uint64(3), int64(10), "/a_0")
	f.Add(reportOf(f, clusterStats("/a_0", time.Second, 1, 2, 3)), uint64(math.MaxUint64), uint64(0), uint64(0), int64(-1), "")
	f.Add(bytes.Repeat([]byte{0x12, 0}, 10), uint64(0), uint64(5), uint64(0), int64(math.MaxInt64), "\xff")
	f.Fuzz(func(t *testing.T, raw []byte, issued, errors, open uint64, seconds int64, name string) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		now := time.Now()
		_, _ = l.fleets["external"].report(e.reporter, raw, now, l.sinceEpoch(now))
		_, _ = reportNode(raw)
		_ = eachCluster(raw, func(c *clusterReport) {
			if c.interval < 0 || c.interval > maxInterval || c.errors > c.requests {
				t.Errorf("%+v", c)
			}
			_ = c.eachEndpoint(func(netip.AddrPort, counts) {})
		})
		stats := clusterStats(name, 0, issued, errors, open)
		stats.LoadReportInterval = &durationpb.Duration{Seconds: seconds}
		message, err := proto.Marshal(&lrsv3.LoadStatsRequest{ClusterStats: []*endpointv3.ClusterStats{stats}})
		if err != nil {
			return // the name is no text
		}
		if err := eachCluster(message, func(c *clusterReport) {
			want := counts{tally{requests(clamp(issued), clamp(issued-min(issued, errors)), clamp(errors)), clamp(errors)}, clamp(open)}
			if string(c.name) != name || issued <= math.MaxUint64/2 && errors <= math.MaxUint64/2 && open <= math.MaxUint64/2 && c.counts != want {
				t.Errorf("%+v, want %+v", c, want)
			}
			if interval := time.Duration(min(uint64(seconds), 3600)) * time.Second; c.interval != interval {
				t.Errorf("interval %v of %d s, want %v", c.interval, seconds, interval)
			}
		}); err != nil {
			t.Error(err)
		}
	})
}
