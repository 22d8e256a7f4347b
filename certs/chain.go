package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// maxChain is the longest chain that is served; clients refuse longer ones.
const maxChain = 10

// orderChain returns the leaf and, in order, those certificates of the bundle
// that issued one another up to, not including, a self-signed root.
// Clients have the root or do not trust it; sending it only costs bytes.
func orderChain(leaf *x509.Certificate, bundle []*x509.Certificate) (chain []*x509.Certificate, notes []string) {
	chain = []*x509.Certificate{leaf}
	rest := slices.DeleteFunc(slices.Clone(bundle), leaf.Equal)
	rootFound := selfSigned(leaf)
	for len(chain) < maxChain && !rootFound {
		issuer := findIssuer(chain[len(chain)-1], rest)
		if issuer == nil {
			break
		}
		rest = slices.DeleteFunc(rest, issuer.Equal)
		if selfSigned(issuer) {
			rootFound = true
			notes = append(notes, fmt.Sprintf("the root %.200q is not sent: clients do not need it", issuer.Subject))
			break
		}
		chain = append(chain, issuer)
	}
	if len(chain) == 1 && !rootFound {
		notes = append(notes, fmt.Sprintf("the issuer %.200q is missing: most clients will not trust the certificate, add it to the bundle", leaf.Issuer))
	}
	for len(rest) > 0 {
		other := rest[0]
		rest = slices.DeleteFunc(rest, other.Equal)
		notes = append(notes, fmt.Sprintf("the certificate %.200q is not sent: it is not in the chain of this leaf", other.Subject))
	}
	return chain, notes
}

// findIssuer returns the certificate that signed c: one with an issuer of its
// own before a root (a cross-signed CA reaches more clients), then the one that
// lasts longest.
func findIssuer(c *x509.Certificate, candidates []*x509.Certificate) *x509.Certificate {
	var best *x509.Certificate
	for _, candidate := range candidates {
		if !signed(candidate, c) {
			continue
		}
		if best == nil || betterIssuer(candidate, best) {
			best = candidate
		}
	}
	return best
}

func betterIssuer(a, b *x509.Certificate) bool {
	if selfSigned(a) != selfSigned(b) {
		return !selfSigned(a)
	}
	return a.NotAfter.After(b.NotAfter)
}

// signed does not ask whether the issuer may be a CA: that is the client's
// decision, and private CAs often lack the extension that says so.
func signed(issuer, c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, issuer.RawSubject) &&
		issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func selfSigned(c *x509.Certificate) bool { return signed(c, c) }

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
