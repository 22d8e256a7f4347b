package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxBlocks bounds the PEM blocks of one bundle, and with it the time that
	// hostile input can cost.
	maxBlocks = 100
	// minRSABits is the shortest RSA key that Envoy takes; a shorter one makes
	// it reject the whole secret or listener.
	minRSABits = 2048
)

// ParsePEM makes a Certificate of a PEM bundle: one private key (PKCS#8,
// PKCS#1 or SEC 1), its leaf certificate and any issuers, in any order, with
// any text between the blocks. Of several keys the one that belongs to a
// certificate is used, and the leaf is the certificate that it belongs to.
//
// The notes say what was left out or looks wrong in a bundle that can be
// served all the same. An error means that nothing in it can be. Neither ever
// holds key material. Source and Name are left to the caller; the dates are
// not checked, see Select.
func ParsePEM(bundle []byte) (*Certificate, []string, error) {
	blocks, err := decodeBlocks(bundle)
	if err != nil {
		return nil, nil, err
	}
	key, leaf, notes, err := findLeaf(blocks)
	if err != nil {
		return nil, nil, err
	}
	notes = append(blocks.notes, notes...)

	chains, chainNotes := chainsOf(leaf, blocks.certificates)
	notes = append(notes, chainNotes...)
	names, isDefault, nameNotes := serverNames(leaf)
	notes = append(notes, nameNotes...)

	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, errors.New("the private key cannot be encoded as PKCS#8")
	}
	fingerprint := sha256.Sum256(leaf.Raw)
	c := &Certificate{
		ServerNames: names,
		Default:     isDefault,
		Fingerprint: hex.EncodeToString(fingerprint[:]),
		Kind:        kindOf(leaf),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	c.setChains(chains)
	return c, notes, nil
}

// blocks is what a bundle holds that could be read.
type blocks struct {
	certificates []*x509.Certificate
	keys         []crypto.Signer
	encrypted    bool
	notes        []string
}

func decodeBlocks(bundle []byte) (*blocks, error) {
	found := &blocks{}
	count := 0
	for {
		var block *pem.Block
		block, bundle = pem.Decode(bundle)
		if block == nil {
			break
		}
		if count++; count > maxBlocks {
			return nil, fmt.Errorf("more than %d PEM blocks: one file holds one certificate, its key and its chain", maxBlocks)
		}
		found.add(block, count)
	}
	if count == 0 {
		return nil, errors.New("no PEM block found")
	}
	return found, nil
}

// add sorts one block; n is its position, for messages.
func (b *blocks) add(block *pem.Block, n int) {
	switch block.Type {
	case "CERTIFICATE", "X509 CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			b.notes = append(b.notes, fmt.Sprintf("block %d (%s) ignored: %v", n, block.Type, err))
			return
		}
		b.certificates = append(b.certificates, certificate)
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			b.encrypted = true
			return
		}
		key, ok := parseKey(block.Bytes)
		if !ok {
			// The parser's own words stay out: they are about key material.
			b.notes = append(b.notes, fmt.Sprintf("block %d (%s) ignored: not a readable RSA, ECDSA or Ed25519 key", n, block.Type))
			return
		}
		b.keys = append(b.keys, key)
	case "ENCRYPTED PRIVATE KEY":
		b.encrypted = true
	case "EC PARAMETERS", "DH PARAMETERS":
		// openssl writes the curve of an EC key as a block of its own, and old
		// HAProxy bundles carry Diffie-Hellman parameters; neither is needed.
	default:
		b.notes = append(b.notes, fmt.Sprintf("block %d ignored: unknown type %.40q", n, block.Type))
	}
}

// parseKey does not trust the block's label: tools mix the three forms up.
func parseKey(der []byte) (crypto.Signer, bool) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, ok := key.(crypto.Signer)
		return signer, ok
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, true
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, true
	}
	return nil, false
}

// findLeaf returns the pair of key and certificate that belong together. Of
// several it takes one that is no CA, then the one that lasts longest.
func findLeaf(b *blocks) (crypto.Signer, *x509.Certificate, []string, error) {
	if len(b.certificates) == 0 {
		return nil, nil, nil, errors.New("no readable certificate" + asSuffix(b.notes))
	}
	if len(b.keys) == 0 {
		if b.encrypted {
			return nil, nil, nil, errors.New("the private key is encrypted: store it decrypted, nobody can type the password here")
		}
		return nil, nil, nil, errors.New("no readable private key" + asSuffix(b.notes))
	}
	var (
		key   crypto.Signer
		leaf  *x509.Certificate
		other int
	)
	for _, k := range b.keys {
		for _, c := range b.certificates {
			switch {
			case !belong(k, c) || leaf != nil && leaf.Equal(c):
			case leaf == nil:
				key, leaf = k, c
			case betterLeaf(c, leaf):
				key, leaf = k, c
				other++
			default:
				other++
			}
		}
	}
	if leaf == nil {
		return nil, nil, nil, errors.New("the private key belongs to none of the certificates")
	}
	if err := checkKey(key); err != nil {
		return nil, nil, nil, err
	}
	var notes []string
	if other > 0 {
		notes = append(notes, fmt.Sprintf("several certificates have a key here; the one valid until %s is used", day(leaf.NotAfter)))
	}
	return key, leaf, notes, nil
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

// checkKey refuses keys that make Envoy reject the secret that holds them, or
// that no client can use. Envoy 1.40 was seen to take all three curves.
func checkKey(key crypto.Signer) error {
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

func asSuffix(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	return " (" + notes[0] + ")"
}
