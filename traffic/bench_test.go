package traffic

import (
	"fmt"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/protobuf/proto"
)

// benchReport is a report as Envoy makes it: of all clusters, of which one in three had requests
// and one in ten has some in progress, with the list of Envoy's extensions.
func benchReport(b *testing.B, clusters int, endpoints bool) []byte {
	b.Helper()
	m := &lrsv3.LoadStatsRequest{Node: node("edge-1")}
	for i := range 500 {
		m.Node.Extensions = append(m.Node.Extensions, &corev3.Extension{
			Name: fmt.Sprintf("envoy.filters.http.of_some_kind_%d", i), Category: "envoy.filters.http", TypeUrls: []string{fmt.Sprintf("envoy.extensions.filters.http.of_some_kind_%d", i)},
		})
	}
	for i := range clusters {
		var issued, open uint64
		if i%3 == 0 {
			issued = uint64(i%1000 + 1)
		}
		if i%10 == 0 {
			open = uint64(i%20 + 1)
		}
		c := clusterStats(fmt.Sprintf("/team-%02d/service-%05d_0", i%40, i), 10*time.Second+time.Duration(i)*time.Nanosecond, issued, issued/50, open)
		for _, l := range c.UpstreamLocalityStats {
			for e := range 3 {
				if endpoints {
					l.UpstreamEndpointStats = append(l.UpstreamEndpointStats, &endpointv3.UpstreamEndpointStats{
						Address: socket(fmt.Sprintf("10.1.%d.%d", i/250, e), 31000+uint32(i%1000)), TotalIssuedRequests: issued / 3, TotalSuccessfulRequests: issued / 3,
					})
				}
			}
		}
		m.ClusterStats = append(m.ClusterStats, c)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// What one report costs Relay, beside what gRPC takes to receive it.
func BenchmarkReport(b *testing.B) {
	for _, clusters := range []int{10_000, 50_000} {
		for _, endpoints := range []bool{false, true} {
			name := fmt.Sprintf("%d clusters", clusters)
			if endpoints {
				name += " with 3 endpoints each, one watched"
			}
			b.Run(name, func(b *testing.B) {
				raw := benchReport(b, clusters, endpoints)
				l := newLoads()
				var envoys []*testEnvoy
				for i := range 10 {
					envoys = append(envoys, joinEnvoy(b, l, "external", fmt.Sprint(i)))
					envoys[i].send(raw)
				}
				l.Watch("external", "/team-00/service-00000_0")
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					envoys[i%10].send(raw)
				}
			})
		}
	}
}

// What it costs to make messages of a report, for comparison.
func BenchmarkReportAsMessages(b *testing.B) {
	raw := benchReport(b, 10_000, false)
	b.ReportAllocs()
	for b.Loop() {
		if err := proto.Unmarshal(raw, new(lrsv3.LoadStatsRequest)); err != nil {
			b.Fatal(err)
		}
	}
}

// What it costs to look at the load of all of 50 000 clusters.
func BenchmarkEach(b *testing.B) {
	l := newLoads()
	joinEnvoy(b, l, "external", "a").send(benchReport(b, 50_000, false))
	l.fleets["external"].from = 1 // else there are no rates yet
	for b.Loop() {
		n := 0
		l.Each(func(string, string, Load) { n++ })
		if n != 50_000 {
			b.Fatal(n)
		}
	}
}

// What it costs to look at the use of a cluster that 1000 Envoys report.
func BenchmarkUse(b *testing.B) {
	l := newLoads()
	for i := range 1000 {
		joinEnvoy(b, l, "external", fmt.Sprint(i)).report(clusterStats("/a_0", time.Second, 1, 0, 1))
	}
	b.ReportAllocs()
	for b.Loop() {
		if l.Use("external", "/a_0").InProgress != 1000 {
			b.Fatal("not all is counted")
		}
	}
}
