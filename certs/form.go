package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// maxValues bounds what hostile input costs: no certificate has as many names or extensions.
const maxValues = 1000

var errTrailing = errors.New("it has more data than belongs there")

// checkForm returns why Envoy cannot read a certificate that crypto/x509 has read. That
// passes over some mistakes in the encoding for which BoringSSL, which Envoy uses, refuses
// the certificate, wherever in a chain or a list of authorities it is.
func checkForm(c *x509.Certificate) error {
	parts, err := split(c.Raw, 3)
	if err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	// Version, serial number, algorithm, issuer, dates, subject, public key; then what is optional.
	tbs, err := split(parts[0].FullBytes, -1)
	if err != nil {
		return fmt.Errorf("its content: %w", err)
	}
	if len(tbs) > 0 && tbs[0].Class == asn1.ClassContextSpecific && tbs[0].Tag == 0 {
		tbs = tbs[1:]
	}
	const required = 6
	if len(tbs) < required {
		return errors.New("a part of its content is missing")
	}
	for _, check := range []struct {
		what string
		err  error
	}{
		{"the issuer", checkName(tbs[2])},
		{"the dates", checkDates(tbs[3])},
		{"the subject", checkName(tbs[4])},
		{"the public key", exactly(tbs[5], 2)},
		{"the extensions", checkOptional(tbs[required:], c.Version)},
	} {
		if check.err != nil {
			return fmt.Errorf("%s: %w", check.what, check.err)
		}
	}
	return nil
}

// checkOptional checks what follows the public key: unique identifiers and extensions.
func checkOptional(rest []asn1.RawValue, version int) error {
	last := 0
	for _, part := range rest {
		if part.Class != asn1.ClassContextSpecific || part.Tag <= last || part.Tag > 3 {
			return errTrailing
		}
		last = part.Tag
		if part.Tag != 3 {
			if part.IsCompound || len(part.Bytes) == 0 || part.Bytes[0] > 7 {
				return errors.New("a unique identifier before them is malformed")
			}
			continue
		}
		if version != 3 {
			return fmt.Errorf("it says that it is of X.509 version %d, and only version 3 has extensions", version)
		}
		if err := checkExtensions(part.FullBytes); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name asn1.RawValue) error {
	sets, err := split(name.FullBytes, -1)
	if err != nil {
		return err
	}
	for _, set := range sets {
		attributes, err := split(set.FullBytes, -1)
		if err != nil {
			return err
		}
		if len(attributes) == 0 {
			return errors.New("a part of the name is empty")
		}
		for _, a := range attributes {
			if err := exactly(a, 2); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkDates(dates asn1.RawValue) error {
	both, err := split(dates.FullBytes, 2)
	if err != nil {
		return err
	}
	for _, d := range both {
		if err := checkDate(d); err != nil {
			return err
		}
	}
	return nil
}

func checkDate(d asn1.RawValue) error {
	digits := bytes.IndexFunc(d.Bytes, func(r rune) bool { return r < '0' || r > '9' })
	switch {
	case d.Tag == asn1.TagUTCTime && digits != len("060102150405"):
		return fmt.Errorf("%.20q has no seconds", d.Bytes)
	case d.Tag == asn1.TagGeneralizedTime && !bytes.HasSuffix(d.Bytes, []byte("Z")):
		return fmt.Errorf("%.20q is not in UTC", d.Bytes)
	}
	return nil
}

func exactly(v asn1.RawValue, n int) error {
	_, err := split(v.FullBytes, n)
	return err
}

// split returns the values within a value. There have to be n; any number if n is negative.
func split(der []byte, n int) (parts []asn1.RawValue, err error) {
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return nil, errTrailing
	}
	for rest := outer.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return nil, errTrailing
		}
		if parts = append(parts, part); len(parts) > maxValues {
			return nil, errTrailing
		}
	}
	switch {
	case n >= 0 && len(parts) > n:
		return nil, errTrailing
	case n >= 0 && len(parts) < n:
		return nil, errors.New("a part of it is missing")
	}
	return parts, nil
}
