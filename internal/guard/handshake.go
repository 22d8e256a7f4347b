package guard

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxShown bounds what a client adds to the log, in characters.
const maxShown = 200

// Handshake says why a TLS handshake failed, and what to do. Port is how the settings of the port
// begin: "xds" for --xds-cert. It is not ok if the client went away by itself, as the probe of a
// load balancer does.
//
// Handshake goes by the words of crypto/tls: most errors there have no type, and net/http passes
// on no types.
func Handshake(err error, port string) (r Refusal, ok bool) {
	text := err.Error()
	if connectionClosed(text) {
		return Refusal{}, false
	}
	for _, known := range []struct {
		words  string
		kind   Kind
		reason string
	}{
		{"does not look like a TLS handshake", Plaintext, "it speaks plain text, this port takes TLS: for an Envoy, see relay bootstrap --xds-ca"},
		{"client sent an HTTP request to an HTTPS server", Plaintext, "it speaks plain text, this port takes TLS: use https://"},
		{"didn't provide a certificate", NoCertificate, "it shows no client certificate: give it one of the authorities in --PORT-client-ca"},
		{"has expired or is not yet valid", Expired, "its certificate is out of date: renew it, and look at the clocks"},
		{"signed by unknown authority", Authority, "its certificate is of none of the authorities in --PORT-client-ca: give it another, or add its authority"},
		{"failed to verify certificate", Certificate, "its certificate cannot be used: give it another"},
		{"remote error", Distrusted, "it breaks off the handshake, most likely because it does not trust the certificate in --PORT-cert: compare authority and name with what the client was given"},
		{"i/o timeout", Silent, "it did not finish the TLS handshake in time: is it a TLS client, and the network in order?"},
	} {
		if strings.Contains(text, known.words) {
			reason := strings.ReplaceAll(known.reason, "PORT", port)
			return Refusal{Kind: known.kind, Reason: fmt.Sprintf("%s (%.*s%s)", reason, maxShown, text, shown(err))}, true
		}
	}
	return Refusal{Kind: Protocol, Reason: fmt.Sprintf("it speaks another TLS than this port, which takes versions 1.2 and 1.3 (%.*s)", maxShown, text)}, true
}

// connectionClosed reports whether the connection was closed, and not refused.
func connectionClosed(text string) bool {
	return slices.ContainsFunc([]string{"EOF", "use of closed network connection", "connection reset by peer", "broken pipe"},
		func(end string) bool { return strings.HasSuffix(text, end) })
}

// shown describes the certificate that was refused.
func shown(err error) string {
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) || len(refused.UnverifiedCertificates) == 0 {
		return ""
	}
	return fmt.Sprintf("; it shows %.*q", maxShown, describe(refused.UnverifiedCertificates[0]))
}

func describe(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	if len(names) == 0 {
		names = []string{c.Subject.String()}
	}
	return fmt.Sprintf("%s, issued by %s, valid until %s", strings.Join(names, " "), c.Issuer, c.NotAfter.UTC().Format("2006-01-02 15:04"))
}
