package envoy

import (
	"crypto/sha256"
	"net/netip"
	"regexp"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	directresponsev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/certs"
	"relay/collator/routing"
	"relay/proxytlv"
	"relay/sources"
	"relay/xds"
)

const (
	// serviceHandshakeTimeout ends connections that never finish their TLS handshake. Small devices
	// compute for seconds, on networks that lose packets.
	serviceHandshakeTimeout = 30 * time.Second
	// earlyData is how much Envoy reads of a client before it is connected to an instance.
	earlyData = 16 << 10
	// ServiceTLSSince is the minor version of Envoy 1 from which on Envoys can connect to an instance
	// after the TLS handshake only. Older ones would connect before, for strangers too, and say nothing
	// of the client's certificate.
	ServiceTLSSince = 37
	// ServiceTLSBehindProxySince is the same where connections begin with the PROXY protocol's header:
	// older ones leave out who connects then.
	ServiceTLSBehindProxySince = 38
)

// serviceTLS makes a TCP service's listener one at which TLS ends: with a chain for each server name.
// The listener has a chain already, which has all filters.
func serviceTLS(p *packer, listener *listenerv3.Listener, s routing.Service) {
	acceptWhoSpeaks(listener)
	noticeLostClients(listener)
	listener.ListenerFiltersTimeout = durationpb.New(serviceHandshakeTimeout)
	listener.ListenerFilters = append(listener.ListenerFilters, &listenerv3.ListenerFilter{
		Name: "tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{
			TypedConfig: p.pack(&tlsinspectorv3.TlsInspector{InitialReadBufferSize: wrapperspb.UInt32(helloBuffer)}),
		},
	})
	one := listener.FilterChains[0]
	listener.FilterChains = nil
	for _, c := range s.Chains() {
		match := &listenerv3.FilterChainMatch{
			SourcePrefixRanges: one.FilterChainMatch.SourcePrefixRanges, DirectSourcePrefixRanges: one.FilterChainMatch.DirectSourcePrefixRanges,
		}
		if c.ServerName != "" {
			match.ServerNames = []string{c.ServerName}
		}
		listener.FilterChains = append(listener.FilterChains, &listenerv3.FilterChain{
			Name: c.Name(), FilterChainMatch: match, Filters: one.Filters,
			TransportSocketConnectTimeout: durationpb.New(serviceHandshakeTimeout),
			TransportSocket:               &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: p.pack(serviceTLSContext(s, c))}},
		})
	}
}

// serviceTLSContext says how clients of a chain are met. What it says of certificates is in secrets,
// so that the chain stays as it is.
func serviceTLSContext(s routing.Service, c routing.ServiceChain) *tlsv3.DownstreamTlsContext {
	tls := &tlsv3.DownstreamTlsContext{
		CommonTlsContext: &tlsv3.CommonTlsContext{TlsParams: profileParameters(s.TLS.Profile), AlpnProtocols: s.TLS.ALPN},
		// See downstreamTLS.
		FullScanCertsOnSniMismatch: wrapperspb.Bool(true),
	}
	for _, secret := range c.Secrets() {
		tls.CommonTlsContext.TlsCertificateSdsSecretConfigs = append(tls.CommonTlsContext.TlsCertificateSdsSecretConfigs, secretFromStream(secret))
	}
	if routing.AsksForCertificates(s.TLS) {
		tls.RequireClientCertificate = wrapperspb.Bool(!s.TLS.OptionalCertificate)
		tls.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: secretFromStream(routing.ClientsSecret(s.Cluster())),
		}
		// Envoy does not look at a certificate again when it resumes a session: one that is
		// revoked would be good for days.
		resumeNothing(tls)
	}
	return tls
}

// profileParameters has the versions and cipher suites of a profile. Envoy's own list for TLS 1.2 is
// that of the profile intermediate.
func profileParameters(profile sources.TLSProfile) *tlsv3.TlsParameters {
	params := &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2}
	switch profile {
	case sources.TLSModern:
		params.TlsMinimumProtocolVersion = tlsv3.TlsParameters_TLSv1_3
	case sources.TLSOld:
		params.CipherSuites = []string{
			"[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]", "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
			"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
			"ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA",
		}
	}
	return params
}

// afterHandshake has Envoy connect to an instance when the client has proved who it is, and not before:
// so no stranger reaches an instance. Then it says who the client is, where instances get the header of
// the PROXY protocol. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto
//
// Envoy connects at the end of the handshake, whether a filter before has a connection wait or not. So where
// connections may wait, it connects when the client has said something. Servers that speak first have to
// do without.
func afterHandshake(proxy *tcpproxyv3.TcpProxy, waits bool) {
	proxy.UpstreamConnectMode = tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE
	if waits {
		proxy.UpstreamConnectMode = tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA
	}
	proxy.MaxEarlyDataBytes = wrapperspb.UInt32(earlyData)
	// What a proxy in front says of the client in values of these types counts for nothing.
	proxy.ProxyProtocolTlvMergePolicy = tcpproxyv3.ProxyProtocolTlvMergePolicy_OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD
	for _, v := range whoConnects {
		proxy.ProxyProtocolTlvs = append(proxy.ProxyProtocolTlvs, &corev3.TlvEntry{
			Type: uint32(v.kind),
			FormatString: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline(v.format)}, OmitEmptyValues: true,
			},
		})
	}
}

