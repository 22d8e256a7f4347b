package xds

import (
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
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

// codec writes responses without marshalling them again, and is otherwise the
// usual protobuf codec.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is the content subtype of protobuf.
func (codec) Name() string { return "proto" }

// Marshal returns the buffers that make up the message.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *response:
		return m.buffers, nil
	case proto.Message:
		body, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(body)}, nil
	}
	return nil, fmt.Errorf("cannot marshal a %T", v)
}

// Unmarshal takes a request as it is: to parse it may have to wait.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *request:
		data.Ref()
		m.raw, m.size = data, data.Len()
		return nil
	case proto.Message:
		buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buffer.Free()
		return proto.Unmarshal(buffer.ReadOnlyData(), m)
	}
	return fmt.Errorf("cannot unmarshal into a %T", v)
}
