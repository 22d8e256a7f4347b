package certs

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

const (
	// maxChain is the longest chain that is served; clients refuse longer ones.
	maxChain = 10
	// maxSignatures and maxSteps bound what a bundle of certificates that all sign one
	// another can cost: signatures that are verified, each as many times as its cost, and
	// issuers that are tried for one moment. A usual bundle needs three of each.
	maxSignatures, maxSteps = 1000, 1000
	// maxIssuerBits is the longest RSA key by which BoringSSL verifies a signature.
	maxIssuerBits = 16384
)

// issuers finds the best chain of a leaf in a bundle, for each moment.
//
// A client needs the leaf's issuer: nobody has it but who is sent it. Above it a client may
// know what it is not sent. An authority that has a root of its own may be in the bundle as
// signed by another one too, for clients that do not have its root yet. When that signature
// ends, clients with the root do not miss it; and some refuse the certificate if it is sent
// all the same. So only the dates of leaf and issuer count, and what is above them is sent
// while it is valid.
type issuers struct {
	leaf   *x509.Certificate
	bundle []*x509.Certificate // without the leaf, without duplicates
	// reachable are those of the bundle that issued the leaf or its issuers.
	reachable  []*x509.Certificate
	issued     map[*x509.Certificate][]*x509.Certificate // the issuers of each
	roots      map[*x509.Certificate]bool
	signatures int
	steps      int
}

func newIssuers(leaf *x509.Certificate, bundle []*x509.Certificate) *issuers {
	is := &issuers{leaf: leaf, issued: make(map[*x509.Certificate][]*x509.Certificate), roots: make(map[*x509.Certificate]bool)}
	for _, c := range bundle {
		if !c.Equal(leaf) && !slices.ContainsFunc(is.bundle, c.Equal) {
			is.bundle = append(is.bundle, c)
		}
	}
	if !selfSigned(leaf) {
		is.reach(leaf)
	}
	return is
}

// reach finds the issuers of a certificate, their issuers, and so on up to the roots.
func (is *issuers) reach(c *x509.Certificate) {
	if _, done := is.issued[c]; done || is.isRoot(c) {
		return
	}
	var found []*x509.Certificate
	for _, candidate := range is.bundle {
		if candidate == c || !bytes.Equal(c.RawIssuer, candidate.RawSubject) || is.signatures >= maxSignatures {
			continue
		}
		if is.signatures += signatureCost(candidate); signed(candidate, c) {
			found = append(found, candidate)
		}
	}
	is.issued[c] = found
	for _, issuer := range found {
		if !slices.Contains(is.reachable, issuer) {
			is.reachable = append(is.reachable, issuer)
		}
		is.reach(issuer)
	}
}

// signatureCost is how much longer it takes to verify a signature of an issuer than with a
// usual key.
func signatureCost(issuer *x509.Certificate) int {
	times := min(rsaBits(issuer), maxIssuerBits) / 4096
	return 1 + times*times
}

// rsaBits is the length of a certificate's RSA key; 0 if it has another one.
func rsaBits(c *x509.Certificate) int {
	if public, ok := c.PublicKey.(*rsa.PublicKey); ok {
		return public.N.BitLen()
	}
	return 0
}

// isRoot reports whether a certificate signed itself. Clients have it, or do not trust it.
func (is *issuers) isRoot(c *x509.Certificate) bool {
	root, known := is.roots[c]
	if !known {
		root = bytes.Equal(c.RawIssuer, c.RawSubject) && selfSigned(c)
		is.roots[c] = root
	}
	return root
}

// path is the way from a leaf towards a root.
type path struct {
	from time.Time
	// sent are the issuers to send, in order.
	sent []*x509.Certificate
	// valid is set if the dates of the leaf's issuer are.
	valid bool
	// remark says what is not sent for its dates; empty if nothing is missed.
	remark string
	// end is when the first of sent ends; zero if none is sent.
	end time.Time
}

// issuer returns the leaf's issuer, nil if it is not sent.
func (p path) issuer() *x509.Certificate {
	if len(p.sent) == 0 {
		return nil
	}
	return p.sent[0]
}

// paths returns the best path for each moment of the leaf's life. One begins with the leaf,
// others where the dates of an issuer do, or a moment after these end.
func (is *issuers) paths() []path {
	moments := []time.Time{is.leaf.NotBefore}
	for _, c := range is.reachable {
		for _, at := range []time.Time{c.NotBefore, c.NotAfter.Add(time.Nanosecond)} {
			if at.After(is.leaf.NotBefore) && !at.After(is.leaf.NotAfter) {
				moments = append(moments, at)
			}
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	moments = slices.CompactFunc(moments, time.Time.Equal)
	paths := make([]path, len(moments))
	for i, from := range moments {
		is.steps = 0
		paths[i] = is.best(is.leaf, from, nil)
		paths[i].from = from
	}
	return paths
}

// best returns the best path up from c at a moment; below are the issuers before c.
func (is *issuers) best(c *x509.Certificate, at time.Time, below []*x509.Certificate) path {
	best, found := path{valid: true}, false
	for _, issuer := range is.issued[c] {
		if is.steps++; is.steps > maxSteps || len(below) >= maxChain-1 || slices.ContainsFunc(below, func(b *x509.Certificate) bool { return sameAuthority(b, issuer) }) {
			continue
		}
		if p := is.through(issuer, at, below); !found || p.compare(best) > 0 {
			best, found = p, true
		}
	}
	return best
}

// through returns the best path by way of an issuer.
func (is *issuers) through(issuer *x509.Certificate, at time.Time, below []*x509.Certificate) path {
	why := ""
	switch {
	case at.Before(issuer.NotBefore):
		why = "is not valid before " + day(issuer.NotBefore)
	case at.After(issuer.NotAfter):
		why = "ended on " + day(issuer.NotAfter)
	}
	switch {
	case is.isRoot(issuer) && why == "":
		return path{valid: true}
	case is.isRoot(issuer):
		return path{valid: true, remark: fmt.Sprintf("the root %.200q in the bundle %s: clients accept the certificate only if they have a newer one of it", issuer.Subject, why)}
	case why != "" && len(below) > 0:
		return path{valid: true, remark: fmt.Sprintf("the certificate %.200q above its issuer %s, and is not sent: clients accept this certificate only if they know that authority otherwise, as a root", issuer.Subject, why)}
	}
	above := is.best(issuer, at, append(slices.Clip(below), issuer))
	p := path{sent: append([]*x509.Certificate{issuer}, above.sent...), valid: why == "", remark: above.remark, end: issuer.NotAfter}
	if !above.end.IsZero() && above.end.Before(p.end) {
		p.end = above.end
	}
	return p
}

// compare is positive if p is better: its dates are valid, it misses nothing, it reaches
// clients that do not have the root yet, it lasts longer. Of two alike any will do, but
// always the same.
func (p path) compare(other path) int {
	yes := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	better := cmp.Or(
		yes(p.valid)-yes(other.valid),
		yes(p.remark == "")-yes(other.remark == ""),
		yes(len(p.sent) > 0)-yes(len(other.sent) > 0),
		p.end.Compare(other.end),
	)
	if better != 0 {
		return better
	}
	return slices.CompareFunc(p.sent, other.sent, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
}

// sameAuthority reports whether two certificates are of one authority, whoever signed them.
func sameAuthority(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}
