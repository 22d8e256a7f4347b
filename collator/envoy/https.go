package envoy

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/xds"
)

// handshakeTimeout ends connections that never finish their TLS handshake.
const handshakeTimeout = 10 * time.Second

// helloBuffer is as large as the first message of browsers at most. For a larger one Envoy
// takes more. Its default of 64 kB for each connection is slower.
const helloBuffer = 4 << 10

// HTTPSListener makes the https listener. It has a filter chain for each certificate, or for
// two with keys of different kinds, and for each service whose TLS is passed through: when one
// comes or goes, Envoy closes the connections of no other.
func HTTPSListener(f *routing.Fleet, chains []routing.TLSChain, passed []routing.Service) (*listenerv3.Listener, error) {
	var p packer
	manager := connectionManager(&p, routing.HTTPSListener, f, schemeHTTPS)
	listener := newListener(routing.HTTPSListener, f.HTTPS)
	acceptWhoSpeaks(listener)
	listener.Metadata = pageTexts(f.ErrorPages)
	listener.ListenerFilters = append(proxyProtocol(&p, f), &listenerv3.ListenerFilter{
		Name: "tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{
			TypedConfig: p.pack(&tlsinspectorv3.TlsInspector{InitialReadBufferSize: wrapperspb.UInt32(helloBuffer)}),
		},
	})
	for _, chain := range chains {
		listener.FilterChains = append(listener.FilterChains, filterChain(&p, f, chain, manager))
	}
	for _, s := range passed {
		listener.FilterChains = append(listener.FilterChains, passedChain(&p, f, s))
	}
	fromProxiesOnly(&p, listener, f)
	return listener, p.err
}

// passedChain passes the TLS connections for the server names of a service on to it.
func passedChain(p *packer, f *routing.Fleet, s routing.Service) *listenerv3.FilterChain {
	chain := serviceChain(p, f, "passthrough", s)
	chain.FilterChainMatch.ServerNames = s.Names
	return chain
}

// filterChain answers the server names of a certificate.
func filterChain(p *packer, f *routing.Fleet, chain routing.TLSChain, manager *listenerv3.Filter) *listenerv3.FilterChain {
	built := &listenerv3.FilterChain{
		Name:                          chain.Name,
		Filters:                       []*listenerv3.Filter{manager},
		TransportSocketConnectTimeout: durationpb.New(handshakeTimeout),
		TransportSocket: &corev3.TransportSocket{
			Name:       "tls",
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: p.pack(downstreamTLS(f, chain.Secrets()))},
		},
	}
	if len(chain.ServerNames) > 0 {
		built.FilterChainMatch = &listenerv3.FilterChainMatch{ServerNames: chain.ServerNames}
	}
	return built
}

// HTTPSResource makes the https listener, for the store of a fleet. With certificates on
// demand it has two variants: one for Envoys with the extension, one for all others.
func HTTPSResource(f *routing.Fleet, chains []routing.TLSChain, passed []routing.Service) (xds.Resource, error) {
	key := xds.Key{Type: xds.Listener, Name: routing.HTTPSListener}
	msg, err := HTTPSListener(f, chains, passed)
	if err != nil {
		return xds.Resource{}, err
	}
	resource, err := Resource(key, msg)
	if err != nil || !f.CertificatesOnDemand {
		return resource, err
	}
	if msg, err = HTTPSListenerOnDemand(f, chains, passed); err != nil {
		return xds.Resource{}, err
	}
	onDemand, err := Resource(key, msg)
	return onDemand.OrWithout(onDemandSelector, resource), err
}
