package reading

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/certs"
)

const (
	// maxAuthorities bounds the authorities under one name, and maxSignatures what it costs to
	// find out whose the lists are.
	maxAuthorities, maxSignatures = 50, 500
)

// AuthorityText is what one entry of a store has.
type AuthorityText struct {
	Source, Name string
	// Certificates are the authorities, and Revoked their lists; nil if the store has none.
	Certificates, Revoked []byte
}

// ServedAuthority is the authority that is served for one entry of a store. What can not be used in
// the store never replaces what can: the last good authorities and lists stay, each for itself. A
// list never makes room for an older one, nor for none: somebody who was locked out would be
// let in. The zero value has none.
type ServedAuthority struct {
	source, name string
	// seen are the hashes of the texts that the rest is about.
	seen, seenLists [sha256.Size]byte
	listed          bool // the text has lists, good or not

	authorities []*x509.Certificate
	invalid     error
	// offered are the lists of the newest text, and invalidLists why it cannot be used.
	offered      []*certs.RevocationList
	invalidLists error
	// served are the lists in use, one for each authority that has one.
	served []authorityList

	notes   []string
	next    time.Time
	current *certs.Authority
}

// authorityList is a list, and the authority that made it.
type authorityList struct {
	authority *x509.Certificate
	list      *certs.RevocationList
}

// Update takes what the store has now.
func (s *ServedAuthority) Update(text AuthorityText, now time.Time) {
	s.source, s.name = text.Source, text.Name
	changed := false
	if hash := sha256.Sum256(text.Certificates); hash != s.seen {
		s.seen, changed = hash, true
		authorities, err := parseAuthorities(text.Certificates)
		if s.invalid = err; err == nil {
			s.authorities = authorities
		}
	}
	if hash := sha256.Sum256(text.Revoked); hash != s.seenLists || s.listed != (text.Revoked != nil) {
		s.seenLists, s.listed, changed = hash, text.Revoked != nil, true
		s.offered, s.invalidLists = nil, nil
		if s.listed {
			s.offered, s.invalidLists = certs.ParseRevocations(text.Revoked)
		}
	}
	if changed {
		s.choose(now)
	}
	s.Advance(now)
}

func parseAuthorities(text []byte) ([]*x509.Certificate, error) {
	authorities, err := certs.ParseAuthorities(text)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, c := range authorities {
		if c.BasicConstraintsValid && !c.IsCA {
			return nil, fmt.Errorf("the certificate of %.200q is of no authority", c.Subject)
		}
		if !slices.ContainsFunc(all, c.Equal) {
			all = append(all, c)
		}
	}
	if len(all) > maxAuthorities {
		return nil, fmt.Errorf("more than %d authorities", maxAuthorities)
	}
	return all, nil
}

// Advance serves a list whose time has come. It is called at every read, and at NextChange.
func (s *ServedAuthority) Advance(now time.Time) {
	if !s.next.IsZero() && !s.next.After(now) {
		s.choose(now)
	}
}

// choose decides which lists count.
func (s *ServedAuthority) choose(now time.Time) {
	s.notes, s.next = nil, time.Time{}
	signed, strangers := s.sort()
	var served []authorityList
	for _, authority := range s.authorities {
		if list := s.listOf(authority, signed[authority], now); list != nil {
			served = append(served, authorityList{authority, list})
		}
	}
	s.served = served
	if strangers > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d of %d revocation lists are left out: none of the authorities here made them, or may", strangers, len(s.offered)))
	}
	s.build()
}

// sort finds out which authority made which list.
func (s *ServedAuthority) sort() (signed map[*x509.Certificate][]*certs.RevocationList, strangers int) {
	signed = make(map[*x509.Certificate][]*certs.RevocationList)
	left := maxSignatures
	for _, list := range s.offered {
		known := false
		for _, authority := range s.authorities {
			if left--; left >= 0 && list.SignedBy(authority) {
				signed[authority] = append(signed[authority], list)
				known = true
			}
		}
		if !known {
			strangers++
		}
	}
	return signed, strangers
}

// listOf returns the list of an authority to go by.
func (s *ServedAuthority) listOf(authority *x509.Certificate, offered []*certs.RevocationList, now time.Time) *certs.RevocationList {
	var current *certs.RevocationList
	for _, before := range s.served {
		if sameKey(before.authority, authority) {
			current = before.list
		}
	}
	if current == nil {
		return s.firstList(offered, now)
	}
	best, there := current, false
	for _, list := range offered {
		switch {
		case list.Equal(current):
			there = true
		case current.ValidAt(now) == certs.NotYetValid && list.ValidAt(now) != certs.NotYetValid:
			best, there = list, true
		case list.Newer(current) < 0:
			s.notes = append(s.notes, fmt.Sprintf("a revocation list of %.200q is from %s and older than the one in use, of %s: it is left out", list.Issuer, stamp(list.ThisUpdate), stamp(current.ThisUpdate)))
			there = true
		case list.ValidAt(now) == certs.NotYetValid:
			s.waitFor(list)
			there = true
		case list.ValidAt(now) == certs.Expired && current.ValidAt(now) == certs.Valid:
			s.notes = append(s.notes, fmt.Sprintf("the new revocation list of %.200q is out of date since %s: the one before stays in use", list.Issuer, stamp(list.NextUpdate)))
			s.lookAgain(current.NextUpdate)
			there = true
		case list.Newer(best) >= 0:
			best, there = list, true
		}
	}
	if !there && s.invalidLists == nil {
		s.notes = append(s.notes, fmt.Sprintf("the revocation list of %.200q is gone: the last one, of %s, stays in use", current.Issuer, stamp(current.ThisUpdate)))
	}
	return best
}

