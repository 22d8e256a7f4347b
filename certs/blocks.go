package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxBlocks bounds the PEM blocks of one bundle, and with it the time that
	// hostile input can cost.
	maxBlocks = 100
	// maxReasons bounds how much of what was left out an error repeats.
	maxReasons = 3
)

var (
	// byteOrderMark is what some editors write before the first line.
	byteOrderMark = []byte("\xef\xbb\xbf")
	// begin is how a PEM block begins.
	begin = []byte("-----BEGIN ")
)

// blocks is what a bundle holds that could be read.
type blocks struct {
	certificates []*x509.Certificate
	keys         []crypto.Signer
	encrypted    bool
	notes        []string
}

func decodeBlocks(bundle []byte) (*blocks, error) {
	bundle = bytes.ReplaceAll(bundle, byteOrderMark, nil)
	found := &blocks{}
	begun, count := bytes.Count(bundle, begin), 0
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
	if begun > count {
		found.notes = append(found.notes, fmt.Sprintf("%d of %d PEM blocks cannot be decoded: cut short, indented, or not base64", begun-count, begun))
	}
	if count == 0 {
		return nil, found.because("no PEM block found")
	}
	return found, nil
}

// add sorts one block; n is its position, for messages.
func (b *blocks) add(block *pem.Block, n int) {
	ignored := func(reason string) {
		b.notes = append(b.notes, fmt.Sprintf("block %d (%.40s) ignored: %s", n, block.Type, reason))
	}
	if isCertificate(block) {
		certificate, err := parseCertificate(block.Bytes)
		if err != nil {
			ignored(fmt.Sprintf("%.200v", err))
			return
		}
		b.certificates = append(b.certificates, certificate)
		return
	}
	switch block.Type {
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			b.encrypted = true
			ignored("it is encrypted")
			return
		}
		key, ok := parseKey(block.Bytes)
		if !ok {
			// The parser's own words stay out: they are about key material.
			ignored("not a readable RSA, ECDSA or Ed25519 key")
			return
		}
		b.keys = append(b.keys, key)
	case "ENCRYPTED PRIVATE KEY":
		b.encrypted = true
		ignored("it is encrypted")
	case "EC PARAMETERS", "DH PARAMETERS":
		// openssl writes the curve of an EC key as a block of its own, and old
		// HAProxy bundles carry Diffie-Hellman parameters; neither is needed.
	default:
		b.notes = append(b.notes, fmt.Sprintf("block %d ignored: unknown type %.40q", n, block.Type))
	}
}

// because makes an error that also has what was left out, which may be the reason.
func (b *blocks) because(message string) error {
	if len(b.notes) == 0 {
		return errors.New(message)
	}
	shown := b.notes[:min(len(b.notes), maxReasons)]
	message += "; " + strings.Join(shown, "; ")
	if more := len(b.notes) - len(shown); more > 0 {
		message += fmt.Sprintf("; and %d more", more)
	}
	return errors.New(message)
}

// parseCertificate reads a certificate. An error says why it, or Envoy, cannot.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	certificate, err := x509.ParseCertificate(der)
	if err == nil {
		err = checkForm(certificate)
	}
	return certificate, err
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
