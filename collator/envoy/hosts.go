package envoy

import (
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
	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
)

const (
	// scopeHeader has the key by which Envoy finds the scope of a request. At first it is
	// the host as the client sent it; the hosts filter may replace it. The key ends at the
	// first colon.
	scopeHeader = "x-relay-scope"

	// plainHost is the host in lower case, without a dot at its end. A colon is added to
	// mark the end, so that "shop.test.", "shop.test.:80" and "shop.test" give one key.
	plainHost = `%CEL((request.headers[':authority'].lowerAscii() + ':').replace('.:', ':'))%`
	// knownHost is the name of the virtual host that was found: the domain, which is the
	// name of its scope, too. If none was found it is the scope with the wildcard domains.
	knownHost = `%CEL(has(xds.virtual_host_name) ? xds.virtual_host_name : '` + routing.WildcardsScope + `')%`
)

// HostsFilter makes the filter that finds the scope of requests for which there is none by
// the host as the client sent it. It runs three steps, and after each Envoy looks for the
// route again:
//
//  1. It sets scopeHeader to the host in lower case, without a dot at its end.
//  2. If that found no virtual host, it sets the header to the scope of all wildcard
//     domains, where Envoy finds the longest one that the host is below.
//  3. It sets the header to the scope of that wildcard domain.
//
// The filter is in every filter chain. So it names no domain, and keeps nothing for each
// worker. It costs nothing where a route was found at once, as scopes disable it. If an
// expression fails, the request has no scope and gets 404.
func HostsFilter() (*corev3.TypedExtensionConfig, error) {
	var p packer
	config := hostsFilter(&p, setScope(&p, plainHost), nil)
	return config, p.err
}

// hostsFilter makes the filter of HostsFilter, with another filter for the first step. Alone is
// what Envoys run that know no chains of filters; nil if they are not sent it.
func hostsFilter(p *packer, first, alone *corev3.TypedExtensionConfig) *corev3.TypedExtensionConfig {
	again := p.extension("again", &setfilterstatev3.Config{ClearRouteCache: true})
	// This filter changes nothing. As it looks for settings of the route, Envoy has to find
	// the route before the next step asks for its virtual host.
	find := p.extension("find", &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{}})
	run := p.pack(&compositev3.ExecuteFilterAction{TypedConfig: alone, FilterChain: &compositev3.FilterChainConfiguration{
		TypedConfig: []*corev3.TypedExtensionConfig{
			first, again, find,
			setScope(p, knownHost), again, find,
			setScope(p, knownHost), again,
		},
	}})
	return p.extension(routing.HostsFilter, &matchingv3.ExtensionWithMatcher{
		XdsMatcher: &xdsmatcherv3.Matcher{OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "run", TypedConfig: run},
		}}},
		ExtensionConfig: p.extension("composite", &compositev3.Composite{}),
	})
}

// hostsDiscovery takes the hosts filter from the ADS stream. So it is sent once, and not
// in every filter chain: whenever a certificate comes, Envoy reads all of them. Until the
// filter comes, requests get 500 if their host as sent has no route; others are served.
func hostsDiscovery() *hcmv3.HttpFilter {
	return discovered(routing.HostsFilter, &matchingv3.ExtensionWithMatcher{})
}

// discovered is a filter with a configuration of this type that comes by the ADS stream.
func discovered(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: discovery(config)}}
}

// setScope sets scopeHeader by a format string. See
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

// disabled is in each scope: a request for which Envoy found it does not need the hosts
// filter.
var disabled = packOnce(&routev3.FilterConfig{Disabled: true})