// firstList returns the list of an authority that had none. One that is out of date, or not valid
// yet, is better than none: with it, nobody is let in.
func (s *ServedAuthority) firstList(offered []*certs.RevocationList, now time.Time) *certs.RevocationList {
	var best, early *certs.RevocationList
	for _, list := range offered {
		switch {
		case list.ValidAt(now) == certs.NotYetValid:
			if early == nil || list.ThisUpdate.Before(early.ThisUpdate) {
				early = list
			}
		case best == nil || list.Newer(best) > 0:
			best = list
		}
	}
	if early != nil && best != nil {
		s.waitFor(early)
	}
	if best == nil {
		return early
	}
	return best
}

func (s *ServedAuthority) waitFor(list *certs.RevocationList) {
	s.notes = append(s.notes, fmt.Sprintf("the new revocation list of %.200q is not valid before %s: the one before stays in use until then", list.Issuer, stamp(list.ThisUpdate)))
	s.lookAgain(list.ThisUpdate)
}

func (s *ServedAuthority) lookAgain(at time.Time) {
	if !at.IsZero() && (s.next.IsZero() || at.Before(s.next)) {
		s.next = at
	}
}

// sameKey reports whether two certificates are of one authority, whoever signed them.
func sameKey(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// build makes the authority that is served. Without a list that can be used where there is to be
// one, none is: revoked clients would be let in.
func (s *ServedAuthority) build() {
	s.current = nil
	authorities := slices.Clone(s.authorities)
	for _, l := range s.served {
		for _, revoked := range l.list.Revoked(l.authority, s.authorities) {
			authorities = slices.DeleteFunc(authorities, revoked.Equal)
			s.notes = append(s.notes, fmt.Sprintf("the authority %.200q is revoked by %.200q: it is left out", revoked.Subject, l.list.Issuer))
		}
	}
	var lists []*certs.RevocationList
	for _, l := range s.served {
		if slices.ContainsFunc(authorities, l.authority.Equal) && !slices.ContainsFunc(lists, l.list.Equal) {
			lists = append(lists, l.list)
		}
	}
	if len(authorities) == 0 || (s.listed || len(s.served) > 0) && len(lists) == 0 {
		return
	}
	s.current = certs.NewAuthority(s.source, s.name, authorities, lists)
}

// NextChange returns when Advance will serve a list that is not valid yet; zero if none waits.
func (s *ServedAuthority) NextChange() time.Time { return s.next }

// Current returns the authority to serve; nil if there is none.
func (s *ServedAuthority) Current() *certs.Authority { return s.current }

// listsOf begins what is wrong with the lists: in a directory they are in another file than the authority.
const listsOf = "its revocation lists (.crl.pem, or the field crl in Vault): "

// Reasons say what is wrong with the entry, and what is served.
func (s *ServedAuthority) Reasons() (reasons []string) {
	stays := "; nobody is let in by it"
	if s.current != nil {
		stays = "; the last good authorities stay in use"
	}
	if s.invalid != nil {
		reasons = append(reasons, s.invalid.Error()+stays)
	}
	switch {
	case s.invalidLists != nil && s.current != nil:
		reasons = append(reasons, listsOf+s.invalidLists.Error()+"; the last good revocation lists stay in use")
	case s.invalidLists != nil:
		reasons = append(reasons, listsOf+s.invalidLists.Error()+"; nobody is let in by it")
	case s.listed && len(s.served) == 0 && len(s.authorities) > 0:
		reasons = append(reasons, "none of the revocation lists is of these authorities; nobody is let in by it")
	}
	reasons = append(reasons, s.notes...)
	if s.current != nil && s.current.Remark != "" {
		reasons = append(reasons, s.current.Remark)
	}
	return reasons
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Saved makes an authority of what was saved of one that was served.
func Saved(source, name, certificates, revoked string) (*certs.Authority, error) {
	text := AuthorityText{Source: source, Name: name, Certificates: []byte(certificates)}
	if revoked != "" {
		text.Revoked = []byte(revoked)
	}
	var s ServedAuthority
	s.Update(text, time.Now())
	if s.current == nil {
		return nil, errors.New(strings.Join(s.Reasons(), "; "))
	}
	return s.current, nil
}
