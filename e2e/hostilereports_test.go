package e2e

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/xds"
	"relay/xds/xdstest"
)

// Clients that report without end, as much as they can, keep no Envoy from its resources.
func TestFloodsOfReports(t *testing.T) {
	share, times := 1, 5
	if raceDetector { // it makes all of it ten times as much work
		share, times = 4, 1
	}
	node := &corev3.Node{Id: "hostile", Cluster: "external"}
	entries := &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{}
	for range 450_000 {
		entries.LogEntry = append(entries.LogEntry, &accesslogv3.HTTPAccessLogEntry{})
	}
	log := &alsv3.StreamAccessLogsMessage{
		Identifier: &alsv3.StreamAccessLogsMessage_Identifier{LogName: "failures", Node: node},
		LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{HttpLogs: entries},
	}
	load := &lrsv3.LoadStatsRequest{Node: node}
	for range 150_000 {
		load.ClusterStats = append(load.ClusterStats, &endpointv3.ClusterStats{
			ClusterName: "/seed_0", LoadReportInterval: durationpb.New(time.Hour),
			UpstreamLocalityStats: []*endpointv3.UpstreamLocalityStats{{TotalIssuedRequests: 1000, TotalRequestsInProgress: 1}},
		})
	}
	for _, tt := range []struct {
		name    string
		clients int
		open    func(context.Context, *grpc.ClientConn) (grpc.ClientStream, error)
		message any
	}{
		{"access log", 40, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ClientStream, error) {
			return alsv3.NewAccessLogServiceClient(conn).StreamAccessLogs(ctx)
		}, log},
		{"load", 12, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ClientStream, error) {
			return lrsv3.NewLoadReportingServiceClient(conn).StreamLoadStats(ctx)
		}, load},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.relay.start()
			w.eventually("Relay is ready", func() error {
				if reasons := w.relay.running.NotReady(); len(reasons) > 0 {
					return fmt.Errorf("%v", reasons)
				}
				return nil
			})
			clients := tt.clients / share
			begun := make(chan struct{}, clients)
			for range clients {
				w.flood(tt.open, tt.message, begun)
			}
			for range clients / 2 {
				<-begun
			}
			for range times {
				start := time.Now()
				w.resumeWithMuch()
				t.Logf("answered after %s", time.Since(start))
			}
		})
	}
}

// flood sends on a stream, without a pause, until the end of the test. It tells when something is sent.
func (w *world) flood(open func(context.Context, *grpc.ClientConn) (grpc.ClientStream, error), message any, begun chan<- struct{}) {
	w.t.Helper()
	conn, err := grpc.NewClient(w.relay.config.XDS.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for conn.GetState().String() != "SHUTDOWN" {
			stream, err := open(context.Background(), conn)
			var encoded grpc.PreparedMsg // once, as this is the machine that Relay runs on
			if err == nil && encoded.Encode(stream, message) == nil {
				for stream.SendMsg(&encoded) == nil {
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			}
		}
	}()
	w.t.Cleanup(func() { _ = conn.Close(); <-ended })
}

// resumeWithMuch connects an Envoy that has had many clusters, and waits for the answer.
func (w *world) resumeWithMuch() {
	w.t.Helper()
	c := xdstest.Connect(w.t, w.relay.config.XDS.Address, "external", "quiet")
	versions := make(map[string]string)
	for i := range 20_000 {
		versions["/some/app/"+strconv.Itoa(i)] = "0123456789abcdef"
	}
	c.Resume(xds.Cluster.URL(), versions, "*")
	c.Next()
	c.Close()
	_ = c.End()
}
