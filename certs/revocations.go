package certs

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	// MaxRevocationText bounds the text of an authority's lists, in PEM or DER. Each Envoy is sent
	// all of it, for each service that uses the authority, and goes through it at each handshake.
	MaxRevocationText = 4 << 20
	// maxLists bounds the lists of one text.
	maxLists = 100

	revocationBlock = "X509 CRL"
)

// RevocationList says which certificates of an authority are revoked (CRL, RFC 5280 section 5). It
// is not modified.
type RevocationList struct {
	// ThisUpdate is when it was made. NextUpdate is when it is out of date; zero if never.
	ThisUpdate, NextUpdate time.Time
	// Issuer is the name of the authority that made it.
	Issuer string
	// Count is how many certificates it names.
	Count int
	// Remark says for which certificates alone it is; empty if for all of the authority.
	Remark string
	// number orders the lists of an authority that were made at the same time; it may be nil.
	number *big.Int
	parsed *x509.RevocationList
}

// ParseRevocations returns the lists in a text: one or more, in PEM or DER. Other blocks of PEM
// are left out. An error says why the text, as a whole, is unusable: a list that is left out
// would let revoked certificates in.
func ParseRevocations(text []byte) ([]*RevocationList, error) {
	if len(text) > MaxRevocationText {
		return nil, fmt.Errorf("the revocation lists have %d bytes: at most %d are read", len(text), MaxRevocationText)
	}
	if len(text) > 0 && text[0] == 0x30 {
		return parseListsDER(text)
	}
	text = bytes.ReplaceAll(text, byteOrderMark, nil)
	begun := bytes.Count(text, begin)
	var lists []*RevocationList
	for n := 1; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		begun--
		text = rest
		if block.Type != revocationBlock {
			continue
		}
		list, err := parseList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is no revocation list that can be used: %w", n, err)
		}
		if lists = append(lists, list); len(lists) > maxLists {
			return nil, fmt.Errorf("more than %d revocation lists", maxLists)
		}
	}
	switch {
	case begun > 0:
		return nil, errors.New("a PEM block of the revocation lists is broken, or the text ends in the middle of it")
	case len(lists) == 0:
		return nil, errors.New("no revocation list in it, in PEM or DER")
	}
	return lists, nil
}

func parseListsDER(text []byte) (lists []*RevocationList, err error) {
	// Some tools end the file with a line break.
	for text = bytes.TrimRight(text, "\r\n"); len(text) > 0; {
		var one asn1.RawValue
		rest, err := asn1.Unmarshal(text, &one)
		if err != nil {
			return nil, errors.New("a revocation list in DER is cut short or broken")
		}
		list, err := parseList(one.FullBytes)
		if err != nil {
			return nil, fmt.Errorf("list %d, in DER, cannot be used: %w", len(lists)+1, err)
		}
		if lists = append(lists, list); len(lists) > maxLists {
			return nil, fmt.Errorf("more than %d revocation lists", maxLists)
		}
		text = rest
	}
	return lists, nil
}

// parseList reads a list. An error says why it, or Envoy, cannot; or why Envoy would refuse all
// certificates for it.
func parseList(der []byte) (*RevocationList, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		if firstVersion(der) {
			return nil, errors.New("it is of version 1: have it made as version 2 (with openssl: set crlnumber in the configuration)")
		}
		return nil, err
	}
	if err := checkListForm(parsed); err != nil {
		return nil, err
	}
	remark, err := checkListScope(parsed)
	if err != nil {
		return nil, err
	}
	if end := parsed.NextUpdate; !end.IsZero() && end.Before(parsed.ThisUpdate) {
		return nil, errors.New("it ends before it begins")
	}
	list := &RevocationList{
		ThisUpdate: parsed.ThisUpdate, NextUpdate: parsed.NextUpdate, Issuer: parsed.Issuer.String(),
		Count: len(parsed.RevokedCertificateEntries), Remark: remark, number: parsed.Number, parsed: parsed,
	}
	// A hundred thousand entries need many times the memory of their DER, and nobody looks at them.
	parsed.RevokedCertificateEntries = nil
	//lint:ignore SA1019 the parser fills it too
	parsed.RevokedCertificates = nil
	return list, nil
}

// firstVersion reports whether the content begins with no version, as in version 1.
func firstVersion(der []byte) bool {
	parts, err := split(der, 3)
	if err != nil {
		return false
	}
	var tbs, first asn1.RawValue
	if _, err := asn1.Unmarshal(parts[0].FullBytes, &tbs); err != nil {
		return false
	}
	_, err = asn1.Unmarshal(tbs.Bytes, &first)
	return err == nil && first.Tag == asn1.TagSequence
}

// SignedBy reports whether an authority made the list.
func (l *RevocationList) SignedBy(authority *x509.Certificate) bool {
	return l.sameIssuer(authority) && l.parsed.CheckSignatureFrom(authority) == nil
}

// Revoked returns those of the certificates that the list names, if the authority that made it
// issued them.
func (l *RevocationList) Revoked(authority *x509.Certificate, certificates []*x509.Certificate) (revoked []*x509.Certificate) {
	var issued []*x509.Certificate
	for _, c := range certificates {
		if signed(authority, c) {
			issued = append(issued, c)
		}
	}
	if len(issued) == 0 {
		return nil
	}
	// It was read before: this is only for what is not kept of it.
	all, err := x509.ParseRevocationList(l.parsed.Raw)
	if err != nil {
		return issued
	}
	for _, entry := range all.RevokedCertificateEntries {
		for _, c := range issued {
			if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
				revoked = append(revoked, c)
			}
		}
	}
	return revoked
}

// sameIssuer compares the names as BoringSSL does: not by the kinds of their strings.
func (l *RevocationList) sameIssuer(authority *x509.Certificate) bool {
	return bytes.Equal(l.parsed.RawIssuer, authority.RawSubject) || l.Issuer == authority.Subject.String()
}

// Newer compares when two lists were made: it is positive if l was made later.
func (l *RevocationList) Newer(other *RevocationList) int {
	if by := l.ThisUpdate.Compare(other.ThisUpdate); by != 0 || l.number == nil || other.number == nil {
		return by
	}
	return l.number.Cmp(other.number)
}

// Equal reports whether both are the same list.
func (l *RevocationList) Equal(other *RevocationList) bool {
	return l == other || l != nil && other != nil && bytes.Equal(l.parsed.Raw, other.parsed.Raw)
}

// ValidAt says whether Envoy goes by the list at a moment. If it does not, it takes no certificate
// of the authority.
func (l *RevocationList) ValidAt(now time.Time) Validity {
	switch {
	case now.Before(l.ThisUpdate):
		return NotYetValid
	case !l.NextUpdate.IsZero() && !now.Before(l.NextUpdate):
		return Expired
	}
	return Valid
}

// encodeLists returns lists in PEM.
func encodeLists(lists []*RevocationList) []byte {
	var out bytes.Buffer
	for _, l := range lists {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: revocationBlock, Bytes: l.parsed.Raw}))
	}
	return out.Bytes()
}

// inOrder compares lists for a fixed order.
func (l *RevocationList) inOrder(other *RevocationList) int {
	return cmp.Or(cmp.Compare(l.Issuer, other.Issuer), bytes.Compare(l.parsed.Raw, other.parsed.Raw))
}
