package envoy_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"relay/collator/collatortest"
	"relay/collator/envoy"
	"relay/xds/envoytest"
)

// BenchmarkIdleLogs measures the CPU time of Envoy for a request, answered by Envoy itself
// with 200, that no access log reports: without logs, with all but the tail, and with all.
// They take turns, so what else runs on the machine hits all alike.
func BenchmarkIdleLogs(b *testing.B) {
	all := requestLogsOf(b)
	tail := slices.IndexFunc(all, func(l *accesslogv3.AccessLog) bool { return l.Name == envoy.TailLog })
	if tail < 0 {
		b.Fatal("the listener has no log for tails")
	}
	names := []string{"none", "without-tail", "all"}
	envoys := []*loggingEnvoy{startLogging(b, nil), startLogging(b, slices.Delete(slices.Clone(all), tail, tail+1)), startLogging(b, all)}
	inTurns(b, names, envoys)
}

// inTurns reports the CPU time of a request for each Envoy: the median of many rounds.
func inTurns(b *testing.B, names []string, envoys []*loggingEnvoy) {
	b.Helper()
	const rounds, perRound = 40, 2000
	for b.Loop() {
		costs := make([][]float64, len(envoys))
		for range rounds {
			for i, e := range envoys {
				before := e.nanoseconds(b)
				e.load(b, perRound)
				costs[i] = append(costs[i], float64(e.nanoseconds(b)-before)/perRound/1000)
			}
		}
		for i, name := range names {
			slices.Sort(costs[i])
			b.ReportMetric(costs[i][rounds/2], "µs-"+name)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// loggingEnvoy is an Envoy with one listener, which answers everything.
type loggingEnvoy struct {
	*envoytest.Envoy
	address string
}

// requestLogsOf are the access logs of Relay's listener for HTTP.
func requestLogsOf(b *testing.B) []*accesslogv3.AccessLog {
	b.Helper()
	fleet := collatortest.Fleet()
	listener, err := envoy.HTTPListener(&fleet)
	if err != nil {
		b.Fatal(err)
	}
	var manager hcmv3.HttpConnectionManager
	if err := listener.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(&manager); err != nil {
		b.Fatal(err)
	}
	return manager.AccessLog
}

func startLogging(b *testing.B, logs []*accesslogv3.AccessLog) *loggingEnvoy {
	b.Helper()
	pack := func(m proto.Message) *anypb.Any {
		packed, err := anypb.New(m)
		if err != nil {
			b.Fatal(err)
		}
		return packed
	}
	port := envoytest.FreePort(b)
	socket := func(port uint32) *corev3.Address {
		return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		}}}
	}
	manager := &hcmv3.HttpConnectionManager{StatPrefix: "http", AccessLog: logs,
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{
			Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusOK}},
			}},
		}}}},
		HttpFilters: []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&routerv3.Router{})}}},
	}
	relay := &clusterv3.Cluster{Name: "relay-xds", LoadAssignment: &endpointv3.ClusterLoadAssignment{
		ClusterName: "relay-xds", Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socket(1)}},
		}}}},
	}}
	bootstrap, err := protojson.Marshal(&bootstrapv3.Bootstrap{
		Admin: &bootstrapv3.Admin{Address: socket(0)},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Clusters: []*clusterv3.Cluster{relay},
			Listeners: []*listenerv3.Listener{{Name: "http", Address: socket(uint32(port)), FilterChains: []*listenerv3.FilterChain{{
				Filters: []*listenerv3.Filter{{Name: "http", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(manager)}}},
			}}}},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	e := &loggingEnvoy{envoytest.Start(b, envoytest.Options{Bootstrap: bootstrap, Workers: 1}), fmt.Sprint("127.0.0.1:", port)}
	if err := e.WaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
	e.load(b, 2000)
	return e
}

func (e *loggingEnvoy) load(b *testing.B, n int) {
	b.Helper()
	const clients = 4
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			if err := repeat(e.address, "a.test", n/clients); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

// nanoseconds is the CPU time of the Envoy, finer than that of cpuTicks. See
// https://www.kernel.org/doc/html/latest/scheduler/sched-stats.html
func (e *loggingEnvoy) nanoseconds(b *testing.B) (sum int) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", e.Pid()))
	if err != nil || len(threads) == 0 {
		b.Fatal("no threads: ", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			b.Fatal(err)
		}
		spent, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.Atoi(spent)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return sum
}
