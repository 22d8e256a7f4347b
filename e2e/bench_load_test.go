package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/sources/marathon/marathontest"
	"relay/xds/xdstest"
)

// BenchmarkLoadReports measures how much CPU time Relay, as a process of its own, takes to read
// the load that Envoys report of all their clusters: what it takes more with reports than
// without, for a minute each. All Envoys but one are made up. The reports of these say that one
// cluster in three had requests.
func BenchmarkLoadReports(b *testing.B) {
	b.Run("10000-apps-10-envoys", func(b *testing.B) { benchmarkReports(b, manyApps, 10, true) })
	b.Run("50000-apps-100-envoys", func(b *testing.B) { benchmarkReports(b, 5*manyApps, 100, false) })
}

func benchmarkReports(b *testing.B, apps, envoys int, realEnvoy bool) {
	const length, warmUp = time.Minute, 45 * time.Second // of which Envoys may be told to report less often
	w := newBenchWorld(b, marathontest.Options{}, benchFiller(apps, "test")...)
	p := w.startProcess()
	p.awaitSyncs(1)
	var envoy procfs
	if realEnvoy {
		envoy = procfs{b, w.startEnvoy().Pid()}
	}
	p.settle()
	perCent := func(of procfs) float64 {
		before := of.cpu()
		time.Sleep(length)
		return 100 * (of.cpu() - before).Seconds() / length.Seconds()
	}
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	b.Cleanup(func() { stop(); wg.Wait() })
	for b.Loop() {
		without := perCent(p.procfs)
		report := fillerReport(apps)
		for i := range envoys {
			wg.Go(func() { w.reportLoad(ctx, fmt.Sprint("edge-", i), report) })
		}
		time.Sleep(warmUp)
		with := perCent(p.procfs)
		b.ReportMetric(without, "%core-without")
		b.ReportMetric(with-without, "%core-for-reports")
		b.ReportMetric(float64(p.memory("VmRSS"))/1e6, "MB")
		if realEnvoy {
			b.ReportMetric(perCent(envoy), "%core-envoy")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// fillerReport is what an Envoy reports of the apps of benchFiller.
func fillerReport(apps int) []*endpointv3.ClusterStats {
	all := make([]*endpointv3.ClusterStats, apps)
	for i := range all {
		all[i] = &endpointv3.ClusterStats{
			ClusterName: fmt.Sprintf("/group-%d/app-%d_0", i%20, i), LoadReportInterval: &durationpb.Duration{Seconds: 10, Nanos: int32(i)},
		}
		if i%3 == 0 {
			n := uint64(i%1000 + 1)
			all[i].UpstreamLocalityStats = []*endpointv3.UpstreamLocalityStats{{
				Locality: &corev3.Locality{}, TotalIssuedRequests: n, TotalSuccessfulRequests: n - n/50, TotalErrorRequests: n / 50, TotalRequestsInProgress: uint64(i % 4),
			}}
		}
	}
	return all
}

// reportLoad is an Envoy that is served and reports as it is told to, until ctx ends.
func (w *benchWorld) reportLoad(ctx context.Context, id string, clusters []*endpointv3.ClusterStats) {
	served := xdstest.Connect(w.b, w.config.XDS.Address, "external", id)
	served.Subscribe("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "none")
	var always atomic.Bool
	always.Store(true)
	w.sendReports(ctx, id, clusters, &always)
}

// sendReports reports what clusters have, as it is told to, while that is wanted.
func (w *benchWorld) sendReports(ctx context.Context, id string, clusters []*endpointv3.ClusterStats, wanted *atomic.Bool) {
	conn, err := grpc.NewClient(w.config.XDS.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.b.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	stream, err := lrsv3.NewLoadReportingServiceClient(conn).StreamLoadStats(ctx)
	if err != nil {
		w.b.Error(err)
		return
	}
	node := &corev3.Node{Id: id, Cluster: "external"}
	for i := range 500 { // Envoy names all its extensions each time
		node.Extensions = append(node.Extensions, &corev3.Extension{
			Name: fmt.Sprintf("envoy.filters.http.of_some_kind_%d", i), Category: "envoy.filters.http", TypeUrls: []string{fmt.Sprintf("envoy.extensions.filters.http.of_some_kind_%d", i)},
		})
	}
	_ = stream.Send(&lrsv3.LoadStatsRequest{Node: node})
	intervals := make(chan time.Duration)
	go func() {
		defer close(intervals)
		for {
			told, err := stream.Recv()
			if err != nil {
				return
			}
			intervals <- told.GetLoadReportingInterval().AsDuration()
		}
	}()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for interval := time.Hour; ; {
		var open bool
		select {
		case interval, open = <-intervals:
			if !open {
				return
			}
		case <-due.C:
			if wanted.Load() {
				_ = stream.Send(&lrsv3.LoadStatsRequest{Node: node, ClusterStats: clusters})
			}
		}
		due.Reset(interval)
	}
}
