package compare

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// certificate is what a side shows to clients of a name.
type certificate struct {
	subject, issuer string
	names           []string
	notAfter        time.Time
	fingerprint     [sha256.Size]byte
	covers          bool // the name that was asked for
}

func newCertificate(leaf *x509.Certificate, host string) *certificate {
	return &certificate{
		subject: clip(leaf.Subject.String()), issuer: clip(leaf.Issuer.String()), names: slices.Sorted(slices.Values(leaf.DNSNames)), notAfter: leaf.NotAfter,
		fingerprint: sha256.Sum256(leaf.Raw), covers: leaf.VerifyHostname(host) == nil,
	}
}

func (c *certificate) String() string {
	const shown = 3
	names := strings.Join(c.names[:min(len(c.names), shown)], " ")
	if more := len(c.names) - shown; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	text := fmt.Sprintf("%s of %s, for %s, until %s", c.subject, c.issuer, orNone(clip(names)), c.notAfter.UTC().Format(time.DateOnly))
	if !c.covers {
		text += ", which does not have the domain"
	}
	return text
}

// compareCertificates says what is different of certificates; empty if nothing is.
func compareCertificates(was, is *certificate) (reason string) {
	if was == nil || is == nil || was.fingerprint == is.fingerprint {
		return ""
	}
	var what []string
	for _, one := range []struct {
		name  string
		other bool
	}{
		{"the subject", was.subject != is.subject}, {"the issuer", was.issuer != is.issuer},
		{"the names", !slices.Equal(was.names, is.names)}, {"the end", !was.notAfter.Equal(is.notAfter)},
	} {
		if one.other {
			what = append(what, one.name)
		}
	}
	switch {
	case was.covers && !is.covers:
		return "clients refuse what Relay shows, as it does not have the domain"
	case len(what) == 0:
		return "it is another certificate with the same content"
	}
	return "different are " + strings.Join(what, ", ")
}
