package envoy_test

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"testing"
	"time"

	"relay/certs"
	"relay/sources"
	"relay/xds/envoytest"
)

// Kinds of subject alternative names: https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6.
const emailName, dnsName, uriName = 1, 2, 6

// oddDevice signs a certificate with names that crypto/x509 would not write, nor read.
func (ca *deviceCA) oddDevice(t *testing.T, kind int, names ...string) tls.Certificate {
	t.Helper()
	var all []asn1.RawValue
	for _, name := range names {
		all = append(all, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: kind, Bytes: []byte(name)})
	}
	value, err := asn1.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	usual := ca.device(t, nil)
	template := *usual.Leaf
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.certificate, usual.Leaf.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: usual.PrivateKey}
}

// below is an authority between, with what its own issuer allows it.
func (ca *deviceCA) below(t *testing.T, name string, allows func(*x509.Certificate)) *deviceCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	allows(template)
	between := &deviceCA{issuer: ca}
	between.certificate, between.key = signDevice(t, template, ca)
	return between
}

// Names are compared whole, with their kind, and byte by byte. What an authority between may sign counts, and nobody
// but an authority signs.
func TestOddCertificatesOfDevices(t *testing.T) {
	t.Parallel()
	for _, version := range []string{envoytest.Newest, "1.37"} {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			server, ca := e.deviceServer(), newDeviceCA(t, "devices", nil)
			byName := []sources.ClientName{
				{Type: sources.NameURI, Value: acme + "1"}, {Type: sources.NameDNS, Value: "a.dev.test"}, {Type: sources.NameDNS, Value: "dev", Prefix: true},
				{Type: sources.NameEmail, Value: "a@dev.test"},
			}
			port := envoytest.FreePort(t)
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, sources.ServiceTLS{ClientCA: "devices", ClientNames: byName}, server, "dev.test"))
			named := func(kind int, names ...string) client { return as(ca.oddDevice(t, kind, names...)) }
			_ = e.letsIn(t, port, as(ca.device(t, nil, acme+"1")))
			for name, c := range map[string]client{
				"the name": named(uriName, acme+"1"), "a name of DNS": named(dnsName, "a.dev.test"), "one that begins so": named(dnsName, "device-evil"), "an address": named(emailName, "a@dev.test"),
				"one of several": named(uriName, "other:1", acme+"1"),
				"an authority that may sign it": as(ca.below(t, "b", func(c *x509.Certificate) {
					c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"lab.test"}, true
				}).device(t, nil, acme+"1")),
			} {
				conn, err := e.connect(port, c)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if conn.told["e2"] != fingerprintOf(c.shown[0]) {
					t.Errorf("%s: told %q", name, conn.told)
				}
			}
			before := server.accepted.Load()
			device := ca.device(t, nil, acme+"1")
			bySigned := &deviceCA{certificate: device.Leaf, key: device.PrivateKey.(crypto.Signer), issuer: ca}
			for name, c := range map[string]client{
				"NUL and more":             named(uriName, acme+"1\x00"),
				"a NUL before the end":     named(uriName, acme+"1\x00/evil"),
				"a line after it":          named(uriName, acme+"1\n"),
				"more before it":           named(uriName, "x"+acme+"1"),
				"in capitals":              named(uriName, "SPIFFE://lab.test/tenant/acme/1"),
				"DNS with NUL":             named(dnsName, "a.dev.test\x00.evil.test"),
				"DNS with a line":          named(dnsName, "a.dev.test\n"),
				"DNS with a dot":           named(dnsName, "a.dev.test."),
				"DNS wildcard":             named(dnsName, "*.dev.test"),
				"DNS in capitals":          named(dnsName, "A.dev.test"),
				"all wildcards":            named(dnsName, "*"),
				"a prefix as another kind": named(uriName, "device"),
				"URI as DNS":               named(dnsName, acme+"1"),
				"URI as an address":        named(emailName, acme+"1"),
				"DNS as URI":               named(uriName, "a.dev.test"),
				"an address as DNS":        named(dnsName, "a@dev.test"),
				"two names in one":         named(uriName, acme+"2,"+acme+"1"),
				"the name in the subject":  as(ca.device(t, func(c *x509.Certificate) { c.Subject.CommonName = "a.dev.test" })),
				"an IP address":            as(ca.device(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("127.0.0.1")} })),
				"signed by a device":       as(bySigned.device(t, nil, acme+"1")),
				"an authority of other names": as(ca.below(t, "b", func(c *x509.Certificate) {
					c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"other.test"}, true
				}).device(t, nil, acme+"1")),
				"an authority of all but these": as(ca.below(t, "b", func(c *x509.Certificate) {
					c.ExcludedDNSDomains, c.PermittedDNSDomainsCritical = []string{"dev.test"}, true
				}).device(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.dev.test"} })),
				"too long a chain":            as(ca.below(t, "b", func(c *x509.Certificate) { c.MaxPathLenZero = true }).below(t, "c", func(*x509.Certificate) {}).device(t, nil, acme+"1")),
				"an authority for servers":    as(ca.below(t, "b", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }).device(t, nil, acme+"1")),
				"an authority that has ended": as(ca.below(t, "b", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).device(t, nil, acme+"1")),
				"an extension nobody knows": as(ca.device(t, func(c *x509.Certificate) {
					c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
				}, acme+"1")),
			} {
				for _, newest := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					c.change = func(config *tls.Config) { config.MaxVersion = newest }
					if conn, err := e.connect(port, c); err == nil {
						t.Errorf("%s, TLS %x: let in, and the server is told %q", name, newest, conn.told)
					}
				}
			}
			if n := server.accepted.Load(); n != before {
				t.Errorf("the server saw %d strangers", n-before)
			}
		})
	}
}
