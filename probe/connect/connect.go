// Package connect is what probers of connections have in common: how they connect to an Envoy, and how they
// keep what each step took and saw.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"relay/internal/failure"
)

// Dial connects to an Envoy, and sends the header of the PROXY protocol first if it expects one.
func Dial(ctx context.Context, address string, proxyProtocol bool) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil || !proxyProtocol {
		return conn, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(deadline)
	}
	if _, err := conn.Write(proxyHeader(conn.LocalAddr(), conn.RemoteAddr())); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, conn.SetWriteDeadline(time.Time{})
}

// proxyHeader is that of version 2, for a connection by TCP. See
// https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt.
func proxyHeader(from, to net.Addr) []byte {
	source, _ := netip.ParseAddrPort(from.String())
	destination, _ := netip.ParseAddrPort(to.String())
	family, addresses := byte(0x11), append(source.Addr().Unmap().AsSlice(), destination.Addr().Unmap().AsSlice()...)
	if len(addresses) > 2*net.IPv4len {
		family = 0x21
	}
	header := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, family)
	header = binary.BigEndian.AppendUint16(header, uint16(len(addresses)+4))
	header = binary.BigEndian.AppendUint16(append(header, addresses...), source.Port())
	return binary.BigEndian.AppendUint16(header, destination.Port())
}

// Handshake makes TLS of a connection. It ends with the context.
func Handshake(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error) {
	secured := tls.Client(conn, config)
	err := secured.HandshakeContext(ctx)
	if Closed(err) {
		// Envoy connects to the server at once, and closes the connection of the client if it cannot.
		err = &Words{Text: "the connection was closed during the handshake: the edge may have no server for it"}
	}
	return secured, err
}

// Expires is when the first certificate of a connection expires.
func Expires(state tls.ConnectionState) (first time.Time) {
	for _, c := range state.PeerCertificates {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// Alert reports whether the other side ended TLS with an alert. With TLS 1.3, that is how a client learns that its
// certificate was refused: after the handshake, which is over for it by then.
func Alert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// Closed reports whether the other side closed the connection, with or without a word.
func Closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Say puts an error of a connection into words for people.
func Say(err error) string {
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused) && len(refused.UnverifiedCertificates) > 0:
		return fmt.Sprintf("%s, %s", refused.Err, describe(refused.UnverifiedCertificates[0]))
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused: nothing listens there"
	case Closed(err):
		return "the connection was closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return cut(err.Error(), 300)
}

func describe(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if len(c.DNSNames) > 0 {
		name = strings.Join(c.DNSNames, " ")
	}
	return fmt.Sprintf("certificate for %s, expires %s", cut(name, 100), c.NotAfter.UTC().Format("2006-01-02 15:04"))
}

func cut(text string, bytes int) string {
	if len(text) > bytes {
		text = strings.ToValidUTF8(text[:bytes], "") + "…"
	}
	return text
}

// Skip says why an answer of Relay's own, by its code in x-relay-error, is no failure; it is empty if it is one.
func Skip(code string) string {
	switch code {
	case failure.Asleep:
		return "the app sleeps"
	case failure.Starting:
		return "the app starts"
	case failure.Maintenance:
		return "the app is in maintenance"
	}
	return ""
}
