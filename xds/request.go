package xds

import (
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// request is a DeltaDiscoveryRequest. Its lists are kept out of the message, as parts of one
// string: an Envoy that reconnects names all that it has, and a map of that would cost more than
// all else that is done with it.
type request struct {
	// raw is what was received, in the buffers in which it came, until parse.
	raw mem.BufferSlice
	// size is that of what was received, in bytes, and reservation the memory that this takes
	// of the budget until the request is handled; nil if it is small.
	size        int
	reservation *reservation

	discoveryv3.DeltaDiscoveryRequest // all but the lists

	subscribe, unsubscribe []string
	initial                []initialVersion
}

// initialVersion is an entry of initial_resource_versions.
type initialVersion struct{ name, version string }

// minEntry is about what the shortest entry of an Envoy's list takes.
const minEntry = 48

// maxEntries bounds what the lists of one request take: empty names are two bytes
// on the wire, and sixteen in memory.
const maxEntries = maxRequest / minEntry

var errEntries = fmt.Errorf("it names more than %d resources", maxEntries)

var errUTF8 = errors.New("a resource name or version is not valid UTF-8")

// weight is about how many resources the request names.
func (r *request) weight() int {
	return max(r.raw.Len()/minEntry, len(r.subscribe)+len(r.initial))
}

// parse reads what was received.
func (r *request) parse() error {
	if r.raw == nil {
		return nil
	}
	data := r.raw.Materialize()
	r.raw.Free()
	if err := r.unmarshal(data); err != nil {
		return status.Errorf(codes.InvalidArgument, "malformed request: %v", err)
	}
	return nil
}

func (r *request) unmarshal(data []byte) error {
	*r = request{size: r.size, reservation: r.reservation}
	// A string of the same bytes: nobody writes to them.
	text := unsafe.String(unsafe.SliceData(data), len(data))
	var rest []byte
	for at := 0; at < len(data); {
		field, kind, value, size, err := consumeField(data[at:])
		if err != nil {
			return err
		}
		end := at + size
		part := text[end-len(value) : end]
		switch {
		case kind == protowire.BytesType && field == fieldRequestSubscribe:
			if r.subscribe == nil {
				r.subscribe = make([]string, 0, (len(data)-at)/max(size, minEntry))
			}
			r.subscribe = append(r.subscribe, part)
		case kind == protowire.BytesType && field == fieldRequestUnsubscribe:
			r.unsubscribe = append(r.unsubscribe, part)
		case kind == protowire.BytesType && field == fieldRequestInitial:
			entry, err := parseInitial(value, part)
			if err != nil {
				return err
			}
			if r.initial == nil {
				r.initial = make([]initialVersion, 0, (len(data)-at)/max(size, minEntry))
			}
			r.initial = append(r.initial, entry)
		default:
			rest = append(rest, data[at:end]...)
			part = ""
		}
		if !utf8.ValidString(part) && field != fieldRequestInitial {
			return errUTF8
		}
		if len(r.subscribe)+len(r.unsubscribe)+len(r.initial) > maxEntries {
			return errEntries
		}
		at = end
	}
	return proto.Unmarshal(rest, &r.DeltaDiscoveryRequest)
}

// consumeField returns the first field of data; value is what follows the
// length, if the field has one, and is at the end of the field's size.
func consumeField(data []byte) (field protowire.Number, kind protowire.Type, value []byte, size int, err error) {
	field, kind, n := protowire.ConsumeTag(data)
	if n < 0 {
		return 0, 0, nil, 0, protowire.ParseError(n)
	}
	if kind == protowire.BytesType {
		value, size = protowire.ConsumeBytes(data[n:])
	} else {
		size = protowire.ConsumeFieldValue(field, kind, data[n:])
	}
	if size < 0 {
		return 0, 0, nil, 0, protowire.ParseError(size)
	}
	return field, kind, value, n + size, nil
}

// parseInitial reads an entry of a map; text is data as a string.
func parseInitial(data []byte, text string) (entry initialVersion, err error) {
	for at := 0; at < len(data); {
		field, kind, value, size, err := consumeField(data[at:])
		if err != nil {
			return entry, err
		}
		at += size
		part := text[at-len(value) : at]
		switch {
		case kind != protowire.BytesType:
		case field == fieldMapKey:
			entry.name = part
		case field == fieldMapValue:
			entry.version = part
		}
	}
	if !utf8.ValidString(entry.name) || !utf8.ValidString(entry.version) {
		return entry, errUTF8
	}
	return entry, nil
}
