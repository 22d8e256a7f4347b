package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParseAuthorities returns the certificates in a PEM text of authorities that Envoy is
// to trust. Other blocks, such as a private key, are left out; text may stand between blocks. An
// error says why the text, as a whole, is unusable: Envoy refuses a list for one
// certificate that it cannot read.
func ParseAuthorities(text []byte) (authorities []*x509.Certificate, err error) {
	text = bytes.ReplaceAll(text, byteOrderMark, nil)
	begun := bytes.Count(text, begin)
	for n := 1; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		begun--
		text = rest
		if !isCertificate(block) {
			continue
		}
		certificate, err := parseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is no certificate: %w", n, err)
		}
		authorities = append(authorities, certificate)
	}
	switch {
	case begun > 0:
		return nil, errors.New("a PEM block is broken, or the text ends in the middle of it")
	case len(authorities) == 0:
		return nil, errors.New("no certificate in PEM in it")
	}
	return authorities, nil
}

// EncodePEM returns certificates in PEM, and nothing else.
func EncodePEM(certificates []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certificates {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.Bytes()
}

func isCertificate(block *pem.Block) bool {
	return block.Type == "CERTIFICATE" || block.Type == "X509 CERTIFICATE"
}
