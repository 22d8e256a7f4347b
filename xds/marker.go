package xds

import (
	"crypto/rand"
	"encoding/hex"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// newMarker returns a text that no other stream has, of this Relay or another.
func newMarker() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// withMarker returns the buffers of a marshalled resource with a marker in a place that Envoy
// reads and makes nothing of. So the content differs from what came last, and Envoy does not
// skip it: a change that Envoy can see through, such as the order of fields, would not do. The
// version stays, as it is that of the content without the marker.
func withMarker(t Type, wire mem.Buffer, marker string) mem.BufferSlice {
	entry := valueOf(wire.ReadOnlyData(), fieldResponseResources)
	name, version := valueOf(entry, fieldResourceName), valueOf(entry, fieldResourceVersion)
	body, suffix := t.info().mark(valueOf(valueOf(entry, fieldResourceBody), fieldAnyValue), marker)
	before, after := encodeAround(t.URL(), string(name), string(version), len(body)+len(suffix))
	return mem.BufferSlice{mem.SliceBuffer(before), mem.SliceBuffer(body), mem.SliceBuffer(append(suffix, after...))}
}

func marshal(msg proto.Message) []byte {
	body, err := deterministic.Marshal(msg)
	if err != nil {
		panic("xds: a message made here does not marshal: " + err.Error())
	}
	return body
}

// remarshal changes a marshalled message. It was marshalled from a message of the same type,
// so that it can be read; else it would stay as it is.
func remarshal[M proto.Message](body []byte, msg M, change func(M)) []byte {
	if err := proto.Unmarshal(body, msg); err != nil {
		return body
	}
	change(msg)
	return marshal(msg)
}

// markedScope is a scope with the marker in metadata that nothing reads.
func markedScope(marker string) *routev3.ScopedRouteConfiguration {
	sending := &structpb.Struct{Fields: map[string]*structpb.Value{"sending": structpb.NewStringValue(marker)}}
	return &routev3.ScopedRouteConfiguration{RouteConfiguration: &routev3.RouteConfiguration{
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"relay": sending}},
	}}
}

// markSecret marks a certificate in a field that Envoy does not use, and certificates of
// authorities in a comment. Keys of session tickets have no such place. They need none: Envoy
// rejects wrong ones each time.
func markSecret(s *tlsv3.Secret, marker string) {
	if certificate := s.GetTlsCertificate(); certificate != nil {
		certificate.SignedCertificateTimestamp = append(certificate.SignedCertificateTimestamp, inlineString(marker))
	}
	ca := s.GetValidationContext().GetTrustedCa()
	if text := ca.GetInlineString() + string(ca.GetInlineBytes()); text != "" {
		s.GetValidationContext().TrustedCa = inlineString(text + "\n# " + marker + "\n")
	}
}

func inlineString(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}
}

// markExtension marks the name of the filter within a matcher: Envoy goes by its type.
func markExtension(c *corev3.TypedExtensionConfig, marker string) {
	var within matchingv3.ExtensionWithMatcher
	if c.GetTypedConfig().UnmarshalTo(&within) != nil || within.GetExtensionConfig() == nil {
		return
	}
	within.ExtensionConfig.Name += " " + marker
	if err := anypb.MarshalFrom(c.GetTypedConfig(), &within, deterministic); err != nil {
		panic("xds: a message made here does not marshal: " + err.Error())
	}
}
