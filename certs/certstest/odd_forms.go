package certstest

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"time"
)

func serialOf(content ...byte) func(*Certificate) {
	return func(c *Certificate) { c.Serial = raw(tlv(tagInteger, content)) }
}

func version(wire int, extensions bool) func(*Certificate) {
	return func(c *Certificate) {
		if c.Version = wire; !extensions {
			c.Extensions = nil
		}
	}
}

// unique adds unique identifiers with these tags, which nobody uses, and no extensions.
func unique(tags ...byte) func(*Certificate) {
	return func(c *Certificate) {
		c.PublicKey = raw(bytes.Clone(c.PublicKey.FullBytes))
		for _, tag := range tags {
			c.PublicKey.FullBytes = append(c.PublicKey.FullBytes, tlv(tag, []byte{0, 1})...)
		}
	}
}

// oddForms are those of the certificate as a whole.
func oddForms() []oddity {
	long := append([]byte{0x7f}, make([]byte, 40)...)
	const has, more = "only version 3 has extensions", "it has more data"
	return []oddity{
		{name: "serial number negative", leaf: serialOf(0xed, 0xcb)},
		{name: "serial number of the issuer negative", issuer: serialOf(0xed, 0xcb)},
		{name: "serial number -1", leaf: serialOf(0xff)},
		{name: "serial number 0", leaf: serialOf(0)},
		{name: "serial number of 41 bytes", leaf: serialOf(long...)},
		{name: "serial number with a zero before", leaf: serialOf(0, 1), refused: "malformed serial number"},
		{name: "serial number without content", leaf: serialOf(), refused: "malformed serial number"},
		{name: "serial number of the issuer with a zero before", issuer: serialOf(0, 1), noted: "malformed serial number"},
		{name: "version 1", leaf: version(0, false)},
		{name: "version 1 with extensions", leaf: version(0, true), refused: has},
		{name: "version 2", leaf: version(1, false)},
		{name: "version 2 with extensions", leaf: version(1, true), refused: has},
		{name: "version 4", leaf: version(3, true), refused: "invalid version"},
		{name: "version 3 without extensions", leaf: version(2, false)},
		{name: "issuer of version 1", issuer: version(0, false)},
		{name: "issuer of version 1 with extensions", issuer: version(0, true), noted: has},
		{name: "more after it", der: func(der []byte) []byte { return append(der, 0) }, refused: "trailing data"},
		{name: "cut short", der: func(der []byte) []byte { return der[:len(der)-1] }, refused: "malformed certificate"},
		{name: "more within it", der: func(der []byte) []byte { return tlv(tagSequence, der[4:], tlv(5)) }, refused: more},
		{name: "with unique identifiers", leaf: unique(0x81, 0x82)},
		{name: "with odd unique identifiers", leaf: unique(0xa1), refused: "unique identifier"},
		{name: "empty", der: func([]byte) []byte { return nil }, refused: "malformed certificate"},
	}
}

