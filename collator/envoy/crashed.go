package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// crashedMetadata is the metadata of routes to apps whose tasks fail. Envoy looks at it only if it
// finds no instance. So an app that is there again is served by its endpoints alone, however soon
// the scope follows.
const crashedMetadata = "relay.crashed"

// crashes fits requests to such routes.
const crashes = "'" + crashedMetadata + "' in xds.route_metadata.filter_metadata"

// crashed notes in routes that the tasks of their app fail.
func crashed(routes []*routev3.Route) {
	for _, route := range routes {
		setMetadata(route, crashedMetadata, &structpb.Struct{})
	}
}

// setMetadata sets one kind of a route's metadata, beside the others.
func setMetadata(route *routev3.Route, kind string, values *structpb.Struct) {
	if route.Metadata == nil {
		route.Metadata = &corev3.Metadata{}
	}
	if route.Metadata.FilterMetadata == nil {
		route.Metadata.FilterMetadata = make(map[string]*structpb.Struct)
	}
	route.Metadata.FilterMetadata[kind] = values
}
