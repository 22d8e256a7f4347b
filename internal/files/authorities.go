package files

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// maxAuthorities bounds the files of authorities, in bytes. The bundles of
// operating systems have some hundred kilobytes.
const maxAuthorities = 16 << 20

// Authorities reads the certificates in a PEM file. What is no certificate is
// passed over, as in the system's bundles; a file without any is an error.
func Authorities(path string) (authorities []*x509.Certificate, err error) {
	text, err := Read(path, maxAuthorities)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			authorities = append(authorities, certificate)
		}
	}
	if len(authorities) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it", path)
	}
	return authorities, nil
}

// Pool returns a pool of authorities.
func Pool(authorities []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a)
	}
	return pool
}

// AuthorityPool reads the pool of a PEM file, as Authorities does.
func AuthorityPool(path string) (*x509.CertPool, error) {
	authorities, err := Authorities(path)
	if err != nil {
		return nil, err
	}
	return Pool(authorities), nil
}