func oddExtensions() []oddity {
	unknown := with(99, false, nil)
	truth := func(b byte) []byte { return tlv(tagSequence, tlv(tagBoolean, []byte{b})) }
	named := func(name []byte) []byte { return tlv(tagSequence, tlv(0xa0, tlv(tagSequence, name))) }
	return []oddity{
		{name: "unknown, critical", leaf: with(99, true, tlv(5))},
		{name: "unknown of the issuer, critical", issuer: with(99, true, tlv(5))},
		{name: "unknown twice", leaf: func(c *Certificate) {
			unknown(c)
			c.Extensions = append(c.Extensions, c.Extensions[len(c.Extensions)-1])
		}, refused: "duplicate extension", envoyTakes: true},
		{name: "basic constraints: false", leaf: with(basicConstraints, true, truth(0))},
		{name: "basic constraints: neither true nor false", leaf: with(basicConstraints, true, truth(1)), refused: "invalid basic constraints", envoyTakes: true},
		{name: "basic constraints: a length, no authority", leaf: with(basicConstraints, true, tlv(tagSequence, tlv(tagInteger, []byte{0})))},
		{name: "garbage as basic constraints", leaf: with(basicConstraints, true, garbage()), refused: "invalid basic constraints", envoyTakes: true},
		{name: "garbage as basic constraints of the issuer", issuer: with(basicConstraints, true, garbage()), noted: "invalid basic constraints"},
		{name: "name constraints", leaf: with(nameConstraints, true, named(dns("x.test")))},
		{name: "name constraints of the issuer on others", issuer: with(nameConstraints, true, named(dns("x.test")))},
		{name: "name constraints without content", leaf: with(nameConstraints, true, tlv(tagSequence)), refused: "empty name constraints", envoyTakes: true},
		{name: "garbage as name constraints", leaf: with(nameConstraints, true, garbage()), refused: "invalid NameConstraints", envoyTakes: true},
		{name: "key id of another issuer", leaf: with(authorityKeyID, false, tlv(tagSequence, tlv(0x80, []byte("another"))))},
		{name: "garbage as key id of the issuer", leaf: with(authorityKeyID, false, garbage()), refused: "invalid authority key identifier", envoyTakes: true},
		{name: "garbage as key id", leaf: with(subjectKeyID, false, garbage()), refused: "invalid subject key identifier", envoyTakes: true},
		{name: "garbage as revocation lists", leaf: with(revocationLists, false, garbage()), refused: "invalid CRL distribution points", envoyTakes: true},
		{name: "garbage as policies", leaf: with(policies, false, garbage()), refused: "invalid certificate policies", envoyTakes: true},
		{name: "garbage as access to the issuer", leaf: withOID(oidInfoAccess, false, garbage()), refused: "invalid authority info access", envoyTakes: true},
		{name: "garbage as timestamps", leaf: withOID(oidTransparency, false, garbage())},
		{name: "not for use (precertificate)", leaf: withOID(oidPoison, true, tlv(5))},
	}
}

func datesOf(tag byte, from, to string) func(*Certificate) {
	return func(c *Certificate) { c.Validity = raw(tlv(tagSequence, tlv(tag, []byte(from)), tlv(tag, []byte(to)))) }
}

func oddDates() []oddity {
	year := func(from, to int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(from, 0, 0), time.Now().AddDate(to, 0, 0)
		}
	}
	const utc, general = "malformed UTCTime", "malformed GeneralizedTime"
	return []oddity{
		{name: "expired", template: year(-2, -1)},
		{name: "not valid yet", template: year(1, 2)},
		{name: "ends before it begins", leaf: datesOf(tagUTCTime, "300101000000Z", "200101000000Z")},
		{name: "of all times", leaf: datesOf(tagTime, "00000101000000Z", "99991231235959Z")},
		{name: "long form before 2050", leaf: datesOf(tagTime, "20200101000000Z", "20400101000000Z")},
		{name: "no seconds", leaf: datesOf(tagUTCTime, "2001010000Z", "4001010000Z"), refused: "has no seconds"},
		{name: "no seconds, of another zone", leaf: datesOf(tagUTCTime, "2001010000+0100", "4001010000+0100"), refused: "has no seconds"},
		{name: "of another zone", leaf: datesOf(tagUTCTime, "200101000000+0100", "400101000000-0100")},
		{name: "of no zone", leaf: datesOf(tagUTCTime, "200101000000", "400101000000"), refused: utc},
		{name: "long form of another zone", leaf: datesOf(tagTime, "20200101000000+0100", "20400101000000+0100"), refused: "not in UTC"},
		{name: "parts of a second", leaf: datesOf(tagTime, "20200101000000.5Z", "20400101000000.5Z"), refused: general},
		{name: "month 13", leaf: datesOf(tagUTCTime, "201301000000Z", "401301000000Z"), refused: utc},
		{name: "30 February", leaf: datesOf(tagUTCTime, "200230000000Z", "400230000000Z"), refused: utc},
		{name: "hour 24", leaf: datesOf(tagUTCTime, "200101240000Z", "400101240000Z"), refused: utc},
		{name: "garbage as dates", leaf: datesOf(tagUTCTime, "x", "y"), refused: utc},
	}
}

