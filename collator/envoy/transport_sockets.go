package envoy

import (
	"crypto/sha256"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
	"relay/sources"
)

// transportSocket says what goes before HTTP or TCP on connections to endpoints: TLS, a
// header of the PROXY protocol, or both. nil is for plain text.
func transportSocket(p *packer, c routing.Connections, ca []byte) *corev3.TransportSocket {
	var socket *corev3.TransportSocket
	if c.TLS != nil {
		tls := upstreamTLS(c.Upstream, ca)
		if c.TCP {
			tls.CommonTlsContext.AlpnProtocols = nil
		}
		socket = newSocket(p, "tls", tls)
	}
	if c.ProxyProtocol == 0 {
		return socket
	}
	if socket == nil {
		socket = newSocket(p, "raw_buffer", &rawbufferv3.RawBuffer{})
	}
	version := corev3.ProxyProtocolConfig_V1
	if c.ProxyProtocol == 2 {
		version = corev3.ProxyProtocolConfig_V2
	}
	return newSocket(p, "upstream_proxy_protocol", &proxyprotocolv3.ProxyProtocolUpstreamTransport{
		Config:          &corev3.ProxyProtocolConfig{Version: version, PassThroughTlvs: passedTLVs(c)},
		TransportSocket: socket,
	})
}

func newSocket(p *packer, name string, config proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets." + name,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: p.pack(config)},
	}
}

// upstreamTLS asks for the server name of the app's settings. Without one, Envoy asks for the
// host of each request (see upstreamProtocol).
func upstreamTLS(u sources.Upstream, ca []byte) *tlsv3.UpstreamTlsContext {
	common := &tlsv3.CommonTlsContext{AlpnProtocols: []string{"http/1.1"}}
	if u.HTTP2 {
		common.AlpnProtocols = []string{"h2"}
	}
	if u.TLS.Verify {
		validation := &tlsv3.CertificateValidationContext{TrustedCa: inlineBytes(ca)}
		if len(ca) == 0 {
			// No certificate has this hash, so nothing is sent to any instance.
			validation = &tlsv3.CertificateValidationContext{VerifyCertificateHash: []string{strings.Repeat("00", sha256.Size)}}
		}
		if u.TLS.SNI != "" && len(ca) > 0 {
			validation.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{{
				SanType: tlsv3.SubjectAltNameMatcher_DNS,
				Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: u.TLS.SNI}},
			}}
		}
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}
	}
	return &tlsv3.UpstreamTlsContext{CommonTlsContext: common, Sni: u.TLS.SNI}
}
