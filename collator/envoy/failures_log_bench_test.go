package envoy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"relay/collator/routing"
	"relay/internal/failure"
	"relay/xds/envoytest"
)

// BenchmarkFailuresLog measures what the access log of failures costs Envoy for a request: that
// an app answers, that an app answers with an error, and that Envoy answers itself. Two Envoys,
// one of them without the log, take turns.
func BenchmarkFailuresLog(b *testing.B) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/404" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	b.Cleanup(app.Close)
	relay := startDiscarder(b)
	with, without := startLogged(b, app.Listener.Addr(), relay, true), startLogged(b, app.Listener.Addr(), relay, false)
	for _, load := range []struct{ name, path string }{{"answered", "/"}, {"answered with 404", "/404"}, {"failed", "/offline"}} {
		b.Run(load.name, func(b *testing.B) {
			var differences, costs []float64
			for range 60 {
				cost, other := with.cost(b, load.path), without.cost(b, load.path)
				differences, costs = append(differences, cost-other), append(costs, other)
			}
			slices.Sort(differences)
			slices.Sort(costs)
			b.ReportMetric(differences[len(differences)/2], "µs-more/request")
			b.ReportMetric(costs[len(costs)/2], "µs-without/request")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// discarder is a Relay that takes what Envoys report.
type discarder struct {
	alsv3.UnimplementedAccessLogServiceServer
}

func (discarder) StreamAccessLogs(g alsv3.AccessLogService_StreamAccessLogsServer) error {
	for {
		if _, err := g.Recv(); err != nil {
			return err
		}
	}
}

func startDiscarder(b *testing.B) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer()
	alsv3.RegisterAccessLogServiceServer(g, discarder{})
	go func() { _ = g.Serve(l) }()
	b.Cleanup(g.Stop)
	return l.Addr()
}

// logged is an Envoy with Relay's http listener, but one route table.
type logged struct {
	address string
	envoy   *envoytest.Envoy
}

func startLogged(b *testing.B, app, relay net.Addr, log bool) logged {
	b.Helper()
	fleet := &routing.Fleet{
		Name: "external", Options: routing.DefaultOptions(), HTTP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), envoytest.FreePort(b)),
	}
	listener, err := HTTPListener(fleet)
	if err != nil {
		b.Fatal(err)
	}
	var manager hcmv3.HttpConnectionManager
	filter := listener.FilterChains[0].Filters[0]
	if err := filter.GetTypedConfig().UnmarshalTo(&manager); err != nil {
		b.Fatal(err)
	}
	if !log {
		manager.AccessLog = nil
	}
	manager.HttpFilters = manager.HttpFilters[len(manager.HttpFilters)-2:] // that for retries, and the router
	route := func(path, cluster string) *routev3.Route {
		return &routev3.Route{Name: cluster, Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: path}}, Action: &routev3.Route_Route{
			Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}},
		}}
	}
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		ResponseHeadersToRemove: []string{failure.Header},
		VirtualHosts:            []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{route("/offline", "offline"), route("/", "app")}}},
	}}
	var p packer
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(&manager)}
	toRelay := staticCluster(relayCluster, relay)
	toRelay.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOptions: p.pack(&upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
		}},
	})}
	bootstrap := &bootstrapv3.Bootstrap{
		Node:  &corev3.Node{Id: "a", Cluster: "external"},
		Admin: &bootstrapv3.Admin{Address: socketAddress(netip.MustParseAddrPort("127.0.0.1:0"))},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{listener}, Clusters: []*clusterv3.Cluster{toRelay, staticCluster("app", app), staticCluster("offline", nil)},
		},
	}
	text, err := protojson.Marshal(proto.Message(bootstrap))
	if err != nil || p.err != nil {
		b.Fatal(err, p.err)
	}
	e := envoytest.Start(b, envoytest.Options{Bootstrap: text, Workers: 1})
	if err := e.WaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
	return logged{fleet.HTTP.String(), e}
}

func staticCluster(name string, address net.Addr) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: name},
	}
	if address != nil {
		c.LoadAssignment.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socketAddress(netip.MustParseAddrPort(address.String()))}},
		}}}}
	}
	return c
}

// cost is how much CPU time Envoy takes for a request, in µs.
func (l logged) cost(b *testing.B, path string) float64 {
	b.Helper()
	const n = 1000
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request, r := "GET "+path+" HTTP/1.1\r\nHost: a.test\r\n\r\n", bufio.NewReader(conn)
	before := onCPU(b, l.envoy.Pid())
	for range n {
		if _, err := io.WriteString(conn, request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
	}
	return float64(onCPU(b, l.envoy.Pid())-before) / 1000 / n
}

// onCPU is how long the threads of a process have run, in ns. See
// https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
func onCPU(b *testing.B, pid int) (ns int64) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		b.Fatal("no threads", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			b.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ns += n
	}
	return ns
}
