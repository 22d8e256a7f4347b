package certstest

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"testing"
	"time"
)

// Authority is a certificate that issues others, with dates and issuers as a test wants
// them.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// TestRoot makes an authority that signs itself.
func TestRoot(t testing.TB, name string, notBefore, notAfter time.Time) *Authority {
	t.Helper()
	return authority(t, nil, name, nil, notBefore, notAfter)
}

// Sub makes an authority below this one, with a key of its own.
func (a *Authority) Sub(t testing.TB, name string, notBefore, notAfter time.Time) *Authority {
	t.Helper()
	return authority(t, a, name, nil, notBefore, notAfter)
}

// Sign makes one more certificate of another authority, signed by this one: of the same name
// and key.
func (a *Authority) Sign(t testing.TB, other *Authority, notBefore, notAfter time.Time) *Authority {
	t.Helper()
	return authority(t, a, other.certificate.Subject.CommonName, other.key, notBefore, notAfter)
}

func authority(t testing.TB, issuer *Authority, name string, key crypto.Signer, notBefore, notAfter time.Time) *Authority {
	t.Helper()
	if key == nil {
		var err error
		if key, err = newKey(P256); err != nil {
			t.Fatal(err)
		}
	}
	template := caTemplate(name)
	template.NotBefore, template.NotAfter = notBefore, notAfter
	parent, parentKey := (*x509.Certificate)(nil), key
	if issuer != nil {
		parent, parentKey = issuer.certificate, issuer.key
	}
	certificate, err := sign(template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{certificate, key}
}

// PEM is its certificate.
func (a *Authority) PEM() []byte { return encode(a.certificate) }

// Certificate is its certificate, for clients that trust it.
func (a *Authority) Certificate() *x509.Certificate { return a.certificate }

// TestIssue makes a certificate for the DNS names given. Its Chain is that of the authority
// alone.
func (a *Authority) TestIssue(t testing.TB, names []string, options Options) *Issued {
	t.Helper()
	key := options.Key
	if key == nil {
		var err error
		if key, err = newKey(options.KeyType); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := sign(leafTemplate(names, options), a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := EncodeKey(key, options.KeyForm)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := sha256.Sum256(leaf.Raw)
	return &Issued{
		Leaf: encode(leaf), Key: keyPEM, Chain: a.PEM(), DNSNames: leaf.DNSNames, Signer: key,
		Fingerprint: hex.EncodeToString(fingerprint[:]),
	}
}
