package certstest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"strings"
)

// The extensions of RFC 5280, as numbers below 2.5.29.
const (
	subjectKeyID, keyUsage, altNames, basicConstraints, nameConstraints = 14, 15, 17, 19, 30
	revocationLists, policies, authorityKeyID, extendedKeyUsage         = 31, 32, 35, 37
)

var (
	oidFeature      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
	oidInfoAccess   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	oidTransparency = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidPoison       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
)

func with(id int, critical bool, value []byte) func(*Certificate) {
	return withOID(append(asn1.ObjectIdentifier{2, 5, 29}, id), critical, value)
}

func withOID(id asn1.ObjectIdentifier, critical bool, value []byte) func(*Certificate) {
	return func(c *Certificate) { c.put(pkix.Extension{Id: id, Critical: critical, Value: value}) }
}

func without(id int) func(*Certificate) { return func(c *Certificate) { c.drop(id) } }

func both(a, b func(*Certificate)) func(*Certificate) {
	return func(c *Certificate) { a(c); b(c) }
}

func garbage() []byte { return []byte("x") }

func usage(bits ...byte) func(*Certificate) { return with(keyUsage, true, tlv(tagBits, bits)) }

func feature(numbers ...byte) []byte {
	var list []byte
	for _, n := range numbers {
		list = append(list, tlv(tagInteger, []byte{n})...)
	}
	return tlv(tagSequence, list)
}

// oddUses are certificates for uses that are not those of a server.
func oddUses() []oddity {
	rsaKey := rsaOf(2048, 1037, 309, 65537)
	const lacks = "lacks digitalSignature"
	return []oddity{
		{name: "must-staple", leaf: withOID(oidFeature, false, feature(5)), refused: "must-staple"},
		{name: "must-staple, critical", leaf: withOID(oidFeature, true, feature(5)), refused: "must-staple"},
		{name: "must-staple of both versions", leaf: withOID(oidFeature, false, feature(17, 5)), noted: "must-staple"},
		{name: "must-staple of version 2", leaf: withOID(oidFeature, false, feature(17))},
		{name: "another feature", leaf: withOID(oidFeature, false, feature(9))},
		{name: "no feature", leaf: withOID(oidFeature, false, feature())},
		{name: "garbage as features", leaf: withOID(oidFeature, false, garbage())},
		{name: "nothing as features", leaf: withOID(oidFeature, false, nil)},
		{name: "must-staple of the issuer", issuer: withOID(oidFeature, false, feature(5))},
		{name: "no key usage", leaf: without(keyUsage)},
		{name: "key usage of key exchange", leaf: usage(3, 0x28), refused: lacks},
		{name: "key usage of key exchange, not critical", leaf: with(keyUsage, false, tlv(tagBits, []byte{3, 0x28})), refused: lacks},
		{name: "key usage of an authority", leaf: usage(2, 0x04), refused: lacks},
		{name: "key usage without bits", leaf: usage(0), refused: lacks},
		{name: "key usage of zero", leaf: usage(0, 0), refused: lacks},
		{name: "key usage of two bytes", leaf: usage(7, 0x80, 0x80)},
		{name: "key usage without content", leaf: usage(), refused: "invalid key usage"},
		{name: "key usage with unused bits", leaf: usage(7, 0xff), refused: "invalid key usage"},
		{name: "garbage as key usage", leaf: with(keyUsage, true, garbage()), refused: "invalid key usage"},
		{name: "more after the key usage", leaf: with(keyUsage, true, []byte{tagBits, 2, 7, 0x80, 0}), refused: "key usage of the certificate is malformed"},
		{name: "RSA, key usage of key exchange", key: rsaKey, leaf: usage(5, 0x20), noted: lacks},
		{name: "RSA, key usage of an authority", key: rsaKey, leaf: usage(2, 0x04), noted: lacks},
		{name: "RSA, key usage without bits", key: rsaKey, leaf: usage(0), noted: lacks},
		{name: "RSA, more after the key usage", key: rsaKey, leaf: with(keyUsage, true, []byte{tagBits, 2, 7, 0x80, 0})},
		{name: "RSA, key usage of signatures", key: rsaKey, leaf: usage(7, 0x80)},
		{name: "key usage of the issuer", issuer: usage(2, 0x04)},
		{name: "for clients", template: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }},
		{name: "no extended key usage", leaf: without(extendedKeyUsage)},
		{name: "extended key usage of nothing", leaf: with(extendedKeyUsage, false, tlv(tagSequence))},
		{name: "garbage as extended key usage", leaf: with(extendedKeyUsage, false, garbage()), refused: "invalid extended key usages", envoyTakes: true},
		{name: "of an authority", template: func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign }},
		{name: "no basic constraints", leaf: without(basicConstraints)},
		{name: "the issuer is no authority", issuer: with(basicConstraints, true, tlv(tagSequence))},
	}
}

