package traffic

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// reportClient is an Envoy that reports to a server.
type reportClient struct {
	t *testing.T
	lrsv3.LoadReportingService_StreamLoadStatsClient
}

func startLoadServer(t *testing.T, l *Loads, served func(fleet, node string) bool) (connect func() reportClient) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	NewLoadServer(l, served).Register(g, func(_ context.Context, first func() (*corev3.Node, error)) (handled, done func(), err error) {
		_, err = first()
		return func() {}, func() {}, err
	})
	go func() { _ = g.Serve(listener) }()
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func() reportClient {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		t.Cleanup(cancel)
		stream, err := lrsv3.NewLoadReportingServiceClient(conn).StreamLoadStats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return reportClient{t, stream}
	}
}

func (c reportClient) send(clusters ...string) {
	c.t.Helper()
	m := &lrsv3.LoadStatsRequest{Node: node("edge-1")}
	for _, name := range clusters {
		m.ClusterStats = append(m.ClusterStats, clusterStats(name, 10*time.Second, 100, 0, 1))
	}
	if err := c.Send(m); err != nil {
		c.t.Fatal(err)
	}
}

// told expects that the Envoy is told to report so.
func (c reportClient) told(endpoints bool, interval time.Duration) {
	c.t.Helper()
	m, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	if !m.GetSendAllClusters() || m.GetReportEndpointGranularity() != endpoints || m.GetLoadReportingInterval().AsDuration() != interval {
		c.t.Errorf("told %v", m)
	}
}

// An Envoy is told to tell of endpoints at once when somebody begins to look, and to stop after
// a report when nobody does. In between it is told nothing, as that would begin a new interval.
func TestWhatEnvoysAreTold(t *testing.T) {
	t.Parallel()
	l := newLoads()
	c := startLoadServer(t, l, func(string, string) bool { return true })()
	c.send()
	c.told(false, reportInterval)
	c.send("/a_0", "/b_0")
	await(t, "the report is read", func() bool { _, ok := l.Cluster("external", "/b_0"); return ok })
	l.Watch("external", "/a_0")
	c.told(true, soon)
	l.Watch("external", "/b_0")
	c.send("/a_0")
	c.told(true, reportInterval)
	for range 3 {
		c.send("/a_0")
	}
	await(t, "the reports are read", func() bool { requests, _ := l.Counters("external"); return requests == 600 })
	f := l.fleets["external"]
	f.mu.Lock()
	for _, w := range f.watches.of {
		w.until = time.Time{}
	}
	f.mu.Unlock()
	c.send("/a_0")
	c.told(false, reportInterval)
}

// An Envoy that another Relay serves is sent there after a report, which counts.
func TestEnvoysOfOtherRelaysAreSentOn(t *testing.T) {
	t.Parallel()
	l := newLoads()
	c := startLoadServer(t, l, func(fleet, id string) bool { return fleet != "external" || id != "edge-1" })()
	c.send("/a_0")
	c.told(false, reportInterval)
	c.send("/a_0")
	if _, err := c.Recv(); err != io.EOF {
		t.Errorf("the stream ends with %v", err)
	}
	if requests, _ := l.Counters("external"); requests != 200 {
		t.Errorf("%d requests count", requests)
	}
}

// What is no report ends its stream, and no other.
func TestWhatIsNoReport(t *testing.T) {
	t.Parallel()
	l := newLoads()
	connect := startLoadServer(t, l, func(string, string) bool { return true })
	good := connect()
	good.send("/a_0")
	good.told(false, reportInterval)
	for what, tt := range map[string]struct {
		node *corev3.Node
		want codes.Code
	}{
		"unknown fleet": {&corev3.Node{Id: "edge-1", Cluster: "unknown"}, codes.InvalidArgument},
		"no node":       {nil, codes.InvalidArgument},
		"much of it":    {&corev3.Node{Id: "edge-1", Cluster: "external", UserAgentName: strings.Repeat("x", maxNode)}, codes.InvalidArgument},
		"too large":     {&corev3.Node{Id: "edge-1", Cluster: "external", UserAgentName: strings.Repeat("x", maxReport)}, codes.ResourceExhausted},
	} {
		bad := connect()
		_ = bad.Send(&lrsv3.LoadStatsRequest{Node: tt.node})
		if _, err := bad.Recv(); status.Code(err) != tt.want {
			t.Errorf("%s: %v", what, err)
		}
	}
	good.send("/a_0")
	await(t, "the other stream goes on", func() bool { requests, _ := l.Counters("external"); return requests == 200 })
}

// Large fleets report less often.
func TestInterval(t *testing.T) {
	for _, tt := range []struct {
		clusters, envoys int
		want             time.Duration
	}{{0, 0, 10}, {10_000, 10, 10}, {10_000, 200, 10}, {10_000, 201, 30}, {20_001, 1, 30}, {50_000, 100, 30}} {
		if got := intervalFor(reportInterval, 0, tt.clusters, tt.envoys); got != tt.want*time.Second {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	if longest := intervalFor(reportInterval, 0, manyClusters+1, 1); longest+5*time.Second >= goneAfter || longest > (maxLag-1)*Step {
		t.Errorf("an Envoy that reports every %v is taken for gone", longest)
	}
}

func await(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !check(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}
