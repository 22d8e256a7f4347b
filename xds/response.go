package xds

import (
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// response is a DeltaDiscoveryResponse ready for the wire: the resources are the
// bytes that the store holds, shared by all streams; only the rest is its own.
type response struct {
	typ       Type
	resources [][]byte
	removed   int
	size      int
	nonce     string
	trailer   []byte
}

func newResponse(t Type, table *table, b batch, nonce string) *response {
	r := &response{typ: t, nonce: nonce}
	if b.set != nil {
		r.resources = make([][]byte, 0, b.set.GetCardinality())
		for it := b.set.Iterator(); it.HasNext(); {
			wire := table.entries[it.Next()].wire
			r.resources = append(r.resources, wire)
			r.size += len(wire)
		}
	}
	r.trailer = appendString(nil, fieldResponseTypeURL, t.URL())
	r.trailer = appendString(r.trailer, fieldResponseNonce, nonce)
	if b.gone != nil {
		for it := b.gone.Iterator(); it.HasNext(); {
			r.trailer = appendString(r.trailer, fieldResponseRemoved, table.entries[it.Next()].name)
			r.removed++
		}
	}
	r.size += len(r.trailer)
	return r
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
		buffers := make(mem.BufferSlice, 0, len(m.resources)+1)
		for _, wire := range m.resources {
			buffers = append(buffers, mem.SliceBuffer(wire))
		}
		return append(buffers, mem.SliceBuffer(m.trailer)), nil
	case proto.Message:
		body, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(body)}, nil
	}
	return nil, fmt.Errorf("cannot marshal a %T", v)
}

// Unmarshal parses a request.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("cannot unmarshal into a %T", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return proto.Unmarshal(buffer.ReadOnlyData(), m)
}
