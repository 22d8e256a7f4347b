package envoy_test

import (
	"crypto/x509"
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
			_ = e.letsIn(t, port, named("A.Dev.test"))
			for _, other := range []string{"*.dev.test", "b.a.dev.test", "a.dev.test.other", "axdev.test"} {
				if conn, err := e.connect(port, named(other)); err == nil {
					t.Errorf("%s is let in: %q", other, conn.told)
				}
			}
			if n := server.accepted.Load(); n != 2 {
				t.Errorf("the server saw %d connections", n)
			}
		})
	}
}
