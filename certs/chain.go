package certs

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Chain is what is sent with a leaf from one moment on, and when clients accept the dates
// of it.
type Chain struct {
	// From is the moment; zero for the first chain of a certificate.
	From time.Time
	// PEM is the leaf, then its issuers in order, without the root.
	PEM []byte
	// NotBefore and NotAfter are the dates of the leaf and of its issuer together: of the
	// issuers that are sent one after the other, if there are several.
	NotBefore, NotAfter time.Time
	// BeginsWith and EndsWith are the issuer whose dates NotBefore and NotAfter are, as
	// its subject is written; empty if they are those of the leaf.
	BeginsWith, EndsWith string
	// Remark says that an authority above the issuer is not sent for its dates, and which
	// clients miss it; empty if none is missed.
	Remark string
}

// At returns the certificate with the chain that is sent at a moment: c itself, if time
// does not change its chain.
func (c *Certificate) At(now time.Time) *Certificate {
	if len(c.Chains) == 0 {
		return c
	}
	at := *c
	at.setChain(c.chainAt(now))
	return &at
}

func (c *Certificate) chainAt(now time.Time) Chain {
	i, _ := slices.BinarySearchFunc(c.Chains, now, func(chain Chain, now time.Time) int {
		return cmp.Or(chain.From.Compare(now), -1) // the one that begins now counts
	})
	return c.Chains[max(i-1, 0)]
}

func (c *Certificate) setChain(chain Chain) {
	c.Chain, c.NotBefore, c.NotAfter = chain.PEM, chain.NotBefore, chain.NotAfter
	c.BeginsWith, c.EndsWith, c.Remark = chain.BeginsWith, chain.EndsWith, chain.Remark
}

// setChains gives a new certificate its chains. Until somebody asks for those of a moment
// it has the last one.
func (c *Certificate) setChains(chains []Chain) {
	c.setChain(chains[len(chains)-1])
	if len(chains) > 1 {
		c.Chains = chains
	}
}

// nextChain is when another chain is sent after now, or zero.
func (c *Certificate) nextChain(now time.Time) time.Time {
	for _, chain := range c.Chains {
		if chain.From.After(now) {
			return chain.From
		}
	}
	return time.Time{}
}

// chainsOf returns the chains of a leaf that can be made of a bundle, in the order of time;
// there is at least one. The notes say which certificates of the bundle are in none.
func chainsOf(leaf *x509.Certificate, bundle []*x509.Certificate) ([]Chain, []string) {
	issuers := newIssuers(leaf, bundle)
	paths := issuers.paths()
	chains := make([]Chain, 0, 1)
	for i, p := range paths {
		chain := Chain{PEM: EncodePEM(append([]*x509.Certificate{leaf}, p.sent...)), Remark: p.remark}
		if i > 0 {
			chain.From = p.from
		}
		chain.setDates(leaf, paths, i)
		last := len(chains) - 1
		if last < 0 || !chain.sameFrom(chains[last]) {
			chains = append(chains, chain)
		}
	}
	return chains, issuers.notes(paths)
}

// setDates gives the chain of a path the dates of its leaf and of its issuer. Where issuers
// follow one another in time, the dates are those of all of them. A chain whose issuer has
// ended has the dates that came before.
func (chain *Chain) setDates(leaf *x509.Certificate, paths []path, i int) {
	first := i
	for first > 0 && !paths[first].valid {
		first--
	}
	for first < len(paths)-1 && !paths[first].valid {
		first++
	}
	last := first
	for first > 0 && paths[first-1].valid {
		first--
	}
	for last < len(paths)-1 && paths[last+1].valid {
		last++
	}
	chain.NotBefore, chain.NotAfter = leaf.NotBefore, leaf.NotAfter
	if issuer := paths[first].issuer(); issuer != nil && issuer.NotBefore.After(leaf.NotBefore) {
		chain.NotBefore, chain.BeginsWith = issuer.NotBefore, issuer.Subject.String()
	}
	if issuer := paths[last].issuer(); issuer != nil && issuer.NotAfter.Before(leaf.NotAfter) {
		chain.NotAfter, chain.EndsWith = issuer.NotAfter, issuer.Subject.String()
	}
}

// sameFrom reports whether a chain goes on as it was.
func (chain *Chain) sameFrom(before Chain) bool {
	return bytes.Equal(chain.PEM, before.PEM) && chain.NotBefore.Equal(before.NotBefore) && chain.NotAfter.Equal(before.NotAfter) &&
		chain.BeginsWith == before.BeginsWith && chain.EndsWith == before.EndsWith && chain.Remark == before.Remark
}

// notes says which certificates of the bundle are never sent, and what is missing.
func (is *issuers) notes(paths []path) (notes []string) {
	sent := make(map[*x509.Certificate]bool)
	for _, p := range paths {
		for _, c := range p.sent {
			sent[c] = true
		}
	}
	if len(is.reachable) == 0 && !selfSigned(is.leaf) {
		notes = append(notes, fmt.Sprintf("the issuer %.200q is missing: most clients will not trust the certificate, add it to the bundle", is.leaf.Issuer))
	}
	for _, c := range is.bundle {
		switch {
		case sent[c]:
		case !slices.Contains(is.reachable, c):
			notes = append(notes, fmt.Sprintf("the certificate %.200q is not sent: it is not in the chain of this leaf", c.Subject))
		case is.isRoot(c):
			// Clients have it, or do not trust it. So nothing is wrong.
		default:
			notes = append(notes, fmt.Sprintf("the certificate %.200q, valid until %s, is not sent: another one in its place is better", c.Subject, day(c.NotAfter)))
		}
	}
	return notes
}

func selfSigned(c *x509.Certificate) bool { return signed(c, c) }

// signed does not ask whether the issuer may be a CA: that is the client's
// decision, and private CAs often lack the extension that says so.
func signed(issuer, c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, issuer.RawSubject) && rsaBits(issuer) <= maxIssuerBits &&
		issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
