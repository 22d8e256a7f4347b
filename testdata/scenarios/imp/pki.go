package imp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"time"
)

// authority issues the certificates of devices, when they are made.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	issued      int64
	revoked     []x509.RevocationListEntry
	lists       int64
}

func newAuthority(name string) (*authority, error) {
	a := &authority{}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a.key = key
	a.certificate, err = a.sign(template, key)
	return a, err
}

// sign completes a certificate, and signs it; without one of its own, an authority signs itself.
func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	a.issued++
	template.SerialNumber, template.NotBefore = big.NewInt(a.issued), time.Now().Add(-time.Hour)
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// issue makes a certificate for a device: its URI names the tenant and the device.
func (a *authority) issue(uri string, notAfter time.Time) (tls.Certificate, error) {
	name, err := url.Parse(uri)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "a device"}, NotAfter: notAfter, URIs: []*url.URL{name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// revoke adds a certificate to the list.
func (a *authority) revoke(certificate tls.Certificate) {
	a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: certificate.Leaf.SerialNumber, RevocationTime: time.Now()})
}

// list is the list of what is revoked, in PEM.
func (a *authority) list() ([]byte, error) {
	a.lists++
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(a.lists), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().AddDate(0, 0, 7),
		RevokedCertificateEntries: a.revoked,
	}, a.certificate, a.key)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), err
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}
