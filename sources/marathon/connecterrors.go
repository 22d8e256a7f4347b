package marathon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"relay/internal/outgoing"
)

// withCure adds to the error of a request that got no answer what to write instead, where
// the error shows it.
func withCure(client *http.Client, u *url.URL, err error) error {
	note := proxyNote(client, u)
	var notTLS tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &notTLS):
		return fmt.Errorf("%w: this port speaks no TLS: write http://%s in place of https://%s%s", err, u.Host, u.Host, note)
	case u.Scheme == "http" && strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`):
		return fmt.Errorf("%w: this port takes TLS: write https://%s in place of http://%s%s", err, u.Host, u.Host, note)
	case u.Scheme == "http" && errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the connection was closed without an answer: if this port takes TLS, write https://%s in place of http://%s%s", err, u.Host, u.Host, note)
	case isNotFound(err):
		return fmt.Errorf("%w: see whether --marathon has the right name%s", err, note)
	case errors.Is(err, syscall.ECONNREFUSED) && note == "":
		return fmt.Errorf("%w: see whether --marathon has the right host and port, and Marathon runs", err)
	case errors.As(err, &authority):
		return fmt.Errorf("%w: give the PEM file of the authority that issued it, by --marathon-ca-file%s", err, note)
	}
	return fmt.Errorf("%w%s", err, note)
}

// isNotFound reports whether a host has no address.
func isNotFound(err error) bool {
	failed, ok := errors.AsType[*net.DNSError](err)
	return ok && failed.IsNotFound
}

func proxyNote(client *http.Client, u *url.URL) string {
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return ""
	}
	return outgoing.ProxyNote(transport.Proxy, u)
}

// wantsTLS are what web servers answer to a request without TLS where they take TLS: those
// of Go, nginx, and Apache.
var wantsTLS = []string{
	"Client sent an HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port", "speaking plain HTTP to an SSL-enabled server port",
}

// statusCure says what to do about an answer that is an error, as its body shows.
func statusCure(status int, u *url.URL, body []byte) string {
	if at := strings.Index(u.Path, "/v2/"); status == http.StatusInternalServerError && at > 0 && strings.Contains(string(body), "URI not found") {
		return fmt.Sprintf(" (there is no Marathon below %s: write the address without it, unless a proxy has it)", u.Path[:at])
	}
	if status != http.StatusBadRequest || u.Scheme != "http" {
		return ""
	}
	for _, text := range wantsTLS {
		if strings.Contains(string(body), text) {
			return fmt.Sprintf(" (this port takes TLS: write https://%s in place of http://%s)", u.Host, u.Host)
		}
	}
	return ""
}
