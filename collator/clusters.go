package collator

import (
	"math"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// clusterName is the name of an app port in Envoy. It stays the same over
// releases and scaling, so that those are endpoint updates only.
func clusterName(app string, port int) string { return app + "_" + strconv.Itoa(port) }

// splitClusterName is the reverse of clusterName.
func splitClusterName(name string) (app string, port int) {
	i := strings.LastIndexByte(name, '_')
	port, err := strconv.Atoi(name[i+1:])
	if i < 0 || err != nil {
		return name, -1
	}
	return name[:i], port
}

// buildCluster makes the cluster of one app port. It depends on nothing of the
// app but its name: whatever changes often is in the endpoints.
func buildCluster(name string, o Options) (*clusterv3.Cluster, error) {
	var p packer
	cluster := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{
			// Without a limit: at tens of thousands of clusters Envoy is busy for
			// longer than the default of 15 s, and a cluster that gave up waiting
			// answers 503.
			EdsConfig: adsSource(0),
		},
		ConnectTimeout: durationpb.New(o.ConnectTimeout),
		LbPolicy:       clusterv3.Cluster_LEAST_REQUEST,
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{
			// Explicit: the default of 50 % would send requests to endpoints known
			// to be bad.
			HealthyPanicThreshold: &typev3.Percent{Value: 0},
		},
		// Queueing belongs to the app: Envoy's own queues are per worker and
		// endpoint, so that one slow endpoint would hold requests that another
		// could answer.
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
			unlimited(corev3.RoutingPriority_DEFAULT),
			unlimited(corev3.RoutingPriority_HIGH),
		}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			httpProtocolOptions: p.pack(upstreamProtocol(o)),
		},
	}
	return cluster, p.err
}

func unlimited(priority corev3.RoutingPriority) *clusterv3.CircuitBreakers_Thresholds {
	return &clusterv3.CircuitBreakers_Thresholds{
		Priority:           priority,
		MaxConnections:     wrapperspb.UInt32(math.MaxUint32),
		MaxPendingRequests: wrapperspb.UInt32(math.MaxUint32),
		MaxRequests:        wrapperspb.UInt32(math.MaxUint32),
		MaxRetries:         wrapperspb.UInt32(math.MaxUint32),
	}
}

func upstreamProtocol(o Options) *upstreamhttpv3.HttpProtocolOptions {
	return &upstreamhttpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout: durationpb.New(o.UpstreamIdleTimeout),
		},
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
					HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
				},
			},
		},
	}
}
