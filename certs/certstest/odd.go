package certstest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"testing"
)

// Odd is a certificate unlike those that authorities issue, with its key and chain, and
// what is known of it. Tests ask Relay and a real Envoy what they make of it.
type Odd struct {
	Name string
	// Leaf, Chain and Key are PEM text, or what stands in its place.
	Leaf, Chain, Key []byte
	// Refused are words of the reason for which Relay refuses it; empty if it is served.
	Refused string
	// Noted are words of what Relay notes of it though it is served.
	Noted string
	// EnvoyTakes tells that Envoy takes what Relay refuses; OldEnvoyTakes, that the oldest
	// Envoy does and newer ones do not.
	EnvoyTakes, OldEnvoyTakes bool
	// ClientsRefuse tells that Go's clients, with which tests are made, refuse what is served.
	ClientsRefuse bool
}

// Bundle is the key, the leaf and the chain.
func (o *Odd) Bundle() []byte { return Join(o.Key, []byte("\n"), o.Leaf, []byte("\n"), o.Chain) }

// oddity is how an odd certificate differs from a usual one.
type oddity struct {
	name string
	// key is P-256 when nil.
	key func() (crypto.Signer, error)
	// template is for what crypto/x509 makes; leaf and issuer change what it made, before
	// it is signed, and der afterwards.
	template     func(*x509.Certificate)
	leaf, issuer func(*Certificate)
	der          func([]byte) []byte
	// text changes the PEM text.
	text func(*Odd)

	refused, noted                           string
	envoyTakes, oldEnvoyTakes, clientsRefuse bool
}

// TestOdd returns all odd certificates. With authority, leaves are marked as those of an
// authority.
func (ca *CA) TestOdd(t testing.TB, authority bool) []*Odd {
	t.Helper()
	var all []*Odd
	for _, o := range oddities() {
		all = append(all, ca.testOdd(t, &o, authority))
	}
	return all
}

// TestNamedOdd returns the odd certificate of a name.
func (ca *CA) TestNamedOdd(t testing.TB, name string) *Odd {
	t.Helper()
	for _, o := range oddities() {
		if o.name == name {
			return ca.testOdd(t, &o, false)
		}
	}
	t.Fatalf("no odd certificate has the name %q", name)
	return nil
}

func oddities() []oddity {
	return slices.Concat(oddKeys(), oddUses(), oddSubjects(), oddAltNames(), oddForms(), oddExtensions(), oddDates(), oddSignatures(), oddTexts())
}

func (ca *CA) testOdd(t testing.TB, o *oddity, authority bool) *Odd {
	t.Helper()
	odd, err := ca.odd(o, authority)
	if err != nil {
		t.Fatalf("%s: %v", o.name, err)
	}
	return odd
}

func (ca *CA) odd(o *oddity, authority bool) (*Odd, error) {
	newKey := o.key
	if newKey == nil {
		newKey = keyOf(P256)
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := leafTemplate([]string{"odd.test"}, Options{CA: authority})
	if o.template != nil {
		o.template(template)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, ca.intermediate, key.Public(), ca.intermediateKey)
	if err != nil {
		return nil, fmt.Errorf("issue it: %w", err)
	}
	issuer := ca.intermediate.Raw
	if o.leaf != nil {
		if leaf, err = resign(leaf, o.leaf, ca.intermediateKey); err != nil {
			return nil, err
		}
	}
	if o.issuer != nil {
		if issuer, err = resign(issuer, o.issuer, ca.rootKey); err != nil {
			return nil, err
		}
	}
	if o.der != nil {
		leaf = o.der(leaf)
	}
	odd := &Odd{
		Name: o.name, Refused: o.refused, Noted: o.noted, EnvoyTakes: o.envoyTakes, OldEnvoyTakes: o.oldEnvoyTakes, ClientsRefuse: o.clientsRefuse,
		Leaf:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}),
		Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer}),
	}
	if odd.Key, err = EncodeKey(key, PKCS8); err != nil {
		return nil, err
	}
	if o.text != nil {
		o.text(odd)
	}
	return odd, nil
}
