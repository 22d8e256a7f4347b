package envoy

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	sniv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/cert_mappers/sni/v3"
	selectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/cert_selectors/on_demand_secret/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/collator/routing"
)

const (
	// onDemandSelector has Envoy ask for a certificate when a client's first
	// handshake needs it. See
	// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/cert_selectors/on_demand_secret/v3/config.proto
	onDemandSelector = "envoy.tls.certificate_selectors.on_demand_secret"
	onDemandChain    = "on-demand"
)

// HTTPSListenerOnDemand makes the https listener of Envoys that ask for a certificate when a
// client needs it.
func HTTPSListenerOnDemand(f *routing.Fleet, chains []routing.TLSChain, passed []routing.Service) (*listenerv3.Listener, error) {
	listener, err := HTTPSListener(f, routing.KeptInListener(chains, passed), passed)
	if err != nil {
		return nil, err
	}
	var p packer
	matchServerNames(&p, listener, onDemandChain)
	listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
		Name:                          onDemandChain,
		Filters:                       []*listenerv3.Filter{connectionManager(&p, routing.HTTPSListener, f, schemeHTTPS)},
		TransportSocketConnectTimeout: durationpb.New(handshakeTimeout),
		TransportSocket:               newSocket(&p, "tls", onDemandTLS(&p, f)),
	})
	fromProxiesOnly(&p, listener, f)
	return listener, p.err
}

func onDemandTLS(p *packer, f *routing.Fleet) *tlsv3.DownstreamTlsContext {
	tls := downstreamTLS(f, nil)
	tls.CommonTlsContext.CustomTlsCertificateSelector = p.extension(onDemandSelector, &selectorv3.Config{
		ConfigSource: adsSource(0),
		CertificateMapper: p.extension("envoy.tls.certificate_mappers.sni", &sniv3.SNI{
			DefaultValue: "none", // never used: a client without a name gets another chain
		}),
	})
	// Envoy rejects a listener with the selector and session resumption.
	resumeNothing(tls)
	return tls
}
