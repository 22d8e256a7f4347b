package xds

import (
	"github.com/RoaringBitmap/roaring/v2"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// response is a DeltaDiscoveryResponse ready for the wire: the resources are the
// bytes that the store holds, shared by all streams; only the last buffer, which
// has the rest, is its own.
type response struct {
	typ     Type
	buffers mem.BufferSlice
	// resources and removed count what it sets and removes.
	resources, removed int
	size               int
	nonce              string
	// replaced are the names of clusters that the Envoy had in another version.
	replaced []string
}

func newResponse(t Type, table *table, b batch, nonce, marker string, envoy *envoyNode) *response {
	r := &response{typ: t, nonce: nonce}
	if b.resources != nil {
		r.buffers = make(mem.BufferSlice, 0, b.resources.GetCardinality()+1)
		for it := b.resources.Iterator(); it.HasNext(); {
			id := it.Next()
			wire := b.content(table, id, envoy)
			if b.forceRead != nil && b.forceRead.Contains(id) {
				r.buffers = append(r.buffers, withMarker(t, wire, marker+nonce)...)
			} else {
				r.buffers = append(r.buffers, wire)
			}
			r.resources++
		}
	}
	url := t.URL()
	rest := make([]byte, 0, sizeBytes(fieldResponseTypeURL, len(url))+sizeBytes(fieldResponseNonce, len(nonce)))
	rest = appendString(rest, fieldResponseTypeURL, url)
	rest = appendString(rest, fieldResponseNonce, nonce)
	if b.removed != nil {
		for it := b.removed.Iterator(); it.HasNext(); {
			rest = appendString(rest, fieldResponseRemoved, table.entries[it.Next()].name)
			r.removed++
		}
	}
	r.buffers = append(r.buffers, mem.SliceBuffer(rest))
	r.size = r.buffers.Len()
	return r
}

// content is what the response carries of a resource.
func (b batch) content(t *table, id uint32, envoy *envoyNode) mem.Buffer {
	if b.lastGood != nil && b.lastGood.Contains(id) {
		wire, _ := t.lastGood(id, envoy)
		return wire
	}
	return t.wire(id, envoy)
}

// names returns the names of the ids, in the order of the ids.
func (t *table) names(ids *roaring.Bitmap) []string {
	names := make([]string, 0, ids.GetCardinality())
	for it := ids.Iterator(); it.HasNext(); {
		names = append(names, t.entries[it.Next()].name)
	}
	return names
}

// rawMessage is a message of another service that is read there: it takes the bytes, and keeps a
// reference to the buffers if it needs them longer.
type rawMessage interface {
	TakeRaw(data mem.BufferSlice)
	// Size is how many bytes were taken.
	Size() int
}

// codec writes responses without marshalling them again, and leaves requests unread. For
// all else it is gRPC's codec for protobuf.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal returns the buffers that make up the message.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(*response); ok {
		return r.buffers, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal takes a request as it is: to parse it may have to wait.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch r := v.(type) {
	case *request:
		data.Ref()
		r.raw, r.size = data, data.Len()
		return nil
	case rawMessage:
		r.TakeRaw(data)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
