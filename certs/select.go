package certs

import (
	"cmp"
	"time"

	"relay/internal/hostname"
)

// Selection says which certificate answers which server name.
type Selection struct {
	// Winners has exactly one certificate per server name, since Envoy rejects
	// a listener with two filter chains for one name.
	Winners map[string]*Certificate
	// Seconds has, for some names of Winners, a valid certificate whose key is of another
	// kind, for clients that do not take the winner's. The winner is valid then, too.
	Seconds map[string]*Certificate
	// LeftToWildcard has exact names, each with its certificate, which clients would
	// refuse for its dates, while that of the wildcard over the name is valid. These
	// names have no winner of their own: the wildcard answers for them. The certificate
	// here is served only where that of the wildcard cannot be.
	LeftToWildcard map[string]*Certificate
	// Default answers clients without a known server name; it may be nil.
	Default *Certificate
	// DefaultSecond is to Default what Seconds are to Winners.
	DefaultSecond *Certificate
	// Problems lists the certificates that clients do not accept now, and what
	// becomes of their names.
	Problems []DateProblem
	// Next is the moment at which to select again, because a certificate
	// becomes valid or expires, or one of its issuers does; zero when time alone
	// changes nothing.
	Next time.Time
}

// Select chooses one certificate per server name: one that is valid now, then
// one whose chain misses nothing, then the one that stays valid longest, then
// Vault's before a directory's, then the one with the lowest fingerprint. Of the
// valid ones with another kind of key it chooses a second one by the same rules.
// An exact name without a valid one is left to a valid wildcard. Without that an
// expired one is served, and only then one that is not valid yet: the client's clear
// error is better than another site's certificate.
//
// The certificates are as they are now: see Certificate.At.
func Select(certificates []*Certificate, now time.Time) Selection {
	s := Selection{Winners: make(map[string]*Certificate), Seconds: make(map[string]*Certificate), LeftToWildcard: make(map[string]*Certificate)}
	for _, c := range certificates {
		for _, name := range c.ServerNames {
			if isBetter(c, s.Winners[name], now) {
				s.Winners[name] = c
			}
		}
		if c.Default && isBetter(c, s.Default, now) {
			s.Default = c
		}
		s.Next = earlier(earlier(s.Next, nextChange(c, now)), c.nextChain(now))
	}
	s.chooseSeconds(certificates, now)
	for name, c := range s.Winners {
		if c.ValidAt(now) == Valid {
			continue
		}
		if w := s.Winners[hostname.WildcardOver(name)]; w != nil && w.ValidAt(now) == Valid {
			s.LeftToWildcard[name] = c
			delete(s.Winners, name)
		}
	}
	s.Problems = dateProblems(s, now)
	return s
}

// Validity is where a moment lies relative to a certificate's dates. The order
// of the values is the order of preference.
type Validity uint8

const (
	// NotYetValid certificates wait for their NotBefore.
	NotYetValid Validity = iota
	// Expired certificates are past their NotAfter.
	Expired
	// Valid certificates are accepted by clients.
	Valid
)

// ValidAt says whether clients accept the dates of c at now. Both ends belong
// to the validity period (RFC 5280, section 4.1.2.5).
func (c *Certificate) ValidAt(now time.Time) Validity {
	if len(c.Chains) > 0 {
		chain := c.chainAt(now)
		c = &Certificate{NotBefore: chain.NotBefore, NotAfter: chain.NotAfter}
	}
	switch {
	case now.Before(c.NotBefore):
		return NotYetValid
	case now.After(c.NotAfter):
		return Expired
	}
	return Valid
}

func isBetter(a, b *Certificate, now time.Time) bool {
	if b == nil {
		return true
	}
	return cmp.Or(
		cmp.Compare(a.ValidAt(now), b.ValidAt(now)),
		compareBool(a.Remark == "", b.Remark == ""),
		a.NotAfter.Compare(b.NotAfter),
		-cmp.Compare(sourceRank(a), sourceRank(b)),
		-cmp.Compare(a.Fingerprint, b.Fingerprint),
		// Two copies of one certificate: any, but always the same.
		-cmp.Compare(a.Name, b.Name),
	) > 0
}

// compareBool has true after false.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func sourceRank(c *Certificate) int {
	if c.Source == "vault" {
		return 0
	}
	return 1
}

// nextChange is when the validity of c changes after now, or zero.
func nextChange(c *Certificate, now time.Time) time.Time {
	switch c.ValidAt(now) {
	case NotYetValid:
		return c.NotBefore
	case Valid:
		return c.NotAfter.Add(time.Nanosecond)
	}
	return time.Time{}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
