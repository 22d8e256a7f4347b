package envoy

import (
	"slices"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	grpcaccesslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/internal/failure"
)

const (
	// TailLog is the access log of requests that somebody follows.
	TailLog = "tail"
	// tailMetadata is the metadata of routes whose requests are logged. Envoy reports what is in
	// it with each request, as tags of the same names.
	tailMetadata           = "relay.tail"
	tailDomain, tailTarget = "domain", "target"
)

// tailLog is an access log by which Envoy tells Relay of each request to a route that is tailed
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/grpc/v3/als.proto).
// It is in the listener always, as a change of the listener would close connections. A request
// to any other route costs a look at its metadata. Envoy reports no headers but
// those which the message has fields for, and the one with the code of a failure: no
// Authorization, no cookies.
func tailLog(p *packer) *accesslogv3.AccessLog {
	tag := func(name string) *tracingv3.CustomTag {
		return &tracingv3.CustomTag{Tag: name, Type: &tracingv3.CustomTag_Metadata_{Metadata: &tracingv3.CustomTag_Metadata{
			Kind: &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Route_{Route: &metadatav3.MetadataKind_Route{}}},
			MetadataKey: &metadatav3.MetadataKey{Key: tailMetadata, Path: []*metadatav3.MetadataKey_PathSegment{{
				Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: name},
			}}},
		}}}
	}
	config := logToRelay(TailLog)
	config.BufferFlushInterval = durationpb.New(100 * time.Millisecond) // people wait for it
	config.CustomTags = []*tracingv3.CustomTag{tag(tailDomain), tag(tailTarget)}
	return &accesslogv3.AccessLog{
		Name:   TailLog,
		Filter: expression(p, "'"+tailMetadata+"' in xds.route_metadata.filter_metadata"),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: p.pack(&grpcaccesslogv3.HttpGrpcAccessLogConfig{
			CommonConfig:                   config,
			AdditionalResponseHeadersToLog: []string{failure.Header},
		})},
	}
}

// tailed returns the routes with what has Envoy report their requests. The target is the
// cluster that they are for, though a redirect reaches none. The routes given stay as they are:
// some are shared.
func tailed(domain, target string, routes []*routev3.Route) []*routev3.Route {
	marked := make([]*routev3.Route, len(routes))
	for i, route := range routes {
		marked[i] = proto.CloneOf(route)
		setMetadata(marked[i], tailMetadata, &structpb.Struct{Fields: map[string]*structpb.Value{
			tailDomain: structpb.NewStringValue(domain), tailTarget: structpb.NewStringValue(target),
		}})
	}
	return marked
}

// isTailed reports whether requests to some of the routes of a scope are reported.
func isTailed(scope *routev3.ScopedRouteConfiguration) bool {
	return slices.ContainsFunc(scope.RouteConfiguration.VirtualHosts, func(vhost *routev3.VirtualHost) bool {
		return slices.ContainsFunc(vhost.Routes, func(r *routev3.Route) bool { return r.GetMetadata().GetFilterMetadata()[tailMetadata] != nil })
	})
}
