package certstest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// Certificate is the DER form of a certificate, in parts: with it tests make what
// crypto/x509 refuses to make.
type Certificate struct {
	// Version is that on the wire: 2 for X.509 version 3.
	Version int `asn1:"optional,explicit,default:0,tag:0"`
	// Serial is the DER of an INTEGER.
	Serial    asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Issuer    asn1.RawValue
	Validity  asn1.RawValue
	Subject   asn1.RawValue
	PublicKey asn1.RawValue

	Extensions []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

// signedCertificate is a certificate whose signature is not looked at.
type signedCertificate struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// resign changes a certificate, and signs it again with a key on P-256.
func resign(der []byte, change func(*Certificate), issuer crypto.Signer) ([]byte, error) {
	var signed signedCertificate
	var parts Certificate
	if _, err := asn1.Unmarshal(der, &signed); err != nil {
		return nil, fmt.Errorf("take a certificate apart: %w", err)
	}
	if _, err := asn1.Unmarshal(signed.TBS.FullBytes, &parts); err != nil {
		return nil, fmt.Errorf("take a certificate apart: %w", err)
	}
	change(&parts)
	tbs, err := asn1.Marshal(parts)
	if err != nil {
		return nil, fmt.Errorf("put a certificate together: %w", err)
	}
	digest := sha256.Sum256(tbs)
	signature, err := issuer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return asn1.Marshal(signedCertificate{
		TBS: asn1.RawValue{FullBytes: tbs}, Algorithm: parts.Algorithm,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
}

// The tags of DER that odd certificates are made of.
const (
	tagBoolean, tagInteger, tagBits, tagOctets = 0x01, 0x02, 0x03, 0x04
	tagOID, tagUTF8, tagPrintable, tagTeletex  = 0x06, 0x0c, 0x13, 0x14
	tagIA5                                     = 0x16
	tagUTCTime, tagTime, tagUniversal, tagBMP  = 0x17, 0x18, 0x1c, 0x1e
	tagSequence, tagSet                        = 0x30, 0x31
)

// tlv is a value in DER.
func tlv(tag byte, contents ...[]byte) []byte {
	content := Join(contents...)
	out := []byte{tag}
	switch n := len(content); {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	default:
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	return append(out, content...)
}

func raw(der []byte) asn1.RawValue { return asn1.RawValue{FullBytes: der} }

// put adds an extension in place of the one of the same type.
func (c *Certificate) put(e pkix.Extension) {
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(e.Id) {
			c.Extensions[i] = e
			return
		}
	}
	c.Extensions = append(c.Extensions, e)
}

// drop removes an extension.
func (c *Certificate) drop(id int) {
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(asn1.ObjectIdentifier{2, 5, 29, id}) {
			c.Extensions = append(c.Extensions[:i], c.Extensions[i+1:]...)
			return
		}
	}
}
