package envoy

import (
	"crypto/sha256"
	"math"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/hostname"
)

const (
	// externalConnectTimeout is for the handshake with a host outside, too.
	externalConnectTimeout = 3 * time.Second
	externalIdleTimeout    = 30 * time.Second
	// externalLimit bounds what an Envoy has under way to one host outside.
	externalLimit = 1000
)

// ExternalCluster makes the cluster of a host outside. Each Envoy looks up its name by itself. By HTTPS the host has to
// show a certificate of the fleet's authorities for its name.
func ExternalCluster(e routing.External, f *routing.Fleet) (*clusterv3.Cluster, error) {
	var p packer
	endpoint := &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: e.Host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(e.Port)},
		}}},
	}}}
	cluster := &clusterv3.Cluster{
		Name:                 e.Cluster(),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS},
		// Many machines have no way to IPv6 hosts.
		DnsLookupFamily: clusterv3.Cluster_V4_PREFERRED,
		ConnectTimeout:  durationpb.New(externalConnectTimeout),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: e.Cluster(), Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{endpoint},
		}}},
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: wrapperspb.UInt32(externalLimit), MaxPendingRequests: wrapperspb.UInt32(externalLimit),
			MaxRequests: wrapperspb.UInt32(externalLimit), MaxRetries: wrapperspb.UInt32(math.MaxUint32),
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpProtocolOptions: p.pack(&upstreamhttpv3.HttpProtocolOptions{
			CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(externalIdleTimeout)},
			UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}},
			}},
		})},
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
	}
	if e.Scheme == "https" {
		cluster.TransportSocket = newSocket(&p, "tls", externalTLS(e, f.ExternalCA))
	}
	return cluster, p.err
}

// externalTLS verifies the host, by its name, or by its address if it has none.
func externalTLS(e routing.External, authorities []byte) *tlsv3.UpstreamTlsContext {
	validation := &tlsv3.CertificateValidationContext{VerifyCertificateHash: []string{strings.Repeat("00", sha256.Size)}}
	tls := &tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{AlpnProtocols: []string{"http/1.1"}}}
	san := tlsv3.SubjectAltNameMatcher_DNS
	if hostname.IsAddress(e.Host) {
		san = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	} else {
		tls.Sni = e.Host
	}
	if len(authorities) > 0 {
		validation = &tlsv3.CertificateValidationContext{TrustedCa: inlineBytes(authorities), MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
			SanType: san, Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: e.Host}},
		}}}
	}
	tls.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}
	return tls
}
