package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"relay/internal/terminal"
)

// inWords says for people why a step failed; empty if it did not. missing is what did not come if its time was over.
func inWords(err error, missing string) string {
	var timeout net.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return missing + " in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the address"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	return clean(err.Error())
}

// clean makes a text of strangers harmless and short.
func clean(text string) string {
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return terminal.Clean(text)
}

// tlsInWords says what was wrong with TLS, and which certificate was shown.
func tlsInWords(err error, name string) string {
	if failed, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(failed.UnverifiedCertificates) > 0 {
		return certificateInWords(failed.UnverifiedCertificates[0], failed.Err, name)
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return "TLS was refused: " + clean(alert.Error())
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the answer is no TLS"
	}
	return inWords(err, "no TLS")
}

func certificateInWords(c *x509.Certificate, err error, name string) string {
	what := fmt.Sprintf("certificate for %s, expires %s", namesOf(c), c.NotAfter.UTC().Format(time.DateOnly))
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case is[x509.HostnameError](err):
		return fmt.Sprintf("%s, not for %s", what, clean(name))
	case invalid.Cert != nil && invalid.Reason == x509.Expired && time.Now().Before(c.NotBefore):
		return what + ", is not valid before " + c.NotBefore.UTC().Format(time.DateTime)
	case invalid.Cert != nil && invalid.Reason == x509.Expired && time.Now().After(c.NotAfter):
		return fmt.Sprintf("certificate for %s, expired %s UTC", namesOf(c), c.NotAfter.UTC().Format(time.DateTime))
	case is[x509.UnknownAuthorityError](err):
		return what + ", is of an authority that is not trusted: " + clean(c.Issuer.CommonName)
	}
	return what + ", is not valid: " + clean(err.Error())
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// namesOf lists the first names of a certificate.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name"
	}
	more := ""
	if len(names) > 3 {
		more = fmt.Sprintf(" and %d more", len(names)-3)
		names = names[:3]
	}
	return clean(strings.Join(names, ", ")) + more
}
