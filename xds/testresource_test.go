package xds

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// testResource makes a resource of any type. What it names goes into a field
// that is a plain string, so that contentOf can read it back.
func testResource(t testing.TB, typ Type, name, content string) Resource {
	t.Helper()
	var msg proto.Message
	switch typ {
	case Cluster:
		msg = &clusterv3.Cluster{Name: name, AltStatName: content}
	case Endpoint:
		msg = &endpointv3.ClusterLoadAssignment{ClusterName: name, NamedEndpoints: map[string]*endpointv3.Endpoint{content: {}}}
	case Secret:
		msg = &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inlineString(content)}}}
	case Listener:
		msg = &listenerv3.Listener{Name: name, StatPrefix: content}
	case Scope:
		msg = &routev3.ScopedRouteConfiguration{Name: name, RouteConfigurationName: content}
	case ExtensionConfig:
		within, err := anypb.New(&matchingv3.ExtensionWithMatcher{ExtensionConfig: &corev3.TypedExtensionConfig{TypedConfig: &anypb.Any{TypeUrl: content}}})
		if err != nil {
			t.Fatal(err)
		}
		msg = &corev3.TypedExtensionConfig{Name: name, TypedConfig: within}
	}
	r, err := NewResource(typ, name, msg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// contentOf is the content of a test resource.
func contentOf(t testing.TB, typ Type, r *discoveryv3.Resource) string {
	t.Helper()
	msg, err := r.GetResource().UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	switch m := msg.(type) {
	case *clusterv3.Cluster:
		return m.GetAltStatName()
	case *endpointv3.ClusterLoadAssignment:
		for content := range m.GetNamedEndpoints() {
			return content
		}
	case *tlsv3.Secret:
		return m.GetTlsCertificate().GetCertificateChain().GetInlineString()
	case *listenerv3.Listener:
		return m.GetStatPrefix()
	case *routev3.ScopedRouteConfiguration:
		return m.GetRouteConfigurationName()
	case *corev3.TypedExtensionConfig:
		var within matchingv3.ExtensionWithMatcher
		if err := m.GetTypedConfig().UnmarshalTo(&within); err != nil {
			t.Fatal(err)
		}
		return within.GetExtensionConfig().GetTypedConfig().GetTypeUrl()
	}
	t.Fatalf("unexpected %s %T", typ, msg)
	return ""
}

// decode is what an Envoy reads of a response.
func decode(t testing.TB, r *response) *discoveryv3.DeltaDiscoveryResponse {
	t.Helper()
	buffers, err := codec{}.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var msg discoveryv3.DeltaDiscoveryResponse
	if err := proto.Unmarshal(buffers.Materialize(), &msg); err != nil {
		t.Fatal(err)
	}
	return &msg
}

// encoded is what the server reads of a request.
func encoded(t testing.TB, msg *discoveryv3.DeltaDiscoveryRequest) *request {
	t.Helper()
	body, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	req := new(request)
	if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(body)}, req); err != nil {
		t.Fatal(err)
	}
	if err := req.parse(); err != nil {
		t.Fatal(err)
	}
	return req
}
