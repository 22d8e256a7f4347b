package envoy

import (
	"regexp"
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// clientState is what Envoy keeps of a request: the address of the client, as trustProxies finds it.
const clientState = "relay.client"

// keepClient keeps the address of the client, and has Envoy look for the route again. Routes cannot
// look at the address itself.
func keepClient() *setfilterstatev3.Config {
	return &setfilterstatev3.Config{ClearRouteCache: true, OnRequestHeaders: []*filterstatev3.FilterStateValue{{
		Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: clientState},
		FactoryKey: "envoy.network.ip",
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")},
		}},
	}}}
}

// looksAtNetworks reports whether a rule has routes by the address of the client.
func (b scopeBuilder) looksAtNetworks(r routing.Rule) bool {
	return len(b.IgnoredClients.Networks) > 0 && slices.ContainsFunc(r.Targets, func(t routing.Target) bool { return t.Separates })
}

// separate puts routes for clients that do not count before those to an app that may sleep. They
// lead to the same instances by another cluster, and are the same otherwise, restrictions included.
// The route by network is found when the filters of the other one have run.
func (b scopeBuilder) separate(targets []routing.Target, routes []*routev3.Route) (all []*routev3.Route) {
	for _, route := range routes {
		cluster := route.GetRoute().GetCluster()
		if !slices.ContainsFunc(targets, func(t routing.Target) bool { return t.Separates && t.Cluster == cluster }) {
			all = append(all, route)
			continue
		}
		apart := func() *routev3.Route {
			route := proto.CloneOf(route)
			route.GetRoute().ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: routing.IgnoredCluster(cluster)}
			all = append(all, route)
			return route
		}
		if agents := b.IgnoredClients.UserAgents; len(agents) > 0 {
			m := apart().Match
			m.Headers = append(m.Headers, anyUserAgent(agents))
		}
		if networks := b.IgnoredClients.Networks; len(networks) > 0 {
			var ranges []*xdscorev3.CidrRange
			for _, network := range networks {
				ranges = append(ranges, &xdscorev3.CidrRange{AddressPrefix: network.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(network.Bits()))})
			}
			apart().Match.FilterState = []*matcherv3.FilterStateMatcher{{
				Key:     clientState,
				Matcher: &matcherv3.FilterStateMatcher_AddressMatch{AddressMatch: &matcherv3.AddressMatcher{Ranges: ranges}},
			}}
		}
		all = append(all, route)
	}
	return all
}

// anyUserAgent fits a User-Agent that has one of the texts anywhere.
func anyUserAgent(texts []string) *routev3.HeaderMatcher {
	var quoted []string
	for _, text := range texts {
		quoted = append(quoted, regexp.QuoteMeta(text))
	}
	pattern := "(?i).*(?:" + strings.Join(quoted, "|") + ").*"
	return &routev3.HeaderMatcher{
		Name: "user-agent",
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regexMatcher(pattern, true)},
		}},
	}
}

// separates reports whether a route of a virtual host is one by separate.
func separates(vhost *routev3.VirtualHost) bool {
	return slices.ContainsFunc(vhost.Routes, func(r *routev3.Route) bool { return routing.IsIgnoredCluster(r.GetRoute().GetCluster()) })
}
