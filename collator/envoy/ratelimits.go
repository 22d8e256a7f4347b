package envoy

import (
	"net"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	ratelimitconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	setmetadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/collator/routing"
	"relay/sources"
)

const (
	// rateLimitDomain is the one that the configuration of the service names. It needs no more: each request says what
	// its limit is.
	rateLimitDomain = "relay"
	// rateLimitTimeout is how long a request waits for the service at most. It goes on then.
	rateLimitTimeout = 100 * time.Millisecond
	// rateLimitMetadata and rateLimitKey are where a request has its limit.
	rateLimitMetadata, rateLimitKey = "relay.rate_limit", "limit"
)

// RateLimitCluster makes the cluster of the service that counts requests for all Envoys of a fleet. Each Envoy
// looks up its name by itself.
func RateLimitCluster(f *routing.Fleet) (*clusterv3.Cluster, error) {
	var p packer
	host, port, err := net.SplitHostPort(f.RateLimitService)
	p.fail(err)
	n, err := strconv.ParseUint(port, 10, 16)
	p.fail(err)
	return &clusterv3.Cluster{
		Name:                 routing.RateLimitCluster,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS},
		DnsLookupFamily:      clusterv3.Cluster_V4_PREFERRED,
		ConnectTimeout:       durationpb.New(time.Second),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: routing.RateLimitCluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)},
				}}},
			}}}},
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpProtocolOptions: p.pack(&upstreamhttpv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
			}},
		})},
	}, p.err
}

// countEverywhere has the service count requests to an app port over all Envoys of the fleet. While it does not
// answer, they go on: each Envoy counts for itself too, by limitRate. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rate_limit_filter
func (b scopeBuilder) countEverywhere(c *filterChains, r routing.Rule) {
	l := r.HTTP.RequestLimits
	if l == nil || !l.Everywhere || l.Rate == nil {
		return
	}
	c.add("set_limit", &setmetadatav3.Config{Metadata: []*setmetadatav3.Metadata{{
		MetadataNamespace: rateLimitMetadata, Value: &structpb.Struct{Fields: map[string]*structpb.Value{rateLimitKey: limitOfService(*l.Rate)}},
	}}})
	label := func(key, value string) *routev3.RateLimit_Action {
		return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_GenericKey_{
			GenericKey: &routev3.RateLimit_Action_GenericKey{DescriptorKey: key, DescriptorValue: value},
		}}
	}
	c.addWaiting("rate_limit_service", &ratelimitv3.RateLimit{
		Domain: rateLimitDomain, StatPrefix: limitStats, Timeout: durationpb.New(rateLimitTimeout),
		RateLimitedAsResourceExhausted: true, DisableXEnvoyRatelimitedHeader: true,
		RateLimitService: &ratelimitconfigv3.RateLimitServiceConfig{
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: routing.RateLimitCluster},
			}},
		},
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{
			headerOption(retryAfter, strconv.Itoa(int(l.Rate.Per/time.Second)), corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
		},
		RateLimits: []*routev3.RateLimit{{
			Actions: []*routev3.RateLimit_Action{label("fleet", b.Name), label("port", routing.ClusterName(r.Claim.App, r.Claim.Port))},
			Limit: &routev3.RateLimit_Override{OverrideSpecifier: &routev3.RateLimit_Override_DynamicMetadata_{
				DynamicMetadata: &routev3.RateLimit_Override_DynamicMetadata{MetadataKey: &metadatav3.MetadataKey{
					Key:  rateLimitMetadata,
					Path: []*metadatav3.MetadataKey_PathSegment{{Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: rateLimitKey}}},
				}},
			}},
		}},
	})
}

// limitOfService writes a rate as the service takes it, which knows no burst: it counts anew each second, minute, hour or
// day.
func limitOfService(r sources.Rate) *structpb.Value {
	unit := map[time.Duration]string{time.Second: "SECOND", time.Minute: "MINUTE", time.Hour: "HOUR", 24 * time.Hour: "DAY"}[r.Per]
	return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"requests_per_unit": structpb.NewNumberValue(float64(r.Requests)), "unit": structpb.NewStringValue(unit),
	}})
}
