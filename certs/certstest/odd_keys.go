package certstest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"math/big"
)

func keyOf(kind KeyType) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return newKey(kind) }
}

// rsaOf makes an RSA key of the two primes that are so far above 3/4 and 7/8 of a power of
// two: random ones of thousands of bits would take minutes to find. It is worth nothing but for tests.
func rsaOf(bits uint, above1, above2, exponent int64) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) {
		one := big.NewInt(1)
		p, q := new(big.Int).Lsh(big.NewInt(3), bits/2-2), new(big.Int).Lsh(big.NewInt(7), bits/2-3)
		p.Add(p, big.NewInt(above1))
		q.Add(q, big.NewInt(above2))
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(exponent), phi)
		if d == nil {
			return nil, errors.New("the exponent does not fit the primes")
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(exponent)}, D: d, Primes: []*big.Int{p, q}}
		key.Precompute()
		return key, nil
	}
}

var (
	oidRSA    = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1}
	oidPSS    = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10}
	oidDSA    = []byte{0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1}
	oidEC     = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}
	oidP256   = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}
	oidP256k1 = []byte{0x2b, 0x81, 4, 0, 10}
)

// publicKey replaces the public key.
func publicKey(algorithm, parameters, key []byte) func(*Certificate) {
	return func(c *Certificate) {
		c.PublicKey = raw(tlv(tagSequence, tlv(tagSequence, tlv(tagOID, algorithm), parameters), tlv(tagBits, []byte{0}, key)))
	}
}

// changeKey makes another public key of the bytes of the present one.
func changeKey(change func(key []byte) func(*Certificate)) func(*Certificate) {
	return func(c *Certificate) {
		var info struct {
			Algorithm asn1.RawValue
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(c.PublicKey.FullBytes, &info); err == nil {
			change(info.Key.Bytes)(c)
		}
	}
}

func compressed(point []byte) []byte {
	return append([]byte{2 + point[len(point)-1]&1}, point[1:1+(len(point)-1)/2]...)
}

func oddKeys() []oddity {
	multi := func() (crypto.Signer, error) {
		//lint:ignore SA1019 it is odd on purpose
		return rsa.GenerateMultiPrimeKey(rand.Reader, 3, 2048)
	}
	nowhere := append([]byte{4}, make([]byte, 64)...)
	none := tlv(5)
	return []oddity{
		{name: "a usual one"},
		{name: "RSA of 1024 bits", key: keyOf(RSA1024), refused: "1024 bits"},
		{name: "RSA of 2047 bits", key: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2047) }, refused: "2047 bits"},
		{name: "RSA of 2048 bits", key: rsaOf(2048, 1037, 309, 65537)},
		{name: "RSA with a short exponent", key: rsaOf(2048, 1037, 309, 3)},
		{name: "RSA with a long exponent", key: rsaOf(2048, 1037, 309, 1<<31-1)},
		{name: "RSA of 4096 bits", key: rsaOf(4096, 899, 4047, 65537)},
		{name: "RSA of 8192 bits", key: rsaOf(8192, 3389, 135, 65537)},
		{name: "RSA of 8200 bits", key: rsaOf(8200, 11297, 2133, 65537), noted: "more than 8192", clientsRefuse: true},
		{name: "RSA of three primes", key: multi, refused: "3 primes"},
		{name: "RSA without parameters", key: rsaOf(2048, 1037, 309, 65537), leaf: changeKey(func(key []byte) func(*Certificate) { return publicKey(oidRSA, nil, key) }), refused: "missing NULL"},
		{name: "RSA for PSS only", key: rsaOf(2048, 1037, 309, 65537), leaf: changeKey(func(key []byte) func(*Certificate) { return publicKey(oidPSS, none, key) }), refused: "neither RSA nor ECDSA"},
		{name: "DSA", leaf: publicKey(oidDSA, tlv(tagSequence, tlv(tagInteger, []byte{23}), tlv(tagInteger, []byte{11}), tlv(tagInteger, []byte{2})), tlv(tagInteger, []byte{8})), refused: "neither RSA nor ECDSA"},
		{name: "P-224", key: keyOf(P224), refused: "P-224"},
		{name: "P-384", key: keyOf(P384)},
		{name: "P-521", key: keyOf(P521)},
		{name: "P-256 compressed", leaf: changeKey(func(key []byte) func(*Certificate) { return publicKey(oidEC, tlv(tagOID, oidP256), compressed(key)) }), refused: "invalid uncompressed", envoyTakes: true},
		{name: "no point of P-256", leaf: publicKey(oidEC, tlv(tagOID, oidP256), nowhere), refused: "not on curve"},
		{name: "secp256k1", leaf: publicKey(oidEC, tlv(tagOID, oidP256k1), nowhere), refused: "unsupported elliptic curve"},
		{name: "more after the public key", leaf: func(c *Certificate) {
			c.PublicKey = raw(tlv(tagSequence, c.PublicKey.FullBytes[2:], none))
		}, refused: "the public key: it has more data"},
		{name: "Ed25519", key: keyOf(Ed25519), refused: "browsers do not take", envoyTakes: true},
		{name: "the key of another", text: func(o *Odd) {
			if other, err := newKey(P256); err == nil {
				o.Key, _ = EncodeKey(other, PKCS8)
			}
		}, refused: "belongs to none"},
		{name: "a key that is encrypted", text: func(o *Odd) { o.Key = bytes.ReplaceAll(o.Key, []byte(" PRIVATE"), []byte(" ENCRYPTED PRIVATE")) }, refused: "is encrypted"},
	}
}
