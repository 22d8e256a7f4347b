package xdsload

import (
	"fmt"
	"strconv"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of envoy.service.discovery.v3.
const (
	requestNode        protowire.Number = 1
	requestTypeURL     protowire.Number = 2
	requestSubscribe   protowire.Number = 3
	requestUnsubscribe protowire.Number = 4
	requestInitial     protowire.Number = 5
	requestNonce       protowire.Number = 6

	responseResources protowire.Number = 2
	responseTypeURL   protowire.Number = 4
	responseNonce     protowire.Number = 5
	responseRemoved   protowire.Number = 6

	resourceVersion protowire.Number = 1
	resourceName    protowire.Number = 3
)

func appendString(b []byte, field protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, s)
}

// appendInitial writes one entry of initial_resource_versions.
func appendInitial(b []byte, name string, version uint64) []byte {
	text := formatVersion(version)
	size := protowire.SizeTag(1) + protowire.SizeBytes(len(name)) + protowire.SizeTag(2) + protowire.SizeBytes(len(text))
	b = protowire.AppendTag(b, requestInitial, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendString(b, 1, name)
	return appendString(b, 2, text)
}

// A version is 16 hexadecimal digits: see xds.NewResource.
func formatVersion(v uint64) string { return fmt.Sprintf("%016x", v) }

// ParseVersion returns a resource's version as Sample has it.
func ParseVersion(s string) (uint64, error) { return strconv.ParseUint(s, 16, 64) }

// response is what an Envoy of this package reads of one; the resources
// themselves are skipped.
type response struct {
	typeURL, nonce string
	resources      []held
	removed        []uint32
}

type held struct {
	name    uint32
	version uint64
}

func parseResponse(data []byte, names *Names, r *response) error {
	*r = response{resources: r.resources[:0], removed: r.removed[:0]}
	return fields(data, func(field protowire.Number, value []byte) (err error) {
		switch field {
		case responseResources:
			var h held
			h, err = parseResource(value, names)
			r.resources = append(r.resources, h)
		case responseRemoved:
			r.removed = append(r.removed, names.id(value))
		case responseTypeURL:
			r.typeURL = string(value)
		case responseNonce:
			r.nonce = string(value)
		}
		return err
	})
}

func parseResource(data []byte, names *Names) (h held, err error) {
	err = fields(data, func(field protowire.Number, value []byte) (err error) {
		switch field {
		case resourceName:
			h.name = names.id(value)
		case resourceVersion:
			h.version, err = ParseVersion(string(value))
		}
		return err
	})
	return h, err
}

// fields calls f with every field of a message, all of which have a length.
func fields(data []byte, f func(protowire.Number, []byte) error) error {
	for len(data) > 0 {
		field, _, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		value, size := protowire.ConsumeBytes(data[n:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[n+size:]
		if err := f(field, value); err != nil {
			return err
		}
	}
	return nil
}

// codec takes requests that are bytes already and reads responses without
// making messages of them.
type codec struct{ names *Names }

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return parseResponse(buffer.ReadOnlyData(), c.names, v.(*response))
}
