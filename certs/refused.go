package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

const (
	// minRSABits is the shortest RSA key that Envoy takes; a shorter one makes
	// it reject the whole secret or listener.
	minRSABits = 2048
	// maxRSABits is the longest RSA key that most clients take. Envoy takes longer ones.
	maxRSABits = 8192
)

var (
	keyUsage   = asn1.ObjectIdentifier{2, 5, 29, 15}
	commonName = asn1.ObjectIdentifier{2, 5, 4, 3}
	tlsFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

	// mustStaple is the only value of a TLS feature that Envoy looks for.
	mustStaple = []byte{0x30, 3, 2, 1, statusRequest}
)

// statusRequest is the TLS feature of OCSP stapling (RFC 7633).
const statusRequest = 5

// checkKey refuses keys that make Envoy reject the secret that holds them, or
// that no client can use. Envoy 1.40 was seen to take all three curves.
func checkKey(key crypto.Signer) error {
	if private, ok := key.(*rsa.PrivateKey); ok && len(private.Primes) != 2 {
		return fmt.Errorf("the RSA key has %d primes: Envoy takes keys of two", len(private.Primes))
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("the RSA key has %d bits: Envoy needs at least %d", bits, minRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("the ECDSA key is on curve %s: use P-256", public.Curve.Params().Name)
	case ed25519.PublicKey:
		return errors.New("the key is an Ed25519 key, which browsers do not take: use RSA or ECDSA P-256")
	}
	return errors.New("the key is neither RSA nor ECDSA")
}

// checkLeaf returns why Envoy refuses a certificate as the leaf of a secret; and what
// clients may refuse in it, which Envoy serves.
func checkLeaf(c *x509.Certificate) (notes []string, err error) {
	if feature := extension(c, tlsFeature); feature != nil {
		switch {
		case bytes.Equal(feature, mustStaple):
			return nil, errors.New("the certificate must be served with an OCSP response (must-staple: TLS feature status_request), which Relay does not get for Envoy: have it issued without")
		case hasFeature(feature, statusRequest):
			notes = append(notes, "the certificate asks for an OCSP response beside it (must-staple), and Envoy has none: clients that heed this refuse it")
		}
	}
	if public, ok := c.PublicKey.(*rsa.PublicKey); ok && public.N.BitLen() > maxRSABits {
		notes = append(notes, fmt.Sprintf("the RSA key has %d bits: many clients refuse more than %d", public.N.BitLen(), maxRSABits))
	}
	usage, err := checkKeyUsage(c)
	if err != nil {
		return nil, err
	}
	return append(notes, usage...), checkNames(c)
}

func hasFeature(der []byte, feature int) bool {
	var features []int
	_, err := asn1.Unmarshal(der, &features)
	return err == nil && slices.Contains(features, feature)
}

// checkKeyUsage asks for what all cipher suites of Envoy need. Envoy does so for
// ECDSA only, browsers do for RSA too.
func checkKeyUsage(c *x509.Certificate) (notes []string, err error) {
	usage := extension(c, keyUsage)
	if usage == nil {
		return nil, nil
	}
	_, isRSA := c.PublicKey.(*rsa.PublicKey)
	var bits asn1.BitString
	rest, err := asn1.Unmarshal(usage, &bits)
	switch {
	case isRSA && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return []string{"the key usage of the certificate lacks digitalSignature: browsers refuse it"}, nil
	case isRSA:
		return nil, nil
	case err != nil || len(rest) > 0:
		return nil, errors.New("the key usage of the certificate is malformed")
	case c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return nil, errors.New("the key usage of the certificate lacks digitalSignature, which Envoy asks of every ECDSA certificate: have it issued with it")
	}
	return nil, nil
}

// checkNames refuses certificates of which Envoy cannot say what they are for.
func checkNames(c *x509.Certificate) error {
	for _, name := range c.Subject.Names {
		if name.Type.Equal(commonName) {
			if name.Value == "" {
				return errors.New("the common name of the certificate is empty: have it issued with one, or without the field")
			}
			return nil
		}
	}
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.URIs) == 0 {
		return errors.New("the certificate has neither a common name nor a domain, IP address or URI as subject alternative name")
	}
	return nil
}

func extension(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			if e.Value == nil {
				return []byte{}
			}
			return e.Value
		}
	}
	return nil
}