func name(tag byte, value string) []byte { return tlv(tagSequence, relativeName(tag, value)) }

func relativeName(tag byte, value string) []byte {
	return tlv(tagSet, tlv(tagSequence, tlv(tagOID, []byte{0x55, 4, 3}), tlv(tag, []byte(value))))
}

func subject(tag byte, value string) func(*Certificate) {
	return func(c *Certificate) { c.Subject = raw(name(tag, value)) }
}

func subjectOf(parts ...[]byte) func(*Certificate) {
	return func(c *Certificate) { c.Subject = raw(tlv(tagSequence, parts...)) }
}

func oddSubjects() []oddity {
	const parser, unsupported = "invalid RDNSequence", "unsupported string type"
	empty := relativeName(tagUTF8, "")
	return []oddity{
		{name: "no subject", leaf: subjectOf()},
		{name: "no issuer", leaf: func(c *Certificate) { c.Issuer = raw(tlv(tagSequence)) }, noted: "missing"},
		{name: "subject in UTF-16", leaf: subject(tagBMP, "\x00a\x00.\x00t")},
		{name: "subject in half of UTF-16", leaf: subject(tagBMP, "\x00a\x00"), refused: parser},
		{name: "subject in T.61", leaf: subject(tagTeletex, "a\xe9")},
		{name: "subject in UTF-32", leaf: subject(tagUniversal, "\x00\x00\x00a"), refused: unsupported, envoyTakes: true},
		{name: "subject in broken UTF-8", leaf: subject(tagUTF8, "a\xff"), refused: parser},
		{name: "subject in broken PrintableString", leaf: subject(tagPrintable, "a_b@c"), refused: parser, envoyTakes: true},
		{name: "subject in broken ASCII", leaf: subject(tagIA5, "a\xe9"), refused: parser, envoyTakes: true},
		{name: "subject that is a number", leaf: subject(tagInteger, "\x01"), refused: unsupported, envoyTakes: true},
		{name: "subject in bytes", leaf: subject(tagOctets, "abc"), refused: unsupported, envoyTakes: true},
		{name: "subject with NUL", leaf: subject(tagUTF8, "a\x00b")},
		{name: "long common name", leaf: subject(tagUTF8, strings.Repeat("a", 300))},
		{name: "common name empty", leaf: subject(tagUTF8, ""), refused: "common name of the certificate is empty"},
		{name: "first of two common names empty", leaf: subjectOf(empty, relativeName(tagUTF8, "a")), refused: "common name of the certificate is empty"},
		{name: "second of two common names empty", leaf: subjectOf(relativeName(tagUTF8, "a"), empty)},
		{name: "common name empty, no alternative", leaf: both(without(altNames), subject(tagUTF8, "")), refused: "common name of the certificate is empty"},
		{name: "neither subject nor alternative", leaf: both(without(altNames), subjectOf()), refused: "neither a common name nor"},
		{name: "subject that is no domain, no alternative", leaf: both(without(altNames), subject(tagUTF8, "My Server")), noted: "no server name"},
		{name: "part of the subject empty", leaf: subjectOf(tlv(tagSet)), refused: "the subject: a part of the name is empty", oldEnvoyTakes: true},
		{name: "part of the issuer empty", leaf: func(c *Certificate) { c.Issuer = raw(tlv(tagSequence, tlv(tagSet))) }, refused: "the issuer: a part of the name is empty", oldEnvoyTakes: true},
		{name: "more in the subject", leaf: subjectOf(tlv(tagSet, tlv(tagSequence, tlv(tagOID, []byte{0x55, 4, 3}), tlv(tagUTF8, []byte("a")), tlv(5)))), refused: "the subject: it has more data"},
		{name: "garbage as subject", leaf: func(c *Certificate) { c.Subject = raw(tlv(tagOctets, garbage())) }, refused: "malformed"},
	}
}

