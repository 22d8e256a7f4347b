package envoy

import (
	"net/netip"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// bufferLimit is larger than
// https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge advises: a
// request that does not fit into it cannot be retried.
const bufferLimit = 256 << 10

// scopesName is the name that listeners have for all scopes.
const scopesName = "domains"

// HTTPListener makes the listener for plain HTTP. It has nothing of any app: Envoy closes
// the connections of a listener that changes, and those of devices and WebSockets last for
// weeks.
func HTTPListener(f *routing.Fleet) (*listenerv3.Listener, error) {
	var p packer
	listener := newListener(routing.HTTPListener, f.HTTP)
	acceptWhoSpeaks(listener)
	listener.Metadata = pageTexts(f.ErrorPages)
	listener.ListenerFilters = proxyProtocol(&p, f)
	listener.FilterChains = httpChains(&p, f)
	fromProxiesOnly(&p, listener, f)
	return listener, p.err
}

func newListener(name string, address netip.AddrPort) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:                          name,
		Address:                       socketAddress(address),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
	}
}

func socketAddress(a netip.AddrPort) *corev3.Address {
	address := a.Addr().Unmap()
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       address.String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
		// "::" stands for all addresses, those of IPv4 included.
		Ipv4Compat: address == netip.IPv6Unspecified(),
	}}}
}

// connectionManager makes the filter for HTTP of the listener with the name. Both listeners
// have all options and filters that are set here. How clients sent their requests is as scheme
// says: see trustProxies.
func connectionManager(p *packer, name string, f *routing.Fleet, scheme string) *listenerv3.Filter {
	o := f.Options
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:            name,
		InternalAddressConfig: noInternalAddresses(),
		// The Server header is that of the app, or there is none.
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		// As with marathon-lb, apps see the port that the client connected to, and the id
		// that it gave the request.
		AppendXForwardedPort:      true,
		PreserveExternalRequestId: true,

		RequestHeadersTimeout:         durationpb.New(o.RequestHeadersTimeout),
		StreamIdleTimeout:             durationpb.New(o.StreamIdleTimeout),
		LocalReplyConfig:              localReplies(p, f.ErrorPages),
		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{mutateHeaders(p)},
		RouteSpecifier:                &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: scopedRoutes()},
		HttpFilters:                   append([]*hcmv3.HttpFilter{hostsDiscovery()}, perRouteFilters(p)...),
		AccessLog:                     append(requestLogs(p), accessLog(p, f)...),
	}
	setDownstreamProtocols(manager, f)
	trustProxies(p, manager, f, scheme)
	if name == routing.HTTPSListener && f.TLS.AsksForCertificates() {
		forwardClientCertificate(manager)
	}
	if f.Scaling {
		manager.HttpFilters = append(manager.HttpFilters, scalingFilters()...)
	}
	if f.ClustersOnDemand {
		manager.HttpFilters = append(manager.HttpFilters, onDemandClusters(p))
	}
	if f.ExtendedConnect {
		manager.HttpFilters = append(manager.HttpFilters, webSocketKey(p))
	}
	manager.HttpFilters = append(manager.HttpFilters, repeats(p), &hcmv3.HttpFilter{
		Name: "router",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{
			TypedConfig: p.pack(&routerv3.Router{SuppressEnvoyHeaders: true, UpstreamLog: failedConnections()}),
		},
	})
	return &listenerv3.Filter{
		Name:       "http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(manager)},
	}
}

// noInternalAddresses has Envoy take no client for an internal one, whose x-envoy headers it
// would obey. Without any range it takes all private addresses for internal. No connection
// comes from the address that is named here.
func noInternalAddresses() *hcmv3.HttpConnectionManager_InternalAddressConfig {
	return &hcmv3.HttpConnectionManager_InternalAddressConfig{CidrRanges: []*corev3.CidrRange{{
		AddressPrefix: netip.IPv4Unspecified().String(), PrefixLen: wrapperspb.UInt32(32),
	}}}
}

// mutateHeaders sets and removes headers before Envoy looks at any, and before it chooses
// the scope. Whatever the client sent in their place is lost.
func mutateHeaders(p *packer) *corev3.TypedExtensionConfig {
	setScope := &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Append{
		Append: headerOption(scopeHeader, "%REQ(:authority)%", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
	}}
	return p.extension("scope", &headermutationv3.HeaderMutation{
		Mutations: []*mutationrulesv3.HeaderMutation{
			setScope, withoutEnvoyHeaders(),
			// Many app servers (CGI, WSGI and others) take underscores for hyphens. So by
			// these names a client could say of itself what only Envoy may: its address,
			// its certificate, that it came by TLS.
			without("x_envoy"), without("x_forwarded"), without("x-forwarded_"), without("x-forwarded-client_"),
		},
	})
}

// withoutEnvoyHeaders removes the headers by which Envoys talk to each other, also with an
// underscore for the second hyphen: they set timeouts, retries and names of stats. Envoy
// removes most of them itself, but it obeys x-envoy-upstream-stream-duration-ms, and passes
// others on to apps. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#http-headers-consumed-from-downstream-clients
func withoutEnvoyHeaders() *mutationrulesv3.HeaderMutation { return without("x-envoy") }

// without removes the headers whose names begin so.
func without(prefix string) *mutationrulesv3.HeaderMutation {
	return &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationrulesv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix},
		}},
	}}
}

// scopedRoutes has Envoy find the scope of a request by scopeHeader, without the port.
func scopedRoutes() *hcmv3.ScopedRoutes {
	return &hcmv3.ScopedRoutes{
		Name: scopesName,
		ScopeKeyBuilder: &hcmv3.ScopedRoutes_ScopeKeyBuilder{
			Fragments: []*hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{{
				Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
					HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
						Name:             scopeHeader,
						ElementSeparator: ":",
						ExtractType: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{
							Index: 0,
						},
					},
				},
			}},
		},
		RdsConfigSource: adsSource(0),
		ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{
			// Without a limit: a listener without its scopes would answer 404 to everyone.
			ScopedRdsConfigSource: adsSource(0),
		}},
	}
}
