package certs

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
)

// Kind is the kind of a certificate's key. Not every client takes both, so a server name may
// have one certificate of each.
type Kind string

// The kinds. All curves are one: clients that take ECDSA keys take the curve of nearly all
// certificates, P-256, so a second curve would help none.
const (
	KindUnknown Kind = ""
	ECDSA       Kind = "ECDSA"
	RSA         Kind = "RSA"
)

func kindOf(c *x509.Certificate) Kind {
	switch c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return ECDSA
	case *rsa.PublicKey:
		return RSA
	}
	return KindUnknown
}
