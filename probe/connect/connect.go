// Package connect is what probers of connections have in common: how they connect to an Envoy, and how they
// keep what each step took and saw.
package connect

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"relay/internal/failure"
	"relay/internal/terminal"
	"relay/probe"
)

// proxyHeader is that of the PROXY protocol, version 2, of a proxy that connects for itself: the Envoy takes the address
// of the connection. See https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt.
const proxyHeader = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"

// Dial connects to an Envoy, and sends the header of the PROXY protocol first if it expects one.
func Dial(ctx context.Context, address string, proxyProtocol bool) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil || !proxyProtocol {
		return conn, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(deadline)
	}
	if _, err := io.WriteString(conn, proxyHeader); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, conn.SetWriteDeadline(time.Time{})
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

// Shown reports whether the other side has shown a certificate, though not the one that was expected: it is no machine that is down.
func Shown(err error) bool {
	_, shown := errors.AsType[*tls.CertificateVerificationError](err)
	return shown
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
		return fmt.Sprintf("%s, %s", terminal.Clean(cut(refused.Err.Error(), 300)), describe(refused.UnverifiedCertificates[0]))
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case Closed(err):
		return "the connection was closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return terminal.Clean(cut(err.Error(), 300))
}

func describe(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if len(c.DNSNames) > 0 {
		name = strings.Join(c.DNSNames, " ")
	}
	return fmt.Sprintf("certificate for %s, expires %s", terminal.Clean(cut(name, 100)), c.NotAfter.UTC().Format("2006-01-02 15:04"))
}

func cut(text string, bytes int) string {
	if len(text) > bytes {
		text = strings.ToValidUTF8(text[:bytes], "") + "…"
	}
	return text
}

// Answer keeps what the head of an answer says. It returns what the Envoy says if it has made the answer itself, as an
// error for people; nil if the app has.
func Answer(r *probe.Result, response *http.Response) error {
	r.Answered, r.Status = true, response.StatusCode
	code, ok := failure.Of(response.Header.Get(failure.Header))
	if !ok {
		return nil
	}
	r.Code, r.Answered = code.Name, code.Name != failure.NoSuchDomain
	return &Words{Text: fmt.Sprintf("the Envoy answers %s (%d): %s", code.Name, r.Status, code.Text)}
}

// RequestID is the header with the ID of a request. Envoys keep it, so that it is in their logs and in Relay's failures.
const RequestID = "X-Request-Id"

// NewRequestID makes the ID of a request.
func NewRequestID() string { return "probe-" + rand.Text()[:16] }

// skip says why an answer of the Envoy is as it is meant to be; it is empty if it is not.
func skip(name string) string {
	code, ok := failure.Of(name)
	switch {
	case !ok || !code.Meant:
		return ""
	case name == failure.Asleep:
		return "the app sleeps"
	case name == failure.Maintenance:
		return "the app is in maintenance"
	}
	return "the Envoy answers " + name + ", as is meant"
}
