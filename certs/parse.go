package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// ParsePEM makes a Certificate of a PEM bundle: one private key (PKCS#8,
// PKCS#1 or SEC 1), its leaf certificate and any issuers, in any order, with
// any text between the blocks. Of several keys the one that belongs to a
// certificate is used, and the leaf is the certificate that it belongs to.
//
// The notes say what was left out or looks wrong in a bundle that can be
// served all the same. An error means that nothing in it can be, by Envoy or
// for clients, and has what was left out too. Neither ever holds key material.
// Source and Name are left to the caller; the dates are not checked, see Select.
func ParsePEM(bundle []byte) (*Certificate, []string, error) {
	blocks, err := decodeBlocks(bundle)
	if err != nil {
		return nil, nil, err
	}
	found, err := blocks.findLeaf()
	if err != nil {
		return nil, nil, err
	}
	notes := append(blocks.notes, found.notes...)

	chains, chainNotes := chainsOf(found.leaf, blocks.certificates)
	notes = append(notes, chainNotes...)
	names, isDefault, nameNotes := serverNames(found.leaf)
	notes = append(notes, nameNotes...)

	keyDER, err := x509.MarshalPKCS8PrivateKey(found.key)
	if err != nil {
		return nil, nil, errors.New("the private key cannot be encoded as PKCS#8")
	}
	fingerprint := sha256.Sum256(found.leaf.Raw)
	c := &Certificate{
		ServerNames: names,
		Default:     isDefault,
		Fingerprint: hex.EncodeToString(fingerprint[:]),
		Kind:        kindOf(found.leaf),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	c.setChains(chains)
	return c, notes, nil
}

// pair is a private key and the certificate that belongs to it.
type pair struct {
	key   crypto.Signer
	leaf  *x509.Certificate
	notes []string // what clients may refuse in it
}

// findLeaf returns the pair of key and certificate that belong together. Of
// several that Envoy takes it takes one that is no CA, then the one that lasts longest.
func (b *blocks) findLeaf() (best pair, err error) {
	if len(b.certificates) == 0 {
		return pair{}, b.because("no readable certificate")
	}
	if len(b.keys) == 0 {
		if b.encrypted {
			return pair{}, b.because("the private key is encrypted: store it decrypted, nobody can type the password here")
		}
		return pair{}, b.because("no readable private key")
	}
	var (
		pairs   int
		refused []string
	)
	for _, k := range b.keys {
		for _, c := range b.certificates {
			if !belong(k, c) || best.leaf != nil && best.leaf.Equal(c) {
				continue
			}
			notes, err := checkLeaf(c)
			if err == nil {
				err = checkKey(k)
			}
			if err != nil {
				if !slices.Contains(refused, err.Error()) {
					refused = append(refused, err.Error())
				}
				continue
			}
			if pairs++; best.leaf == nil || betterLeaf(c, best.leaf) {
				best = pair{k, c, notes}
			}
		}
	}
	switch {
	case best.leaf == nil && len(refused) > 0:
		b.notes = append(refused[1:], b.notes...)
		return pair{}, b.because(refused[0])
	case best.leaf == nil:
		b.notes = append(b.notes, oddKeys(b.certificates)...)
		return pair{}, b.because("the private key belongs to none of the certificates")
	}
	for _, reason := range refused {
		best.notes = append(best.notes, "a certificate whose key is here is not used: "+reason)
	}
	if pairs > 1 {
		best.notes = append(best.notes, fmt.Sprintf("several certificates have a key here; the one valid until %s is used", day(best.leaf.NotAfter)))
	}
	return best, nil
}

// oddKeys says of certificates that no key here can belong to them.
func oddKeys(certificates []*x509.Certificate) (notes []string) {
	for _, c := range certificates {
		switch c.PublicKey.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			notes = append(notes, fmt.Sprintf("the certificate %.200q has a key that is neither RSA nor ECDSA (RSA-PSS, DSA or another kind)", c.Subject))
		}
	}
	return notes
}

func belong(key crypto.Signer, certificate *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(certificate.PublicKey)
}

func betterLeaf(a, b *x509.Certificate) bool {
	if a.IsCA != b.IsCA {
		return !a.IsCA
	}
	return a.NotAfter.After(b.NotAfter)
}
