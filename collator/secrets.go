package collator

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/certs"
)

// handshakeTimeout ends connections that never finish their TLS handshake.
const handshakeTimeout = 10 * time.Second

// defaultChain answers clients whose server name no certificate covers.
const defaultChain = "default"

// secretName is stable over renewals: a renewal is a new secret of the same
// name, and the listener that names it stays as it is.
func secretName(c *certs.Certificate) string { return c.Source + "/" + c.Name }

func buildSecret(c *certs.Certificate) *tlsv3.Secret {
	return &tlsv3.Secret{
		Name: secretName(c),
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inlineBytes(c.Chain),
			PrivateKey:       inlineBytes(c.Key),
		}},
	}
}

func inlineBytes(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

// tlsChain is a certificate and the server names it is served for. The default
// chain has none.
type tlsChain struct {
	name, secret string
	serverNames  []string
	// yielding are those of serverNames whose certificate clients refuse, and that
	// of the wildcard over them accept. Both are sorted.
	yielding []string
}

func (c tlsChain) equal(other tlsChain) bool {
	return c.name == other.name && c.secret == other.secret &&
		slices.Equal(c.serverNames, other.serverNames) && slices.Equal(c.yielding, other.yielding)
}

// buildHTTPSListener makes one filter chain per certificate, so that a
// certificate that comes or goes drains the connections of no other. The same
// holds for each service whose TLS is passed through.
func buildHTTPSListener(f Fleet, chains []tlsChain, passed []service) (*listenerv3.Listener, error) {
	var p packer
	manager := connectionManager(&p, httpsListener, f)
	listener := newListener(httpsListener, f.HTTPS)
	listener.ListenerFilters = []*listenerv3.ListenerFilter{{
		Name: "tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{
			TypedConfig: p.pack(&tlsinspectorv3.TlsInspector{}),
		},
	}}
	for _, chain := range chains {
		listener.FilterChains = append(listener.FilterChains, filterChain(&p, f, chain, manager))
	}
	for _, s := range passed {
		listener.FilterChains = append(listener.FilterChains, passedChain(&p, f, s))
	}
	return listener, p.err
}

// passedChain passes the TLS connections for the names of a service on.
func passedChain(p *packer, f Fleet, s service) *listenerv3.FilterChain {
	chain := serviceChain(p, f, "passthrough", s)
	chain.FilterChainMatch.ServerNames = s.names
	return chain
}

func filterChain(p *packer, f Fleet, chain tlsChain, manager *listenerv3.Filter) *listenerv3.FilterChain {
	built := &listenerv3.FilterChain{
		Name:                          chain.name,
		Filters:                       []*listenerv3.Filter{manager},
		TransportSocketConnectTimeout: durationpb.New(handshakeTimeout),
		TransportSocket: &corev3.TransportSocket{
			Name:       "tls",
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: p.pack(downstreamTLS(f, chain.secret))},
		},
	}
	if len(chain.serverNames) > 0 {
		built.FilterChainMatch = &listenerv3.FilterChainMatch{ServerNames: chain.serverNames}
	}
	return built
}