// whoConnects is what instances are told of a client.
var whoConnects = []struct {
	kind   proxytlv.Type
	format string
}{
	{proxytlv.URIs, "%DOWNSTREAM_PEER_URI_SAN%"},
	{proxytlv.Subject, "%DOWNSTREAM_PEER_SUBJECT%"},
	{proxytlv.Fingerprint, "%DOWNSTREAM_PEER_FINGERPRINT_256%"},
	{proxytlv.Serial, "%DOWNSTREAM_PEER_SERIAL%"},
	{proxytlv.DNSNames, "%DOWNSTREAM_PEER_DNS_SAN%"},
	{proxytlv.ServerName, "%REQUESTED_SERVER_NAME%"},
	{proxytlv.NotAfter, "%DOWNSTREAM_PEER_CERT_V_END%"},
	{proxytlv.Issuer, "%DOWNSTREAM_PEER_ISSUER%"},
}

// passedTLVs lets the values of afterHandshake through to instances, and no others.
func passedTLVs(c routing.Connections) *corev3.ProxyProtocolPassThroughTLVs {
	if !c.SaysWho {
		return nil
	}
	passed := &corev3.ProxyProtocolPassThroughTLVs{MatchType: corev3.ProxyProtocolPassThroughTLVs_INCLUDE}
	for _, v := range whoConnects {
		passed.TlvType = append(passed.TlvType, uint32(v.kind))
	}
	return passed
}

// unusedAddress is one that no machine has: https://www.rfc-editor.org/rfc/rfc1112#section-4.
var unusedAddress = netip.MustParseAddr("240.0.0.1")

// tcpListenerResource makes a resource of a listener, for the store of a fleet. If TLS of a service ends
// at it, older Envoys are sent another variant, which opens no port: they ignore fields that they do not
// know, and would let strangers reach the instances.
func tcpListenerResource(key xds.Key, listener *listenerv3.Listener) (xds.Resource, error) {
	resource, err := Resource(key, listener)
	if _, isTCP := routing.TCPPort(listener.Name); err != nil || !isTCP || listener.FilterChains[0].TransportSocket == nil {
		return resource, err
	}
	since := ServiceTLSSince
	if listener.ListenerFilters[0].Name == proxyProtocolName {
		since = ServiceTLSBehindProxySince
	}
	var p packer
	// It is never bound. It must not have the listener's address, though: Envoy gives a listener the sockets of the one
	// before with the same name and address, and crashes when that had none.
	nowhere := socketAddress(netip.AddrPortFrom(unusedAddress, uint16(listener.Address.GetSocketAddress().GetPortValue())))
	closed := &listenerv3.Listener{
		Name: listener.Name, Address: nowhere, BindToPort: wrapperspb.Bool(false),
		FilterChains: []*listenerv3.FilterChain{{Name: "closed", Filters: []*listenerv3.Filter{{
			Name: "close", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(&directresponsev3.Config{})},
		}}}},
	}
	if p.err != nil {
		return resource, p.err
	}
	older, err := Resource(key, closed)
	return resource.OrWithout(xds.Since(since), older), err
}

// ServiceCertificate makes a secret with a certificate that clients of a service are shown.
func ServiceCertificate(secret string, c *certs.Certificate) *tlsv3.Secret {
	made := Certificate(c)
	made.Name = secret
	return made
}

// ServiceClients makes the secret that says which certificates of clients a service takes. Without an
// authority it is none, and nobody is let in.
func ServiceClients(secret string, t *sources.ServiceTLS, authority *certs.Authority) *tlsv3.Secret {
	context := nobody()
	if authority != nil && !t.Refused {
		context = &tlsv3.CertificateValidationContext{TrustedCa: inlineBytes(authority.Certificates), OnlyVerifyLeafCertCrl: !authority.WholeChain}
		if len(authority.Revoked) > 0 {
			context.Crl = inlineBytes(authority.Revoked)
		}
		for _, name := range t.ClientNames {
			context.MatchTypedSubjectAltNames = append(context.MatchTypedSubjectAltNames, clientName(name))
		}
	}
	return &tlsv3.Secret{Name: secret, Type: &tlsv3.Secret_ValidationContext{ValidationContext: context}}
}

// nobody takes no certificate: none has this hash. With a hash Envoy wants a certificate even where
// it is optional.
func nobody() *tlsv3.CertificateValidationContext {
	return &tlsv3.CertificateValidationContext{
		TrustedCa:             inline(nobodysAuthority),
		VerifyCertificateHash: []string{strings.Repeat("00", sha256.Size)},
	}
}

// clientName matches one name of a client's certificate, and nothing else: for a name of DNS, Envoy itself
// would take a certificate for a wildcard above it, too.
func clientName(n sources.ClientName) *tlsv3.SubjectAltNameMatcher {
	matcher := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: n.Value}}
	switch {
	case n.Prefix:
		// No regular expression, which could leave out names with a comma: Envoy takes no long ones.
		matcher.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: n.Value}
	case n.Type == sources.NameDNS:
		// In lower case only: to ignore case makes the expression several times as long, by letters such as s.
		matcher.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regexp.QuoteMeta(n.Value)}}
	}
	return &tlsv3.SubjectAltNameMatcher{SanType: sanTypes[n.Type], Matcher: matcher}
}

var sanTypes = map[sources.NameType]tlsv3.SubjectAltNameMatcher_SanType{
	sources.NameURI: tlsv3.SubjectAltNameMatcher_URI, sources.NameDNS: tlsv3.SubjectAltNameMatcher_DNS, sources.NameEmail: tlsv3.SubjectAltNameMatcher_EMAIL,
}
