package envoy_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"relay/certs"
	"relay/sources"
	"relay/xds/envoytest"
)

// A client is let in by a name that its certificate has, and not by a wildcard above it: who may call
// itself *.dev.test is not a.dev.test.
func TestClientNamesOfDNS(t *testing.T) {
	t.Parallel()
	for _, version := range []string{envoytest.Newest, "1.37"} {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
			asked := sources.ServiceTLS{ClientCA: "devices", ClientNames: []sources.ClientName{{Type: sources.NameDNS, Value: "a.dev.test"}}}
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, asked, server, "dev.test"))
			named := func(name string) client {
				return as(ca.device(t, func(c *x509.Certificate) { c.DNSNames = []string{name} }))
			}
			_ = e.letsIn(t, port, named("a.dev.test"))
			for _, other := range []string{"*.dev.test", "b.a.dev.test", "a.dev.test.other", "axdev.test", "A.Dev.test"} {
				if conn, err := e.connect(port, named(other)); err == nil {
					t.Errorf("%s is let in: %q", other, conn.told)
				}
			}
			if n := server.accepted.Load(); n != 1 {
				t.Errorf("the server saw %d connections", n)
			}
			// The longest names that there may be, of letters for which ignoring case takes most.
			long := strings.Repeat("sk", 31) + ".kiosks.sensors.ks"
			asked.ClientNames = []sources.ClientName{{Type: sources.NameDNS, Value: long}}
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, asked, server, "dev.test"))
			_ = e.letsIn(t, port, named(long))
			if conn, err := e.connect(port, named("a.dev.test")); err == nil {
				t.Errorf("the name of before is let in: %q", conn.told)
			}
		})
	}
}

// Values that do not fit into 64 kB are left out, and nothing of them is taken for what the client says. Envoy 1.37
// writes such a header wrong: who reads it strictly takes no such connection.
func TestNamesThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[:4] {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, acmeOnly, server, "dev.test"))
			_ = e.letsIn(t, port, as(ca.device(t, nil, acme+"1")))
			for _, tt := range []struct{ uris, names int }{{400, 400}, {900, 0}} {
				device := ca.device(t, func(c *x509.Certificate) {
					for n := range tt.names {
						c.DNSNames = append(c.DNSNames, fmt.Sprintf("d%d.%s.%s", n, strings.Repeat("y", 60), strings.Repeat("z", 30)))
					}
				}, manyNames(tt.uris)...)
				conn, err := e.connect(port, client{shown: []tls.Certificate{device}, inside: forgedHeader()})
				if version == "1.37" {
					if err == nil {
						t.Errorf("%+v: told %.200q", tt, conn.told)
					}
					continue
				}
				if err != nil {
					t.Errorf("%+v: %v", tt, err)
					continue
				}
				if uris, names := conn.told["e0"], conn.told["e4"]; conn.told["e2"] != fingerprintOf(device) || names != "" || (uris != "") != (tt.uris == 400) {
					t.Errorf("%+v: told %d bytes of URIs and %d of names, and %q", tt, len(uris), len(names), conn.told["e2"])
				}
			}
		})
	}
}

// manyNames are so many URIs, of a hundred bytes each.
func manyNames(count int) (names []string) {
	for n := range count {
		names = append(names, fmt.Sprintf("%s%d/%s", acme, n, strings.Repeat("x", 67)))
	}
	return names
}
