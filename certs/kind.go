package certs

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
)

// Kind is the kind of a certificate's key. Clients take part in a handshake with those kinds
// only that they know; so a server name may have one certificate of each.
type Kind string

// The kinds. All curves are one: of two ECDSA certificates Envoy shows the first to every
// client, whichever curves that has.
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
