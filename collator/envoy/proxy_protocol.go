package envoy

import (
	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"

	"relay/collator/routing"
)

const proxyProtocolName = "proxy_protocol"

// proxyProtocol returns the listener filters that come first: none, unless the fleet's
// proxies use the PROXY protocol.
func proxyProtocol(p *packer, f *routing.Fleet) []*listenerv3.ListenerFilter {
	if !f.Proxies.RequiresProtocol() {
		return nil
	}
	return []*listenerv3.ListenerFilter{proxyProtocolFilter(p)}
}

// proxyProtocolFilter takes the client's address from the header, and closes connections
// without one. It has no choice of clients: fromProxiesOnly has. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/proxy_protocol
func proxyProtocolFilter(p *packer) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       proxyProtocolName,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: p.pack(&proxyprotocolv3.ProxyProtocol{})},
	}
}

// fromProxiesOnly has the listener refuse connections of other machines than the fleet's
// proxies, if these use the PROXY protocol: anybody can send its header, and claim any
// address. The filter for the protocol takes the header of everybody. But filter chains are
// chosen after it, and can be chosen by who really connects. It is called when the listener
// has all of its chains.
func fromProxiesOnly(p *packer, listener *listenerv3.Listener, f *routing.Fleet) {
	if !f.Proxies.RequiresProtocol() {
		return
	}
	networks := cidrRanges(f.Proxies.Networks)
	if listener.FilterChainMatcher != nil {
		direct := &xdscorev3.TypedExtensionConfig{Name: "direct_source_ip", TypedConfig: p.pack(&networkv3.DirectSourceIPInput{})}
		listener.FilterChainMatcher = within(p, direct, networks, nested(listener.FilterChainMatcher))
		return
	}
	for _, chain := range listener.FilterChains {
		if chain.FilterChainMatch == nil {
			chain.FilterChainMatch = &listenerv3.FilterChainMatch{}
		}
		chain.FilterChainMatch.DirectSourcePrefixRanges = networks
	}
}
