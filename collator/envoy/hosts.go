package envoy

import (
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"

	"relay/collator/routing"
)

const (
	// scopeHeader carries the key of the scope within Envoy: the request's host
	// as sent, or what the hosts filter made of it. The key ends at a colon.
	scopeHeader = "x-relay-scope"

	// plainHost is the host in lower case, without a dot at its end: the colon
	// stands for the end, or is that of the port.
	plainHost = `%CEL((request.headers[':authority'].lowerAscii() + ':').replace('.:', ':'))%`
	// knownHost is the domain whose virtual host was found, which is the name of
	// its scope too.
	knownHost = `%CEL(has(xds.virtual_host_name) ? xds.virtual_host_name : '` + routing.WildcardsScope + `')%`
)

// HostsFilter makes the filter that finds a scope for requests whose host as sent
// has none: first that of the host in its plain spelling, then, among the
// wildcard domains, that of the longest one that the host is under. Every filter
// chain has one, so it names no domain, and holds nothing for each worker. Scopes
// leave it out (disabled): it costs nothing where a route was found at once.
// Where an expression fails the request has no scope, and gets 404.
func HostsFilter() (*corev3.TypedExtensionConfig, error) {
	var p packer
	again := p.extension("again", &setfilterstatev3.Config{ClearRouteCache: true})
	// This one looks for settings of the route, so that the route has been found
	// when the next step asks for the virtual host.
	find := p.extension("find", &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{}})
	run := p.pack(&compositev3.ExecuteFilterAction{FilterChain: &compositev3.FilterChainConfiguration{
		TypedConfig: []*corev3.TypedExtensionConfig{
			setScope(&p, plainHost), again, find,
			setScope(&p, knownHost), again, find,
			setScope(&p, knownHost), again,
		},
	}})
	config := p.extension(routing.HostsFilter, &matchingv3.ExtensionWithMatcher{
		XdsMatcher: &xdsmatcherv3.Matcher{OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "run", TypedConfig: run},
		}}},
		ExtensionConfig: p.extension("composite", &compositev3.Composite{}),
	})
	return config, p.err
}

// hostsDiscovery takes the hosts filter from the stream, so that it is sent once
// and not in every filter chain: Envoy looks at all of them whenever a
// certificate comes. Should it not come, requests whose host as sent has no
// route get 500, and all others are served.
func hostsDiscovery() *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: routing.HostsFilter,
		ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: adsSource(15 * time.Second),
			TypeUrls:     []string{typeURL(&matchingv3.ExtensionWithMatcher{})},
		}},
	}
}

// setScope sets the scope by a format string. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/formatter/cel/v3/cel.proto
func setScope(p *packer, format string) *corev3.TypedExtensionConfig {
	return p.extension("scope", &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestMutations: []*mutationrulesv3.HeaderMutation{{Action: &mutationrulesv3.HeaderMutation_Append{
			Append: headerOption(scopeHeader, format, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
		}}},
		Formatters: []*corev3.TypedExtensionConfig{p.extension("envoy.formatter.cel", &celv3.Cel{
			CelConfig: &corev3.CelExpressionConfig{EnableStringFunctions: true, EnableStringConcat: true},
		})},
	}})
}

// disabled leaves the hosts filter out of requests for which a route is found by
// the host as it was sent.
var disabled = packOnce(&routev3.FilterConfig{Disabled: true})
