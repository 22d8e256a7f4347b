package envoy

import (
	"cmp"
	"math"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/sources"
)

const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// Cluster makes the cluster of an app port.
func Cluster(name string, c routing.Connections, f *routing.Fleet) (*clusterv3.Cluster, error) {
	var p packer
	cluster := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{
			// Without a limit: with tens of thousands of clusters Envoy is busy for
			// longer than the default of 15 s, and a cluster that gave up waiting
			// answers 503.
			EdsConfig: adsSource(0),
		},
		ConnectTimeout: durationpb.New(cmp.Or(c.ConnectTimeout, f.Options.ConnectTimeout)),
		LbPolicy:       balancers[c.Balance],
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{
			// The default of 50 % would send requests to endpoints that are known to be
			// bad. With 1 % that happens only if there are no others: if those that Envoy
			// did not eject were removed, the ejected ones are tried.
			HealthyPanicThreshold: &typev3.Percent{Value: 1},
			// Else an ejection, or that an instance is draining, could take a second to count.
			UpdateMergeWindow: durationpb.New(0),
		},
		CircuitBreakers: breakers(c.Upstream),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			httpProtocolOptions: p.pack(upstreamProtocol(c, f.Options)),
		},
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
		TransportSocket:               transportSocket(&p, c, f.UpstreamCA),
		OutlierDetection:              outlierDetection(c),
		UpstreamConnectionOptions:     keepalive(),
		UpstreamBindConfig:            userTimeout(c),
		Metadata:                      namesInstances(c),
	}
	if c.Sticky {
		cluster.CommonLbConfig.OverrideHostStatus = whereClientsStay()
	}
	if c.Balance == sources.BalanceHash {
		cluster.LbConfig = maglevTable()
	}
	if c.TCP {
		tcpCluster(cluster, c)
	}
	if c.Redis {
		redisCluster(&p, cluster, c.RedisPassword)
	}
	switch {
	case c.Mirror:
		boundMirror(cluster)
	case c.Queued:
		cluster.LoadBalancingPolicy = queueBalancing(&p, c.Balance)
	case c.TCP && cluster.LbPolicy == clusterv3.Cluster_LEAST_REQUEST:
		cluster.LoadBalancingPolicy = fewestConnections(&p)
	}
	return cluster, p.err
}

func tcpCluster(cluster *clusterv3.Cluster, c routing.Connections) {
	// A client that may not come to an instance that drains tries again; one that does would be
	// cut off soon.
	cluster.CommonLbConfig.HealthyPanicThreshold = &typev3.Percent{Value: 0}
	// Envoy puts connections with one source address into one pool, in which all have the PROXY header of
	// the first. A device would be taken for another one.
	cluster.ConnectionPoolPerDownstreamConnection = c.SaysWho
}

// whereClientsStay are the states in which an instance keeps its clients.
func whereClientsStay() *corev3.HealthStatusSet {
	return &corev3.HealthStatusSet{Statuses: []corev3.HealthStatus{
		corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY, corev3.HealthStatus_DEGRADED, corev3.HealthStatus_DRAINING,
	}}
}

var balancers = map[sources.Balance]clusterv3.Cluster_LbPolicy{
	sources.BalanceDefault:      clusterv3.Cluster_LEAST_REQUEST,
	sources.BalanceLeastRequest: clusterv3.Cluster_LEAST_REQUEST,
	sources.BalanceRoundRobin:   clusterv3.Cluster_ROUND_ROBIN,
	sources.BalanceRandom:       clusterv3.Cluster_RANDOM,
	sources.BalanceHash:         clusterv3.Cluster_MAGLEV,
}

// breakers have requests queue in the app. Envoy has a queue for each worker and endpoint: in that of a slow endpoint
// requests would wait that another could answer.
func breakers(u sources.Upstream) *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
		thresholds(corev3.RoutingPriority_DEFAULT, u),
		thresholds(corev3.RoutingPriority_HIGH, u),
	}}
}

// thresholds limits only what the app asks to be limited.
func thresholds(priority corev3.RoutingPriority, u sources.Upstream) *clusterv3.CircuitBreakers_Thresholds {
	limit := func(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(cmp.Or(n, math.MaxUint32)) }
	return &clusterv3.CircuitBreakers_Thresholds{
		Priority:           priority,
		MaxConnections:     limit(u.MaxConnections),
		MaxPendingRequests: limit(u.MaxPendingRequests),
		MaxRequests:        limit(u.MaxRequests),
		MaxRetries:         wrapperspb.UInt32(math.MaxUint32),
	}
}

func upstreamProtocol(c routing.Connections, o routing.Options) *upstreamhttpv3.HttpProtocolOptions {
	u := c.Upstream
	explicit := &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: http1ToApps(),
		},
	}
	if u.HTTP2 {
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: upstreamHTTP2(),
		}
	}
	options := &upstreamhttpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:     durationpb.New(o.UpstreamIdleTimeout),
			MaxHeadersCount: wrapperspb.UInt32(maxHeaders),
		},
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	}
	if c.Mirror {
		options.CommonHttpProtocolOptions.MaxStreamDuration = durationpb.New(longestMirror)
	}
	if u.TLS != nil && u.TLS.SNI == "" {
		options.UpstreamHttpProtocolOptions = &corev3.UpstreamHttpProtocolOptions{AutoSni: true, AutoSanValidation: u.TLS.Verify}
	}
	return options
}