func dns(s string) []byte { return tlv(0x82, []byte(s)) }

func alternatives(list ...[]byte) func(*Certificate) {
	return with(altNames, false, tlv(tagSequence, list...))
}

func oddAltNames() []oddity {
	good := dns("odd.test")
	const ignored = "not a valid domain name"
	return []oddity{
		{name: "NUL in a name", leaf: alternatives(dns("odd.test\x00.evil.test"), good), noted: ignored},
		{name: "spaces around a name", leaf: alternatives(dns(" odd.test ")), noted: ignored},
		{name: "an empty name", leaf: alternatives(dns(""), good), noted: ignored},
		{name: "a long name", leaf: alternatives(dns(strings.Repeat("a", 300)+".test"), good), noted: ignored},
		{name: "a dot", leaf: alternatives(dns("."), good), noted: ignored},
		{name: "odd wildcards", leaf: alternatives(dns("*.*.test"), dns("*."), dns("*.test")), noted: "first label"},
		{name: "a name twice", leaf: alternatives(good, dns("ODD.test"), good)},
		{name: "1000 names", template: func(c *x509.Certificate) {
			for i := range 1000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("n%d.test", i))
			}
		}},
		{name: "a name in UTF-8", leaf: alternatives(dns("b\xc3\xbccher.test"), good), refused: "SAN dNSName is malformed", envoyTakes: true},
		{name: "only an IP address", template: func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{1, 2, 3, 4}} }, noted: "no server name"},
		{name: "only an IP address, no subject", leaf: both(subjectOf(), alternatives(tlv(0x87, []byte{1, 2, 3, 4}))), noted: "no server name"},
		{name: "only an e-mail address, no subject", leaf: both(subjectOf(), alternatives(tlv(0x81, []byte("a@odd.test")))), refused: "neither a common name nor"},
		{name: "only a directory name, no subject", leaf: both(subjectOf(), alternatives(tlv(0xa4, name(tagUTF8, "x")))), refused: "neither a common name nor"},
		{name: "no names, no subject", leaf: both(subjectOf(), alternatives()), refused: "neither a common name nor"},
		{name: "only a URI, no subject", leaf: both(subjectOf(), alternatives(tlv(0x86, []byte("https://odd.test/")))), noted: "no server name"},
		{name: "only an empty name, no subject", leaf: both(subjectOf(), alternatives(dns(""))), noted: "no server name"},
		{name: "only a name of another kind, no subject", leaf: both(subjectOf(), alternatives(tlv(0xa0, tlv(tagOID, []byte{0x2a, 3}), tlv(0xa0, tlv(tagUTF8, []byte("x")))))), refused: "neither a common name nor"},
		{name: "no names", leaf: alternatives()},
		{name: "IP address of five bytes", leaf: alternatives(tlv(0x87, []byte{1, 2, 3, 4, 5}), good), refused: "IP address of length 5", envoyTakes: true},
		{name: "URI", leaf: alternatives(tlv(0x86, []byte("https://odd.test/")), good)},
		{name: "odd URI", leaf: alternatives(tlv(0x86, []byte("https://a b/")), good), refused: "cannot parse URI", envoyTakes: true},
		{name: "e-mail address in UTF-8", leaf: alternatives(tlv(0x81, []byte("\xc3\xbc@odd.test")), good), refused: "rfc822Name is malformed", envoyTakes: true},
		{name: "garbage as directory name", leaf: alternatives(tlv(0xa4, garbage()), good)},
		{name: "garbage as another name", leaf: alternatives(tlv(0xa0, garbage()), good)},
		{name: "name of an unknown kind", leaf: alternatives(tlv(0x89, garbage()), good)},
		{name: "garbage as names", leaf: with(altNames, false, garbage()), refused: "invalid subject alternative names", envoyTakes: true},
		{name: "more after the names", leaf: with(altNames, false, append(tlv(tagSequence, good), 0))},
		{name: "names, critical", leaf: with(altNames, true, tlv(tagSequence, good))},
		{name: "names twice", leaf: func(c *Certificate) {
			c.Extensions = append(c.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, altNames}, Value: tlv(tagSequence, good)})
		}, refused: "duplicate extension", envoyTakes: true},
	}
}
