package xds

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"

	"relay/internal/guard"
)

// handshaker makes the handshakes, and logs the clients that do not get as far as HTTP/2: gRPC
// does not log them.
type handshaker struct {
	credentials.TransportCredentials
	refusals *guard.Log
	conns    *envoyConns
	// slots are for TLS handshakes; nil if the port is plain text.
	slots handshakeSlots
	// limit is how long a handshake may take.
	limit time.Duration
}

// ServerHandshake makes the TLS handshake, if there is one, and reads the beginning of HTTP/2.
func (h handshaker) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.handshake(raw)
	if err != nil {
		if refusal, ok := guard.Handshake(err, "xds"); ok {
			h.refusals.Refuse(raw.RemoteAddr().String(), refusal)
		}
		return nil, nil, err
	}
	first, refusal, err := readPreface(conn)
	if err != nil {
		if refusal.Kind != "" {
			h.refusals.Refuse(raw.RemoteAddr().String(), refusal)
		}
		_ = conn.Close()
		return nil, nil, err
	}
	return h.conns.add(&replayConn{Conn: conn, first: first}), info, nil
}

// handshake makes the TLS handshake, if there is one, when there is a slot.
func (h handshaker) handshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if h.slots == nil {
		return h.TransportCredentials.ServerHandshake(raw)
	}
	hello, complete := readHello(raw)
	if complete {
		done := h.slots.take()
		defer done()
		// The time that the client waited for a slot does not count.
		if err := raw.SetDeadline(time.Now().Add(h.limit)); err != nil {
			return nil, nil, err // it was closed meanwhile
		}
		raw = &slotConn{Conn: raw, done: done}
	}
	return h.TransportCredentials.ServerHandshake(&replayConn{Conn: raw, first: hello})
}

// Clone copies the credentials.
func (h handshaker) Clone() credentials.TransportCredentials {
	return handshaker{h.TransportCredentials.Clone(), h.refusals, h.conns, h.slots, h.limit}
}

// frameHeader is the size of the header of an HTTP/2 frame.
const frameHeader = 9

// readPreface reads what every HTTP/2 client sends first: a text, and the
// header of a SETTINGS frame (RFC 9113, 3.4). It says why a client is refused.
func readPreface(conn net.Conn) (first []byte, refusal guard.Refusal, err error) {
	first = make([]byte, len(http2.ClientPreface)+frameHeader)
	text, header := first[:len(http2.ClientPreface)], first[len(http2.ClientPreface):]
	n, err := io.ReadFull(conn, text)
	if err == nil && string(text) == http2.ClientPreface {
		_, err = io.ReadFull(conn, header)
	}
	text = text[:n]
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, guard.Refusal{Kind: guard.Silent, Reason: "it did not begin with HTTP/2 in time: is it an Envoy?"}, err
	case bytes.HasPrefix(text, []byte("\x16\x03")):
		return nil, guard.Refusal{Kind: guard.TLS, Reason: "it speaks TLS, this port is plain text: " +
			"give Relay --xds-cert, --xds-key and --xds-client-ca, or the Envoy a bootstrap without --xds-ca"}, errors.New("TLS on a port in plain text")
	case err != nil:
		return nil, guard.Refusal{}, err
	case string(text) != http2.ClientPreface || http2.FrameType(header[3]) != http2.FrameSettings:
		return nil, guard.Refusal{Kind: guard.Protocol, Reason: fmt.Sprintf("it begins with %q, this port takes gRPC: is it an Envoy?", text)},
			errors.New("not HTTP/2")
	}
	return first, guard.Refusal{}, nil
}

// replayConn is a connection whose first bytes were read before. It reads them again.
type replayConn struct {
	net.Conn
	first []byte
}

// Read returns the first bytes again, and then what follows.
func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
