// Package proxytlv reads the header of the PROXY protocol, version 2, by which Envoy tells a server
// who has connected: the address of the client, and what its certificate says. Servers of TCP services
// with RELAY_n_TLS_TERMINATE and RELAY_n_PROXY_PROTOCOL=v2 get it before all else.
//
// The types are of the range that the protocol leaves to applications. See
// https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt and docs/connections.md.
//
// A server must take connections from its Envoys only: whoever else connects can send any header.
package proxytlv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Type is the type of a value.
type Type byte

// The types that Relay has Envoy send. All values are text. The empty text, or no such value, means
// that there is none: nothing of a certificate is there if the client has shown none.
const (
	// URIs are the URIs among the certificate's subject alternative names, with commas between.
	URIs Type = 0xE0
	// Subject is the certificate's, as RFC 2253 writes it.
	Subject Type = 0xE1
	// Fingerprint is the SHA-256 of the certificate's DER, in hex.
	Fingerprint Type = 0xE2
	// Serial is the certificate's serial number, in hex.
	Serial Type = 0xE3
	// DNSNames are the names of hosts among the subject alternative names, with commas between.
	DNSNames Type = 0xE4
	// ServerName is what the client asked for (SNI), in lower case. It is what the client says.
	ServerName Type = 0xE5
	// NotAfter is when the certificate ends: 2030-01-31T23:59:59.000Z.
	NotAfter Type = 0xE6
	// Issuer is the subject of the authority that signed the certificate, as RFC 2253 writes it.
	Issuer Type = 0xE7
)

var types = []Type{URIs, Subject, Fingerprint, Serial, DNSNames, ServerName, NotAfter, Issuer}

// Types are all of them.
func Types() []Type { return slices.Clone(types) }

// Header is what Envoy says of a connection.
type Header struct {
	// Source is the client, and Destination what it connected to. Both are invalid if Envoy
	// connects for itself (the command LOCAL).
	Source, Destination netip.AddrPort
	values              map[Type]string
}

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	// fixedSize is that of the signature, the command, the family and the length.
	fixedSize = len(signature) + 4

	commandLocal, commandProxy = 0x20, 0x21
	familyTCP4, familyTCP6     = 0x11, 0x21
)

// ErrNoHeader is returned if what is read does not begin with a header of version 2.
var ErrNoHeader = errors.New("no header of the PROXY protocol, version 2")

// Read reads the header, and nothing that follows it. It takes 64 kB of memory at most, and waits as
// long as r does: set a deadline.
func Read(r io.Reader) (Header, error) {
	var fixed [fixedSize]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return Header{}, fmt.Errorf("read the header of the PROXY protocol: %w", err)
	}
	if string(fixed[:len(signature)]) != signature {
		return Header{}, ErrNoHeader
	}
	rest := make([]byte, binary.BigEndian.Uint16(fixed[fixedSize-2:]))
	if _, err := io.ReadFull(r, rest); err != nil {
		return Header{}, fmt.Errorf("read the header of the PROXY protocol: %w", err)
	}
	var h Header
	rest, err := h.addresses(fixed[len(signature)], fixed[len(signature)+1], rest)
	if err == nil {
		err = h.readValues(rest)
	}
	if err != nil {
		return Header{}, err
	}
	return h, nil
}

// addresses reads the addresses and returns what follows them.
func (h *Header) addresses(command, family byte, from []byte) (rest []byte, err error) {
	size := 0 // of one address
	switch {
	case command == commandLocal:
		// The receiver must not use the addresses, nor what follows.
		return nil, nil
	case command != commandProxy:
		return nil, fmt.Errorf("unknown command %#x in the header of the PROXY protocol", command)
	case family == familyTCP4:
		size = 4
	case family == familyTCP6:
		size = 16
	default:
		return nil, fmt.Errorf("unknown family %#x in the header of the PROXY protocol", family)
	}
	if len(from) < 2*size+4 {
		return nil, errors.New("the addresses in the header of the PROXY protocol are cut off")
	}
	source, _ := netip.AddrFromSlice(from[:size])
	destination, _ := netip.AddrFromSlice(from[size : 2*size])
	ports := from[2*size:]
	h.Source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(ports))
	h.Destination = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(ports[2:]))
	return ports[4:], nil
}

func (h *Header) readValues(from []byte) error {
	h.values = make(map[Type]string)
	for len(from) > 0 {
		if len(from) < 3 {
			return errors.New("a value in the header of the PROXY protocol is cut off")
		}
		kind, size := Type(from[0]), int(binary.BigEndian.Uint16(from[1:]))
		if from = from[3:]; len(from) < size {
			return errors.New("a value in the header of the PROXY protocol is cut off")
		}
		if _, twice := h.values[kind]; twice && slices.Contains(types, kind) {
			return fmt.Errorf("the value %#x is twice in the header of the PROXY protocol", byte(kind))
		}
		h.values[kind] = string(from[:size])
		from = from[size:]
	}
	return nil
}

// Value returns a value; empty if there is none.
func (h Header) Value(t Type) string { return h.values[t] }

// Shown reports whether the client has shown a certificate, which Envoy has verified.
func (h Header) Shown() bool { return h.values[Fingerprint] != "" }

// URI returns the only URI of the client's certificate, such as spiffe://lab.test/device/7. It is
// empty if there is none, or if there are several: values have commas between, and a URI
// may have one too, so that two cannot be told from one. Who goes by less than the whole can be led to
// take a client for another.
func (h Header) URI() string {
	if uri := h.values[URIs]; !strings.Contains(uri, ",") {
		return uri
	}
	return ""
}
