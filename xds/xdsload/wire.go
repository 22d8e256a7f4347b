package xdsload

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

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
	const versionSize = 16
	size := protowire.SizeTag(1) + protowire.SizeBytes(len(name)) + protowire.SizeTag(2) + protowire.SizeBytes(versionSize)
	b = protowire.AppendTag(b, requestInitial, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendString(b, 1, name)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, versionSize)
	return hex.AppendEncode(b, binary.BigEndian.AppendUint64(nil, version))
}

// ParseVersion returns a resource's version as Sample has it. A version is 16
// hexadecimal digits: see xds.NewResource.
func ParseVersion(s string) (uint64, error) {
	var b [8]byte
	if len(s) != 2*len(b) {
		return 0, fmt.Errorf("version %q is not one of 16 hexadecimal digits", s)
	}
	_, err := hex.Decode(b[:], []byte(s))
	return binary.BigEndian.Uint64(b[:]), err
}

// response is what an Envoy of this package reads of one; the resources
// themselves are skipped.
type response struct {
	typeURL, nonce string
	resources      []namedVersion
	removed        []uint32
	field          []byte // being read
}

// namedVersion is a resource: the number of its name, and its version.
type namedVersion struct {
	name    uint32
	version uint64
}

// read reads a message field by field: it may be tens of megabytes, of which
// little is kept.
func (r *response) read(data *mem.Reader, names *Names) error {
	*r = response{resources: r.resources[:0], removed: r.removed[:0], field: r.field}
	names.mu.RLock()
	defer names.mu.RUnlock()
	for data.Remaining() > 0 {
		tag, err := binary.ReadUvarint(data)
		if err != nil {
			return err
		}
		size, err := binary.ReadUvarint(data)
		if err != nil {
			return err
		}
		if size > uint64(data.Remaining()) {
			return io.ErrUnexpectedEOF
		}
		r.field = slices.Grow(r.field[:0], int(size))[:size]
		if _, err := io.ReadFull(data, r.field); err != nil {
			return err
		}
		field, _ := protowire.DecodeTag(tag)
		if err := r.take(field, r.field, names); err != nil {
			return err
		}
	}
	return nil
}

func (r *response) take(field protowire.Number, value []byte, names *Names) error {
	switch field {
	case responseResources:
		h, err := parseResource(value, names)
		r.resources = append(r.resources, h)
		return err
	case responseRemoved:
		r.removed = append(r.removed, names.id(value))
	case responseTypeURL:
		r.typeURL = string(value)
	case responseNonce:
		r.nonce = string(value)
	}
	return nil
}

func parseResource(data []byte, names *Names) (h namedVersion, err error) {
	err = fields(data, func(field protowire.Number, value []byte) (err error) {
		switch field {
		case resourceName:
			h.name = names.id(value)
		case resourceVersion:
			// See Resource.Passing. It is kept as the version that the resource has otherwise.
			h.version, err = ParseVersion(strings.TrimPrefix(string(value), "passing-"))
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
	reader := data.Reader()
	defer func() { _ = reader.Close() }()
	return v.(*response).read(reader, c.names)
}
