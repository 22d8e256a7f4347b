package envoy

import (
	"maps"
	"slices"
	"strconv"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/collator/routing"
	"relay/xds"
)

const (
	// wakeChain is the chain of filters that has a request wait until its app is awake.
	wakeChain = "wake"
	// ScalingMetadata is the metadata of routes by which Relay knows the app port of a request.
	// ScalingApp is the name under which the app is routed, ScalingPort the index of the port.
	ScalingMetadata = "relay.scaling"
	ScalingApp      = "app"
	ScalingPort     = "port"
)

// scalingDiscovery takes ScalingFilter from the ADS stream. So it is sent once, and a new chain
// changes no listener. It comes after the filters that keep requests out, as who is not let in
// must wake nothing, and before all that needs a cluster.
func scalingDiscovery() *hcmv3.HttpFilter {
	return discovered(routing.ScalingFilter, &compositev3.Composite{})
}

// ScalingFilter makes the filter with the chains by which requests wait for Relay. A route names
// the one that it needs; scopes that need none leave the filter out, so they pay nothing. It looks
// at the route when the request reaches it, so the hosts filter has found that by then.
//
// A chain that an Envoy does not know is left out there, without a word: the request goes on. So
// nothing that restricts access may ever be such a chain.
func ScalingFilter(f *routing.Fleet) (*corev3.TypedExtensionConfig, error) {
	return scalingFilter(f, queueCluster)
}

// scalingFilter makes the filter for Envoys that reach Relay for queues by these clusters.
func scalingFilter(f *routing.Fleet, queues func(slot int) string) (*corev3.TypedExtensionConfig, error) {
	var p packer
	wake := wakeFilters(&p, f)
	chains := queueChains(&p, queues, wake)
	chains[wakeChain] = &compositev3.FilterChainConfiguration{TypedConfig: wake}
	config := p.extension(routing.ScalingFilter, &compositev3.Composite{NamedFilterChains: chains})
	return config, p.err
}

// scalingResource makes the filter for the store of a fleet. Envoys with an older bootstrap have one
// cluster of Relays: by that, each asks any Relay, and each Relay counts alone. Envoys that know no
// chains by name ignore them.
func scalingResource(f *routing.Fleet, msg *corev3.TypedExtensionConfig) (xds.Resource, error) {
	key := xds.Key{Type: xds.ExtensionConfig, Name: routing.ScalingFilter}
	filter, err := Resource(key, msg)
	if err != nil {
		return xds.Resource{}, err
	}
	without, err := scalingFilter(f, func(int) string { return relayCluster })
	if err != nil {
		return xds.Resource{}, err
	}
	older, err := Resource(key, without)
	return filter.OrWithout(xds.Told(QueueSlotsTold, strconv.Itoa(QueueSlots)), older), err
}

// chainOf returns the chain of ScalingFilter for requests to a target.
func chainOf(target routing.Target) string {
	queue := QueueChain(QueueSlot(target.Cluster))
	switch {
	case target.Gated && target.Queued:
		return wakeChain + "-" + queue
	case target.Queued:
		return queue
	default:
		return wakeChain
	}
}

// gate has requests to a route run a chain of ScalingFilter. The target says for which app port.
func gate(p *packer, route *routev3.Route, target routing.Target) {
	run := p.pack(&compositev3.ExecuteFilterAction{FilterChainName: chainOf(target)})
	perRoute := p.pack(&compositev3.CompositePerRoute{Matcher: &xdsmatcherv3.Matcher{
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "run", TypedConfig: run},
		}},
	}})
	route.TypedPerFilterConfig = maps.Clone(route.TypedPerFilterConfig)
	set(&route.TypedPerFilterConfig, routing.ScalingFilter, perRoute)
	if target.Gated {
		route.RequestHeadersToRemove = append(slices.Clone(route.RequestHeadersToRemove), NodeHeader)
	}
	if route.Metadata == nil {
		route.Metadata = &corev3.Metadata{}
	}
	app, port := routing.SplitClusterName(target.Cluster)
	set(&route.Metadata.FilterMetadata, ScalingMetadata, &structpb.Struct{Fields: map[string]*structpb.Value{
		ScalingApp: structpb.NewStringValue(app), ScalingPort: structpb.NewNumberValue(float64(port)),
	}})
}

func set[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = value
}

// usesScaling reports whether a route has requests wait for Relay.
func usesScaling(vhost *routev3.VirtualHost) bool { return slices.ContainsFunc(vhost.Routes, isGated) }

// mayLackCluster reports whether requests to a route wait until Relay knows that the Envoy has the
// cluster: those to apps that sleep, which tell it which Envoy it is.
func mayLackCluster(r *routev3.Route) bool {
	return isGated(r) && slices.Contains(r.RequestHeadersToRemove, NodeHeader)
}

// isGated reports whether requests to a route wait for Relay.
func isGated(r *routev3.Route) bool { return r.TypedPerFilterConfig[routing.ScalingFilter] != nil }
