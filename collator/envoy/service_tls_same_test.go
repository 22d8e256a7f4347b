package envoy_test

import (
	"crypto/tls"
	"testing"

	"relay/certs"
	"relay/sources"
	"relay/xds/envoytest"
)

// Connections with one source address are not taken for one another: a proxy in front may name an address again while the
// connection that had it before is open still, such as that of a device that has vanished behind a NAT.
func TestDevicesOfOneAddress(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[:3] { // older ones open no such port
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
			behind := changed(deviceApp("/proxied", port, acmeOnly, server, "dev.test"), func(p *sources.Port) { p.TCP.AcceptProxy = true })
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, behind)
			from := proxyV2("203.0.113.7", 80)
			_ = e.letsIn(t, port, client{shown: []tls.Certificate{ca.device(t, nil, acme+"1")}, before: from})
			for range 20 { // whichever worker of Envoy takes it
				device := ca.device(t, nil, acme+"2")
				conn, err := e.connect(port, client{shown: []tls.Certificate{device}, before: from})
				if err != nil {
					t.Fatal(err)
				}
				if told := conn.told["e2"]; told != fingerprintOf(device) {
					t.Errorf("a device is taken for %s with %s", conn.told["e0"], told)
				}
			}
		})
	}
}
