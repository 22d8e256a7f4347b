package envoy

import (
	"net/netip"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	xffv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/xff/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// How clients sent the requests of a connection.
const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
	// schemeAsSaid is for connections of trusted proxies: x-forwarded-proto says it, or else
	// it was HTTP.
	schemeAsSaid = ""
)

const forwardedPort = "x-forwarded-port"

// httpChains makes the filter chains of the http listener. x-forwarded-proto is believed in
// a chain of its own, for trusted proxies: Envoy has no setting that believes it by the
// address of who says so. The https listener, which has a chain for each certificate,
// does without: what comes by TLS came by HTTPS.
func httpChains(p *packer, f *routing.Fleet) []*listenerv3.FilterChain {
	chain := func(name, scheme string, match *listenerv3.FilterChainMatch) *listenerv3.FilterChain {
		return &listenerv3.FilterChain{
			Name: name, FilterChainMatch: match,
			Filters: []*listenerv3.Filter{connectionManager(p, routing.HTTPListener, f, scheme)},
		}
	}
	if !f.BelievesProxies() {
		return []*listenerv3.FilterChain{chain("", schemeHTTP, nil)}
	}
	chains := []*listenerv3.FilterChain{
		chain("clients", schemeHTTP, nil),
		chain("proxies", schemeAsSaid, &listenerv3.FilterChainMatch{SourcePrefixRanges: cidrRanges(f.Proxies.Networks)}),
	}
	if f.Proxies.RequiresProtocol() {
		// A balancer that ends TLS, and knows no HTTP, says by the port of its own that the
		// client connected to. It is here and not in the TLS of Envoy's own port, so the
		// balancer has ended the TLS.
		chains = append(chains, chain("proxies-https", schemeHTTPS,
			&listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(uint32(f.PublicHTTPSPort()))}))
	}
	return chains
}

// trustProxies says who the client of a request is, and how the request was sent. Without
// trusted proxies it is who connects. Envoy adds its address to x-forwarded-for, and
// overwrites x-forwarded-proto. With them, it is the last address in x-forwarded-for that
// is of no trusted network, if a trusted proxy connects. Each Envoy adds the address of who
// connects. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-for
func trustProxies(p *packer, manager *hcmv3.HttpConnectionManager, f *routing.Fleet, scheme string) {
	if !f.Proxies.Trusted() {
		manager.UseRemoteAddress = wrapperspb.Bool(true)
		return
	}
	manager.OriginalIpDetectionExtensions = []*corev3.TypedExtensionConfig{p.extension("envoy.http.original_ip_detection.xff", &xffv3.XffConfig{
		XffTrustedCidrs: &xffv3.XffTrustedCidrs{Cidrs: cidrRanges(f.Proxies.Networks)},
		SkipXffAppend:   wrapperspb.Bool(false),
	})}
	// Envoy leaves these two to the client unless it uses the remote address. By the PROXY
	// protocol, the port is that of the proxy that the client connected to.
	var mutations []*mutationrulesv3.HeaderMutation
	set := func(header, value string, action corev3.HeaderValueOption_HeaderAppendAction) {
		mutations = append(mutations, &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Append{
			Append: headerOption(header, value, action),
		}})
	}
	const port = "%DOWNSTREAM_LOCAL_PORT%"
	if scheme == schemeAsSaid {
		set(forwardedPort, port, corev3.HeaderValueOption_ADD_IF_ABSENT)
	} else {
		set(forwardedPort, port, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
		set(forwardedProto, scheme, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	manager.EarlyHeaderMutationExtensions = append(manager.EarlyHeaderMutationExtensions,
		p.extension("proxies", &headermutationv3.HeaderMutation{Mutations: mutations}))
}

// externalAddress tells apps the client's address in x-envoy-external-address, where Envoy
// does not do so itself: if there are trusted proxies.
func externalAddress(f *routing.Fleet) []*corev3.HeaderValueOption {
	if !f.Proxies.Trusted() {
		return nil
	}
	return []*corev3.HeaderValueOption{
		headerOption("x-envoy-external-address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
	}
}

func cidrRanges(networks []netip.Prefix) (ranges []*corev3.CidrRange) {
	for _, network := range networks {
		ranges = append(ranges, &corev3.CidrRange{
			AddressPrefix: network.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(network.Bits())),
		})
	}
	return ranges
}
