// Package xds streams Envoy resources by delta ADS. A Store holds the marshalled resources of
// one fleet, with a change log. A stream sends an Envoy what changed since its cursor, in an
// order in which no request fails.
//
// It knows nothing of apps or certificates. Protocol:
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
package xds

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Key names a resource within a Store.
type Key struct {
	Type Type
	Name string
}

// Resource is a named resource, marshalled and hashed once for all streams.
type Resource struct {
	Key
	// Version is a hash of the content: equal in every replica and after every
	// restart of the same build.
	Version string
	// wire is the resource as an entry of DeltaDiscoveryResponse.resources,
	// field tag and length included, so that a response is a concatenation.
	wire mem.Buffer
	hash version
	// usesScopes tells that it is a listener that takes its routes from scopes.
	usesScopes bool
	// variant is for Envoys without the extension needs; nil if there is no variant.
	needs   string
	variant *Resource
}

// version is Resource.Version as a number; 0 stands for none.
type version uint64

func (v version) String() string { return fmt.Sprintf("%016x", uint64(v)) }

// parseVersion returns 0 for what is not a version of Relay: another control plane may have
// served the Envoy.
func parseVersion(s string) version {
	var b [8]byte
	if len(s) != 2*len(b) {
		return 0
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil { // strconv takes twice as long
		return 0
	}
	return version(binary.BigEndian.Uint64(b[:]))
}

// Passing returns the resource, which must have no variant, with a version by which no Relay
// knows it. It is for what is so for a while on this Relay alone. An Envoy that has it, and
// comes again or to another Relay, is sent what is there: it has nothing newer.
func (r Resource) Passing() Resource {
	body := valueOf(valueOf(valueOf(r.wire.ReadOnlyData(), fieldResponseResources), fieldResourceBody), fieldAnyValue)
	r.Version = "passing-" + r.Version
	r.wire = mem.SliceBuffer(encodeResource(r.Type.URL(), r.Name, r.Version, body))
	return r
}

// Size returns the bytes the resource takes in a response.
func (r Resource) Size() int { return r.wire.Len() }

// deterministic gives equal messages equal bytes, so that versions are hashes of content.
var deterministic = proto.MarshalOptions{Deterministic: true}

// NewResource marshals msg, which must be of type t.
func NewResource(t Type, name string, msg proto.Message) (Resource, error) {
	if got := string(msg.ProtoReflect().Descriptor().FullName()); got != t.message() {
		return Resource{}, fmt.Errorf("resource %q: message is a %s, not a %s", name, got, t.message())
	}
	body, err := deterministic.Marshal(msg)
	if err != nil {
		return Resource{}, fmt.Errorf("marshal %s %q: %w", t.message(), name, err)
	}
	sum := sha256.Sum256(body)
	hash := version(binary.BigEndian.Uint64(sum[:8]))
	wire := encodeResource(t.URL(), name, hash.String(), body)
	return Resource{Key: Key{t, name}, Version: hash.String(), wire: mem.SliceBuffer(wire), hash: hash, usesScopes: usesScopes(msg)}, nil
}

// usesScopes reports whether a message is a listener for HTTP. All of those take their
// routes from scopes.
func usesScopes(msg proto.Message) bool {
	listener, ok := msg.(*listenerv3.Listener)
	if !ok {
		return false
	}
	for _, chain := range listener.GetFilterChains() {
		for _, filter := range chain.GetFilters() {
			if filter.GetTypedConfig().MessageIs((*hcmv3.HttpConnectionManager)(nil)) {
				return true
			}
		}
	}
	return false
}

// Field numbers of envoy.service.discovery.v3 (Resource, DeltaDiscoveryResponse
// and DeltaDiscoveryRequest), google.protobuf.Any, and the entries of maps.
const (
	fieldAnyTypeURL = 1
	fieldAnyValue   = 2

	fieldResourceVersion = 1
	fieldResourceBody    = 2
	fieldResourceName    = 3

	fieldResponseResources = 2
	fieldResponseTypeURL   = 4
	fieldResponseNonce     = 5
	fieldResponseRemoved   = 6

	fieldRequestSubscribe   = 3
	fieldRequestUnsubscribe = 4
	fieldRequestInitial     = 5

	// fieldName is the name in the message of a resource itself.
	fieldName = 1

	fieldMapKey   = 1
	fieldMapValue = 2
)

// encodeResource writes one entry of DeltaDiscoveryResponse.resources.
func encodeResource(url, name, version string, body []byte) []byte {
	before, after := encodeAround(url, name, version, len(body))
	b := make([]byte, 0, len(before)+len(body)+len(after))
	return append(append(append(b, before...), body...), after...)
}

// encodeAround writes what is before and after the message in such an entry; size is
// that of the message.
func encodeAround(url, name, version string, size int) (before, after []byte) {
	anySize := sizeBytes(fieldAnyTypeURL, len(url)) + sizeBytes(fieldAnyValue, size)
	entrySize := sizeBytes(fieldResourceVersion, len(version)) +
		sizeBytes(fieldResourceBody, anySize) +
		sizeBytes(fieldResourceName, len(name))

	b := make([]byte, 0, sizeBytes(fieldResponseResources, entrySize)-size)
	b = appendLength(b, fieldResponseResources, entrySize)
	b = appendString(b, fieldResourceVersion, version)
	b = appendLength(b, fieldResourceBody, anySize)
	b = appendString(b, fieldAnyTypeURL, url)
	b = appendLength(b, fieldAnyValue, size)
	return b, appendString(nil, fieldResourceName, name)
}

func sizeBytes(field protowire.Number, n int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}

func appendLength(b []byte, field protowire.Number, n int) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(n))
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, s)
}

// Change is one consistent step of a Store: every cluster that a scope of the
// resulting state names is in that state too.
type Change struct {
	Set    []Resource
	Remove []Key
	// Withhold are resources of which nothing is known yet, as their source has not synced.
	// Envoys are told neither their content nor that they do not exist, until a later Change
	// sets or removes them.
	Withhold []Key
	// Resolve, if set, takes the place of the Resolver of secrets.
	Resolve Resolver
}

// Resolver finds the secret that answers a name which no secret has: Envoy asks for the server
// name that a client sent, whatever it is. A name that is not permanent is removed again when
// there are too many. A Resolver must be quick. Many streams call it at a time.
type Resolver func(name string) (secret string, permanent, ok bool)

// Empty reports whether the change has no effect.
func (c Change) Empty() bool {
	return len(c.Set)+len(c.Remove)+len(c.Withhold) == 0 && c.Resolve == nil
}
