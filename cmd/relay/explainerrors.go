package main

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
)

// notReached is the error of a request that got no answer, with what to do. It is without the
// URL, which may hold a password.
func (c *explainCmd) notReached(err error, base *url.URL) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	cure := ""
	var notTLS tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var lookup *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		cure = ": nobody listens there: is relay serve running, with this --admin?"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &notTLS):
		cure = ": this port speaks no TLS: write --admin http://" + base.Host
	case base.Scheme == "http" && (errors.Is(err, io.EOF) || strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`)):
		cure = ": if this port takes TLS, write --admin https://" + base.Host
	case errors.As(err, &authority):
		cure = ": give the PEM file of the authority that issued its certificate, by --admin-ca"
	case errors.As(err, &name):
		cure = ": write a name in --admin that is in the certificate"
	case errors.As(err, &lookup):
		cure = ": see whether --admin has the right name"
	}
	return fmt.Errorf("cannot ask Relay at %s (--admin): %w%s", c.shown(), err, cure)
}

// statusCure says what to do about an answer that is an error.
func (c *explainCmd) statusCure(status int, body []byte) string {
	switch {
	case status == http.StatusBadRequest && strings.Contains(string(body), "HTTP request to an HTTPS server"):
		return ": write https:// in --admin"
	case status == http.StatusUnauthorized && c.TokenFile == "" && c.Cert == "":
		return ": give --admin-token-file, or --admin-client-cert and --admin-client-key"
	case status == http.StatusUnauthorized:
		return ": see whether the token is that of relay serve, in its --admin-token-file"
	}
	return ""
}
