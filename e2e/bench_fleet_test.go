package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/xds/xdsload"
)

// benchFleet are made-up Envoys that have all resources and acknowledge what changes. They report
// load, and requests to who follows them, when they are told to.
type benchFleet struct {
	b                  *testing.B
	reporting, tailing atomic.Bool
}

const (
	// tailedApps are how many apps are followed, of which each of tailingEnvoys reports entriesEach
	// requests in entriesEvery.
	tailedApps, tailingEnvoys, entriesEach = 2, 10, 2
	entriesEvery                           = 100 * time.Millisecond
)

// startFleet returns when all Envoys have everything.
func (w *benchWorld) startFleet(envoys, apps int) *benchFleet {
	w.b.Helper()
	f := &benchFleet{b: w.b}
	names, report := xdsload.NewNames(), fillerReport(apps)
	ctx, stop := context.WithCancel(w.b.Context())
	w.b.Cleanup(stop)
	for i := range envoys {
		id := fmt.Sprintf("edge-%03d", i)
		e, err := xdsload.New(xdsload.Options{
			Address: w.config.XDS.Address, Fleet: "external", NodeID: id, Names: names, ExtensionConfigs: []string{routing.HostsFilter},
		})
		if err != nil {
			w.b.Fatal(err)
		}
		w.b.Cleanup(func() { _ = e.Close() })
		if err := e.Connect(w.b.Context()); err != nil {
			w.b.Fatal(err)
		}
		select {
		case <-e.Ready():
		case err := <-e.Ended():
			w.b.Fatal(err)
		}
		go ticks(ctx, time.Second, func(int) { e.Samples() }) // else they are kept
		go w.sendReports(ctx, id, report, &f.reporting)
		if i < tailingEnvoys {
			go w.sendEntries(ctx, id, &f.tailing)
		}
	}
	return f
}

// sendEntries reports requests to the apps that are followed, as a real Envoy does: while they are.
func (w *benchWorld) sendEntries(ctx context.Context, id string, due *atomic.Bool) {
	conn, err := grpc.NewClient(w.config.XDS.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.b.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	stream, err := alsv3.NewAccessLogServiceClient(conn).StreamAccessLogs(ctx)
	if err != nil {
		w.b.Error(err)
		return
	}
	said := &alsv3.StreamAccessLogsMessage_Identifier{LogName: envoy.TailLog, Node: &corev3.Node{Id: id, Cluster: "external"}}
	ticks(ctx, entriesEvery, func(int) {
		if !due.Load() {
			return
		}
		var entries []*accesslogdatav3.HTTPAccessLogEntry
		for i := range entriesEach {
			entries = append(entries, fillerEntry(i%tailedApps))
		}
		_ = stream.Send(&alsv3.StreamAccessLogsMessage{Identifier: said, LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{
			HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries},
		}})
		said = nil
	})
}

// fillerEntry is a request to an app of benchFiller.
func fillerEntry(app int) *accesslogdatav3.HTTPAccessLogEntry {
	domain, cluster := fmt.Sprintf("app-%d.filler.test", app), fmt.Sprintf("/group-%d/app-%d_0", app%20, app)
	return &accesslogdatav3.HTTPAccessLogEntry{
		CommonProperties: &accesslogdatav3.AccessLogCommon{
			StartTime: timestamppb.Now(), UpstreamCluster: cluster, CustomTags: map[string]string{"domain": domain, "target": cluster},
		},
		Request: &accesslogdatav3.HTTPRequestProperties{
			RequestMethod: corev3.RequestMethod_GET, Authority: domain, Path: "/some/path?with=query", UserAgent: "Mozilla/5.0", RequestId: "0f7b6f1e-2f7e-4a6c-9d55-0123456789ab",
		},
		Response: &accesslogdatav3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(200), ResponseBodyBytes: 1000},
	}
}
