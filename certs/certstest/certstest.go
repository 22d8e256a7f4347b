// Package certstest is a certificate authority for tests and the demo. It
// issues certificates in every form that people store them in.
package certstest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// KeyType is the kind of key of an issued certificate.
type KeyType string

// The kinds of key. P256 is the default: the fastest to make.
const (
	P224    KeyType = "P-224"
	P256    KeyType = "P-256"
	P384    KeyType = "P-384"
	P521    KeyType = "P-521"
	RSA1024 KeyType = "RSA-1024"
	RSA2048 KeyType = "RSA-2048"
	Ed25519 KeyType = "Ed25519"
)

// KeyForm is the PEM form of a private key.
type KeyForm string

// The forms of a private key. PKCS8 is the default; PKCS1 is for RSA keys only
// and SEC1 for ECDSA keys only.
const (
	PKCS8 KeyForm = "PRIVATE KEY"
	PKCS1 KeyForm = "RSA PRIVATE KEY"
	SEC1  KeyForm = "EC PRIVATE KEY"
)

// Options are what Issue varies; the zero value gives a P-256 certificate that
// is valid from an hour ago for 90 days.
type Options struct {
	// CommonName is the subject's; the first name when empty.
	CommonName string
	// NoSAN leaves the subject alternative names out.
	NoSAN bool
	// IPs are added to the subject alternative names.
	IPs []net.IP
	// URIs are too.
	URIs []*url.URL

	NotBefore, NotAfter time.Time
	Serial              int64
	KeyType             KeyType
	KeyForm             KeyForm
	// Key is used instead of a new one.
	Key crypto.Signer
	// SelfSigned has the certificate sign itself; its chain is empty.
	SelfSigned bool
	// CA marks the certificate as one of an authority.
	CA bool
}

// CA is a root and an intermediate that issues the certificates.
type CA struct {
	root, intermediate       *x509.Certificate
	rootKey, intermediateKey crypto.Signer
	// above is what issued the intermediate of a Sub, up to the root.
	above []byte
}

// Issued is a certificate and all that belongs to it, as PEM text.
type Issued struct {
	Leaf, Key []byte
	// Chain is the intermediate, and Root what issued it.
	Chain, Root []byte

	// Fingerprint is the SHA-256 of the leaf's DER, lower-case hex.
	Fingerprint string
	// DNSNames are the leaf's subject alternative names.
	DNSNames []string
	// Signer is the private key, to be used in another certificate.
	Signer crypto.Signer
}

// Bundle is the key, the leaf and the chain in the order in which
// marathon-acme writes them.
func (i *Issued) Bundle() []byte { return Join(i.Key, i.Leaf, i.Chain) }