func signedBy(oid ...int) func(*Certificate) {
	return func(c *Certificate) { c.Algorithm = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier(oid)} }
}

// oddSignatures have none that can be verified: Relay does not know their issuer.
func oddSignatures() []oddity {
	const missing = "is missing"
	return []oddity{
		{name: "SHA-1", leaf: signedBy(1, 2, 840, 10045, 4, 1), noted: missing},
		{name: "MD5", leaf: signedBy(1, 2, 840, 113549, 1, 1, 4), noted: missing},
		{name: "PSS", leaf: signedBy(1, 2, 840, 113549, 1, 1, 10), noted: missing},
		{name: "unknown algorithm", leaf: signedBy(1, 2, 3, 4), noted: missing},
		{name: "unknown algorithm of the issuer", issuer: signedBy(1, 2, 3, 4)},
		{name: "broken signature", der: func(der []byte) []byte { der[len(der)-1] ^= 1; return der }, noted: missing},
		{name: "another algorithm within", der: func(der []byte) []byte {
			sha256 := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}
			der[bytes.LastIndex(der, sha256)+len(sha256)-1] = 3
			return der
		}, refused: "don't match", envoyTakes: true},
	}
}

// oddTexts are usual certificates in odd texts.
func oddTexts() []oddity {
	label := func(as string) func(*Odd) {
		return func(o *Odd) { o.Leaf = bytes.ReplaceAll(o.Leaf, []byte("CERTIFICATE"), []byte(as)) }
	}
	lines := func(old, new string) func(*Odd) {
		return func(o *Odd) { o.Leaf = bytes.ReplaceAll(o.Leaf, []byte(old), []byte(new)) }
	}
	const cannot = "cannot be decoded"
	return []oddity{
		{name: "headers", text: lines("BEGIN CERTIFICATE-----\n", "BEGIN CERTIFICATE-----\nSubject: odd\n\n")},
		{name: "X509 CERTIFICATE", text: label("X509 CERTIFICATE")},
		{name: "TRUSTED CERTIFICATE", text: label("TRUSTED CERTIFICATE"), refused: "unknown type", envoyTakes: true},
		{name: "PKCS7", text: label("PKCS7"), refused: "unknown type"},
		{name: "byte order mark", text: func(o *Odd) { o.Leaf = append([]byte("\xef\xbb\xbf"), o.Leaf...) }},
		{name: "Windows lines", text: lines("\n", "\r\n")},
		{name: "old Macintosh lines", text: lines("\n", "\r"), refused: cannot},
		{name: "indented", text: func(o *Odd) { o.Leaf = bytes.ReplaceAll(append([]byte("  "), o.Leaf...), []byte("\n"), []byte("\n  ")) }, refused: cannot},
		{name: "no end", text: func(o *Odd) { o.Leaf = o.Leaf[:len(o.Leaf)-20] }, refused: cannot},
		{name: "issuer without an end", text: func(o *Odd) { o.Chain = o.Chain[:len(o.Chain)-20] }, noted: cannot},
		{name: "no PEM", text: func(o *Odd) { b, _ := pem.Decode(o.Leaf); o.Leaf = b.Bytes }, refused: "belongs to none"},
		{name: "issuer first", text: func(o *Odd) { o.Leaf, o.Chain = o.Chain, o.Leaf }},
		{name: "all twice", text: func(o *Odd) { o.Chain = Join(o.Chain, o.Leaf, o.Chain) }},
		{name: "issuer 90 times", text: func(o *Odd) { o.Chain = bytes.Repeat(o.Chain, 90) }},
		{name: "issuer 100 times", text: func(o *Odd) { o.Chain = bytes.Repeat(o.Chain, 100) }, refused: "more than 100", envoyTakes: true},
	}
}
