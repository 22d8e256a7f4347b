package xds

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// retryFor has what may have been rejected for a secret offered again once that is
// mended, or its last good version is back. Envoy rejects listeners for a secret, and
// other secrets that the same filter chain needs. Secrets wait for one that is mended:
// the last good version of each of two would have the other one rejected again, and so
// on for ever.
func (s *session) retryAfterSecrets(sent *sentResponse, now time.Time) {
	for _, t := range []Type{Listener, Secret} {
		if ts := &s.types[t]; len(sent.noLongerStale) > 0 || t == Listener && sent.hasLastGood() {
			ts.now = now
			ts.retryRejected()
		}
	}
}

// newSalt returns a text that no other stream has, of this Relay or another.
func newMarker() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// varied returns the buffers of a marshalled resource whose content differs by a salt,
// in a place that Envoy reads and makes nothing of. The version stays: it is that of
// what is meant.
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

// remarshal changes a marshalled message. One that cannot be read stays as it is: it
// was marshalled from a message of this type.
func remarshal[M proto.Message](body []byte, msg M, change func(M)) []byte {
	if err := proto.Unmarshal(body, msg); err != nil {
		return body
	}
	change(msg)
	return marshal(msg)
}

func markedScope(marker string) *routev3.ScopedRouteConfiguration {
	sending := &structpb.Struct{Fields: map[string]*structpb.Value{"sending": structpb.NewStringValue(marker)}}
	return &routev3.ScopedRouteConfiguration{RouteConfiguration: &routev3.RouteConfiguration{
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"relay": sending}},
	}}
}

// saltSecret changes a certificate in a field that Envoy does not use, and the
// certificates of authorities in a comment. Keys of session tickets have no such
// place; Envoy rejects those that are wrong each time.
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

// saltExtension changes the name of the filter within a matcher: Envoy goes by its type.
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