// Join puts PEM texts one after the other.
func Join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// NewCA makes an authority with keys of its own.
func NewCA() (*CA, error) {
	rootKey, err := newKey(P256)
	if err != nil {
		return nil, err
	}
	intermediateKey, err := newKey(P256)
	if err != nil {
		return nil, err
	}
	root, err := sign(caTemplate("Test Root"), nil, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	intermediate, err := sign(caTemplate("Test Intermediate"), root, intermediateKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	return &CA{root: root, rootKey: rootKey, intermediate: intermediate, intermediateKey: intermediateKey}, nil
}

// Sub makes an authority of the same root, with an intermediate of its own
// that ca's has issued. The Chain of what it issues is both, in order.
func (ca *CA) Sub(name string) (*CA, error) {
	key, err := newKey(P256)
	if err != nil {
		return nil, err
	}
	intermediate, err := sign(caTemplate(name), ca.intermediate, key.Public(), ca.intermediateKey)
	if err != nil {
		return nil, err
	}
	return &CA{
		root: ca.root, rootKey: ca.rootKey, intermediate: intermediate, intermediateKey: key,
		above: Join(encode(ca.intermediate), ca.above),
	}, nil
}

// TestCA is NewCA for tests.
func TestCA(t testing.TB) *CA {
	t.Helper()
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestIssue is Issue for tests.
func (ca *CA) TestIssue(t testing.TB, names []string, options Options) *Issued {
	t.Helper()
	issued, err := ca.Issue(names, options)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// Issue makes a certificate for the DNS names given.
func (ca *CA) Issue(names []string, options Options) (*Issued, error) {
	key := options.Key
	if key == nil {
		var err error
		if key, err = newKey(options.KeyType); err != nil {
			return nil, err
		}
	}
	issuer, issuerKey := ca.intermediate, ca.intermediateKey
	if options.SelfSigned {
		issuer, issuerKey = nil, key
	}
	leaf, err := sign(leafTemplate(names, options), issuer, key.Public(), issuerKey)
	if err != nil {
		return nil, err
	}
	keyPEM, err := EncodeKey(key, options.KeyForm)
	if err != nil {
		return nil, err
	}
	fingerprint := sha256.Sum256(leaf.Raw)
	issued := &Issued{
		Leaf:        encode(leaf),
		Key:         keyPEM,
		Fingerprint: hex.EncodeToString(fingerprint[:]),
		DNSNames:    leaf.DNSNames,
		Signer:      key,
	}
	if !options.SelfSigned {
		issued.Chain, issued.Root = Join(encode(ca.intermediate), ca.above), encode(ca.root)
	}
	return issued, nil
}

// RootPEM is the root that clients have to trust.
func (ca *CA) RootPEM() []byte { return encode(ca.root) }

// ClientTLS is a client's configuration that trusts this authority only.
func (ca *CA) ClientTLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.root)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// ServerTLS is a server's configuration that shows the certificate given.
func (i *Issued) ServerTLS() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(Join(i.Leaf, i.Chain), i.Key)
	if err != nil {
		return nil, fmt.Errorf("pair the certificate with its key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          serial(0),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().AddDate(-1, 0, 0),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
}

func leafTemplate(names []string, o Options) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber:          serial(o.Serial),
		Subject:               pkix.Name{CommonName: o.CommonName},
		NotBefore:             o.NotBefore,
		NotAfter:              o.NotAfter,
		BasicConstraintsValid: true,
		IsCA:                  o.CA,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if template.Subject.CommonName == "" && len(names) > 0 {
		template.Subject.CommonName = names[0]
	}
	if !o.NoSAN {
		template.DNSNames, template.IPAddresses, template.URIs = names, o.IPs, o.URIs
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().AddDate(0, 0, 90)
	}
	return template
}

// sign issues a certificate; without an issuer it signs itself.
func sign(template, issuer *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, key)
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", template.Subject, err)
	}
	return x509.ParseCertificate(der)
}

func serial(n int64) *big.Int {
	if n != 0 {
		return big.NewInt(n)
	}
	random, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return big.NewInt(time.Now().UnixNano())
	}
	return random.Add(random, big.NewInt(1))
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func newKey(kind KeyType) (crypto.Signer, error) {
	switch kind {
	case "", P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P224:
		return ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case P521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("unknown key type %q", kind)
}

// EncodeKey gives a private key in one of its PEM forms.
func EncodeKey(key crypto.Signer, form KeyForm) ([]byte, error) {
	var (
		der []byte
		err error
	)
	switch form {
	case "", PKCS8:
		form = PKCS8
		der, err = x509.MarshalPKCS8PrivateKey(key)
	case PKCS1:
		private, ok := key.(*rsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("PKCS#1 is for RSA keys, this is a %T", key)
		}
		der = x509.MarshalPKCS1PrivateKey(private)
	case SEC1:
		private, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("SEC 1 is for ECDSA keys, this is a %T", key)
		}
		der, err = x509.MarshalECPrivateKey(private)
	default:
		return nil, fmt.Errorf("unknown key form %q", form)
	}
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: string(form), Bytes: der}), nil
}
