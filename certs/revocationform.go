package certs

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

var (
	deltaIndicator    = asn1.ObjectIdentifier{2, 5, 29, 27}
	distributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	certificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
	authorityKeyID    = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// The parts of an issuing distribution point (RFC 5280 section 5.2.5).
const (
	pointName = iota
	pointOnlyUsers
	pointOnlyAuthorities
	pointSomeReasons
	pointIndirect
	pointAttributes
)

// checkListForm returns why Envoy cannot read a list that crypto/x509 has read, as checkForm does
// of certificates.
func checkListForm(l *x509.RevocationList) error {
	if _, err := split(l.Raw, 3); err != nil {
		return fmt.Errorf("the list: %w", err)
	}
	// Version, algorithm, issuer, dates, entries, extensions: the last three need not be there.
	tbs, err := split(l.RawTBSRevocationList, -1)
	if err != nil {
		return fmt.Errorf("its content: %w", err)
	}
	const required = 4
	if len(tbs) < required {
		return errors.New("a part of its content is missing")
	}
	if err := checkName(tbs[2]); err != nil {
		return fmt.Errorf("the issuer: %w", err)
	}
	rest := tbs[3:]
	for range 2 {
		if len(rest) == 0 || !isDate(rest[0]) {
			break
		}
		if err := checkDate(rest[0]); err != nil {
			return fmt.Errorf("the dates: %w", err)
		}
		rest = rest[1:]
	}
	if len(rest) > 0 && isSequence(rest[0]) {
		rest = rest[1:]
	}
	if len(rest) > 1 || len(rest) == 1 && (rest[0].Class != asn1.ClassContextSpecific || rest[0].Tag != 0 || !rest[0].IsCompound) {
		return errTrailing
	}
	if len(rest) == 1 {
		if err := checkExtensions(rest[0].FullBytes); err != nil {
			return fmt.Errorf("the extensions: %w", err)
		}
	}
	for i, entry := range l.RevokedCertificateEntries {
		if err := checkEntry(entry); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil
}

func isDate(v asn1.RawValue) bool {
	return v.Class == asn1.ClassUniversal && !v.IsCompound && (v.Tag == asn1.TagUTCTime || v.Tag == asn1.TagGeneralizedTime)
}

func isSequence(v asn1.RawValue) bool {
	return v.Class == asn1.ClassUniversal && v.IsCompound && v.Tag == asn1.TagSequence
}

// sequence returns the values within a sequence.
func sequence(der []byte) ([]asn1.RawValue, error) {
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 || !isSequence(outer) {
		return nil, errTrailing
	}
	return split(der, -1)
}

// checkExtensions checks the form of a list of extensions within its tag.
func checkExtensions(der []byte) error {
	list, err := split(der, 1)
	if err != nil {
		return err
	}
	extensions, err := split(list[0].FullBytes, -1)
	if err != nil {
		return err
	}
	for _, e := range extensions {
		if err := exactly(e, 2); err != nil && exactly(e, 3) != nil {
			return err
		}
	}
	return nil
}

// checkEntry checks a revoked certificate.
func checkEntry(entry x509.RevocationListEntry) error {
	parts, err := split(entry.Raw, -1)
	if err != nil {
		return err
	}
	if len(parts) < 2 || len(parts) > 3 {
		return errTrailing
	}
	if err := checkDate(parts[1]); err != nil {
		return err
	}
	if len(parts) == 3 && !isSequence(parts[2]) {
		return errTrailing
	}
	for _, e := range entry.Extensions {
		switch {
		case e.Id.Equal(certificateIssuer):
			return errors.New("it is of another issuer: indirect lists are not supported by Envoy")
		case e.Critical:
			return fmt.Errorf("it has the critical extension %s, for which Envoy refuses all certificates", e.Id)
		}
	}
	return nil
}

// checkListScope refuses lists that are only a part of what is revoked, and those for which Envoy
// refuses all certificates of the authority. A remark says for which certificates alone a list is.
func checkListScope(l *x509.RevocationList) (remark string, err error) {
	seen := make(map[string]bool)
	for _, e := range l.Extensions {
		id := e.Id.String()
		if seen[id] {
			return "", fmt.Errorf("it has the extension %s twice", id)
		}
		seen[id] = true
		switch {
		case e.Id.Equal(deltaIndicator):
			return "", errors.New("it is a delta of another list, which Envoy does not take: give complete lists")
		case e.Id.Equal(distributionPoint):
			if remark, err = checkPoint(e.Value); err != nil {
				return "", fmt.Errorf("its issuing distribution point: %w", err)
			}
		case e.Id.Equal(authorityKeyID):
			if err := checkKeyID(e.Value); err != nil {
				return "", fmt.Errorf("its authority key identifier: %w", err)
			}
		case e.Critical:
			return "", fmt.Errorf("it has the critical extension %s, for which Envoy refuses all certificates", e.Id)
		}
	}
	return remark, nil
}

// checkKeyID checks an authority key identifier: a key, the names of an issuer, a serial number.
func checkKeyID(der []byte) error {
	parts, err := sequence(der)
	if err != nil {
		return err
	}
	last := -1
	for _, p := range parts {
		const names = 1
		if p.Class != asn1.ClassContextSpecific || p.Tag <= last || p.Tag > 2 || p.IsCompound != (p.Tag == names) {
			return errTrailing
		}
		last = p.Tag
	}
	return nil
}

// checkPoint checks an issuing distribution point, which says what a list is about.
func checkPoint(der []byte) (remark string, err error) {
	parts, err := sequence(der)
	if err != nil {
		return "", err
	}
	last := -1
	for _, p := range parts {
		if p.Class != asn1.ClassContextSpecific || p.Tag <= last || p.IsCompound != (p.Tag == pointName) {
			return "", errTrailing
		}
		last = p.Tag
		switch p.Tag {
		case pointName:
			if err := checkPointName(p); err != nil {
				return "", err
			}
			remark = "the list is only for certificates that name its distribution point: Envoy refuses the others"
		case pointOnlyUsers:
			if len(p.Bytes) != 1 || p.Bytes[0] != 0xff {
				return "", errTrailing
			}
		case pointOnlyAuthorities, pointAttributes:
			return "", errors.New("the list is not for certificates of clients")
		case pointSomeReasons:
			return "", errors.New("the list is only for some reasons: Envoy refuses all certificates then")
		case pointIndirect:
			return "", errors.New("indirect lists are not supported by Envoy")
		default:
			return "", errTrailing
		}
	}
	return remark, nil
}

// checkPointName takes full names alone, of types that are text.
func checkPointName(point asn1.RawValue) error {
	inner, err := split(point.FullBytes, 1)
	if err != nil {
		return err
	}
	const fullName, email, uri = 0, 1, 6
	if inner[0].Class != asn1.ClassContextSpecific || inner[0].Tag != fullName || !inner[0].IsCompound {
		return errors.New("it names its point relative to the issuer")
	}
	names, err := split(inner[0].FullBytes, -1)
	if err != nil {
		return err
	}
	for _, n := range names {
		isText := n.Tag >= email && n.Tag <= uri && !n.IsCompound
		for _, b := range n.Bytes {
			isText = isText && b < 0x80
		}
		if n.Class != asn1.ClassContextSpecific || !isText {
			return errors.New("the name of its point is no text")
		}
	}
	return nil
}
