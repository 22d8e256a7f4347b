package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/internal/problem"
)

// Authority is one or more authorities that sign the certificates of clients, under one name. It is
// never modified once handed to a sink.
type Authority struct {
	// Source is "vault" or "dir".
	Source string
	// Name is what apps call it.
	Name string
	// Certificates are theirs, in PEM, and nothing else.
	Certificates []byte
	// Revoked are their lists of revoked certificates (CRL), in PEM; nil if there is none.
	Revoked []byte
	// RevokedAt is when the newest of these lists was made, and RevokedUntil when the first of them is
	// out of date. From then on Envoy takes no certificate of that authority. Both are zero
	// if there is no list, and RevokedUntil if none has an end.
	RevokedAt, RevokedUntil time.Time
	// RevokedCount is how many certificates the lists name.
	RevokedCount int
	// Unlisted are the authorities without a list where others have one: Envoy takes none of the
	// certificates that they signed, if it goes by lists.
	Unlisted []string `json:",omitempty"`
	// WholeChain is set if there is a list of the issuer of each authority: then Envoy can look for all
	// certificates of a chain in lists, and else for those of clients alone. Authorities that
	// are revoked themselves are left out before.
	WholeChain bool `json:",omitempty"`
	// Subjects are the names of the authorities, as their certificates have them.
	Subjects []string
	// NotBefore is when the last of the authorities became valid, and NotAfter when the first of
	// them expires.
	NotBefore, NotAfter time.Time
	// Remark says what is missing; empty if nothing.
	Remark string
	// warn is when the lists are near their end.
	warn time.Time
}

// AuthoritySink takes the authorities of clients, as Sink takes certificates: after each complete,
// successful read, all of that source. A problem with the severity problem.Advice matters only to
// services of which the authority is nowhere.
type AuthoritySink interface {
	SyncAuthorities(source string, authorities []*Authority, problems []problem.Problem)
}

// StoreSink takes all that a certificate store has.
type StoreSink interface {
	Sink
	AuthoritySink
}

// Equal reports whether both have the same content.
func (a *Authority) Equal(other *Authority) bool {
	return a == other || a != nil && other != nil && a.Source == other.Source && a.Name == other.Name && a.Remark == other.Remark &&
		bytes.Equal(a.Certificates, other.Certificates) && bytes.Equal(a.Revoked, other.Revoked)
}

// NewAuthority puts authorities and their lists together. There is at least one authority, and each
// list is of one of them.
func NewAuthority(source, name string, authorities []*x509.Certificate, lists []*RevocationList) *Authority {
	lists = slices.Clone(lists)
	slices.SortFunc(lists, (*RevocationList).inOrder)
	a := &Authority{
		Source: source, Name: name, Certificates: EncodePEM(authorities), Revoked: encodeLists(lists),
		NotBefore: authorities[0].NotBefore, NotAfter: authorities[0].NotAfter,
	}
	for _, c := range authorities {
		a.NotBefore, a.NotAfter = latest(a.NotBefore, c.NotBefore), earliest(a.NotAfter, c.NotAfter)
		a.Subjects = append(a.Subjects, c.Subject.String())
		if len(lists) > 0 && !slices.ContainsFunc(lists, func(l *RevocationList) bool { return l.SignedBy(c) }) {
			a.Unlisted = append(a.Unlisted, c.Subject.String())
		}
	}
	a.WholeChain = len(lists) > 0 && !slices.ContainsFunc(authorities, func(c *x509.Certificate) bool { return !issuerListed(c, authorities, lists) })
	var remarks []string
	for _, l := range lists {
		a.RevokedAt = latest(a.RevokedAt, l.ThisUpdate)
		a.RevokedCount += l.Count
		if !l.NextUpdate.IsZero() {
			a.RevokedUntil = earliest(a.RevokedUntil, l.NextUpdate)
			a.warn = earliest(a.warn, l.NextUpdate.Add(-warningBefore(l)))
		}
		if l.Remark != "" && !slices.Contains(remarks, l.Remark) {
			remarks = append(remarks, l.Remark)
		}
	}
	if len(a.Unlisted) > 0 {
		remarks = append(remarks, fmt.Sprintf("no certificate of %s is taken: there is a revocation list, and none of that authority", shortList(a.Unlisted)))
	}
	a.Remark = strings.Join(remarks, "; ")
	return a
}

// issuerListed reports whether one of the lists is of an authority that issued c.
func issuerListed(c *x509.Certificate, authorities []*x509.Certificate, lists []*RevocationList) bool {
	for _, issuer := range authorities {
		if signed(issuer, c) && slices.ContainsFunc(lists, func(l *RevocationList) bool { return l.SignedBy(issuer) }) {
			return true
		}
	}
	return false
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// earliest leaves out a zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

const (
	// listShare is the last part of a list's time in which people are told that no newer one has
	// come. Authorities that make a list each day for a week have made six others by then.
	listShare = 10
	// maxListWarning bounds it, for lists of years.
	maxListWarning = 30 * 24 * time.Hour
)

// warningBefore is how long before its end people are told of a list.
func warningBefore(l *RevocationList) time.Duration {
	return min(l.NextUpdate.Sub(l.ThisUpdate)/listShare, maxListWarning)
}
