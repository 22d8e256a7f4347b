package envoy

import (
	"maps"
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/collator/routing"
	"relay/internal/authz"
	"relay/internal/questions"
)

// wakeChain is the chain of filters that has a request wait until its app is awake.
const wakeChain = "wake"

// scalingFilters are those by which requests wait for Relay. They come by the ADS stream: so they
// are sent once, and a new chain changes no listener. They come after the filters that keep
// requests out, as who is not let in must wake nothing, and before all that needs a cluster.
func scalingFilters() []*hcmv3.HttpFilter {
	return []*hcmv3.HttpFilter{
		discovered(routing.ScalingFilter, &compositev3.Composite{}),
		discovered(routing.QueueFilter, &compositev3.Composite{}),
	}
}

// ScalingFilter makes the filter with the chains by which requests wait for Relay. A route names
// the one that it needs; scopes that need none leave the filter out, so they pay nothing. It looks
// at the route when the request reaches it, so the hosts filter has found that by then.
//
// A chain that an Envoy does not know is left out there, without a word: the request goes on. So
// nothing that restricts access may ever be such a chain.
func ScalingFilter(f *routing.Fleet) (*corev3.TypedExtensionConfig, error) {
	var p packer
	config := p.extension(routing.ScalingFilter, &compositev3.Composite{
		NamedFilterChains: map[string]*compositev3.FilterChainConfiguration{wakeChain: {TypedConfig: wakeFilters(&p, f)}},
	})
	return config, p.err
}

// askRelay has requests to a route wait for Relay. The target says for which app port, and whether
// it sleeps or has a queue.
func askRelay(p *packer, route *routev3.Route, target routing.Target) {
	route.TypedPerFilterConfig = maps.Clone(route.TypedPerFilterConfig)
	if target.Gated {
		set(&route.TypedPerFilterConfig, routing.ScalingFilter, runChain(p, wakeChain))
		route.RequestHeadersToRemove = append(slices.Clone(route.RequestHeadersToRemove), authz.NodeHeader, authz.RouteHeader)
	}
	if target.Queued {
		app, port := routing.SplitClusterName(target.Cluster)
		setMetadata(route, questions.RouteMetadata, &structpb.Struct{Fields: map[string]*structpb.Value{
			questions.RouteApp: structpb.NewStringValue(app), questions.RoutePort: structpb.NewNumberValue(float64(port)),
		}})
		set(&route.TypedPerFilterConfig, routing.QueueFilter, runChain(p, QueueChain(QueueSlot(target.Cluster))))
	}
}

// runChain has a filter with chains run one of them.
func runChain(p *packer, name string) *anypb.Any {
	run := p.pack(&compositev3.ExecuteFilterAction{FilterChainName: name})
	return p.pack(&compositev3.CompositePerRoute{Matcher: &xdsmatcherv3.Matcher{
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "run", TypedConfig: run},
		}},
	}})
}

func set[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = value
}

// uses reports whether a route of a virtual host has a filter do something.
func uses(vhost *routev3.VirtualHost, filter string) bool {
	return vhost.TypedPerFilterConfig[filter] != nil || slices.ContainsFunc(vhost.Routes, func(r *routev3.Route) bool { return r.TypedPerFilterConfig[filter] != nil })
}

// asksRelay reports whether requests to a route wait for Relay.
func asksRelay(vhost *routev3.VirtualHost) bool {
	return uses(vhost, routing.ScalingFilter) || uses(vhost, routing.QueueFilter)
}

// mayLackCluster reports whether requests to a route wait until Relay knows that the Envoy has the
// cluster: those to apps that sleep.
func mayLackCluster(r *routev3.Route) bool {
	return r.TypedPerFilterConfig[routing.ScalingFilter] != nil
}

// onlyAsks reports whether all requests to a virtual host wait until an app is awake.
func onlyAsks(vhost *routev3.VirtualHost) bool {
	return len(vhost.Routes) > 0 && !slices.ContainsFunc(vhost.Routes, func(r *routev3.Route) bool { return !mayLackCluster(r) })
}

// takeFromAll has headers taken off all requests of a scope, in place of those to each route.
func takeFromAll(c *routev3.RouteConfiguration, headers ...string) {
	for _, r := range c.VirtualHosts[0].Routes {
		r.RequestHeadersToRemove = slices.DeleteFunc(r.RequestHeadersToRemove, func(h string) bool { return slices.Contains(headers, h) })
	}
	c.RequestHeadersToRemove = append(c.RequestHeadersToRemove, headers...)
}
