package envoy_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/proxytlv"
	"relay/sources"
	"relay/xds/envoytest"
)

const acme = "spiffe://lab.test/tenant/acme/"

var acmeOnly = sources.ServiceTLS{ClientCA: "devices", ClientNames: []sources.ClientName{{Type: sources.NameURI, Value: acme, Prefix: true}}}

// withoutHTTPS has no listener that changes with certificates.
func withoutHTTPS(f *routing.Fleet, _ *certstest.CA) {
	f.HTTPS, f.HTTPSPublicPort = netip.AddrPort{}, 0
}

// sync has Envoy serve some services of devices.
func (e *realEnvoy) sync(authorities []*certs.Authority, apps ...*sources.App) {
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("dev", "dev.test"), e.certificate("wild", "*.wild.test")}, nil)
	e.c.SyncAuthorities("vault", authorities, nil)
	e.c.SyncApps(apps)
}

// Who has no certificate that is asked for reaches no server: it does not even see a connection. Nor
// does a server that speaks first say anything to such a client.
func TestStrangersReachNoServer(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[:len(envoytest.AllVersions())-1] { // the oldest opens no port
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			port, server := envoytest.FreePort(t), e.deviceServer()
			ca, other := newDeviceCA(t, "devices", nil), newDeviceCA(t, "devices", nil)
			revoked := ca.device(t, nil, acme+"9")
			e.sync([]*certs.Authority{authorityOf("devices", ca.list(t, time.Now().Add(time.Hour), revoked.Leaf), ca)}, deviceApp("/devices", port, acmeOnly, server, "dev.test"))
			good := as(ca.device(t, nil, acme+"1"))
			_ = e.letsIn(t, port, good)
			dated := func(from, to time.Duration) func(*x509.Certificate) {
				return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
			}
			alike := *ca.device(t, nil, acme+"1").Leaf
			alike.PublicKey = nil
			self, key := signDevice(t, &alike, nil)
			for name, c := range map[string]client{
				"no certificate":       {},
				"a stranger":           as(other.device(t, nil, acme+"1")),
				"signed by itself":     as(tls.Certificate{Certificate: [][]byte{self.Raw}, PrivateKey: key}),
				"expired":              as(ca.device(t, dated(-time.Hour, -time.Minute), acme+"1")),
				"not valid yet":        as(ca.device(t, dated(time.Hour, 2*time.Hour), acme+"1")),
				"revoked":              as(revoked),
				"of another tenant":    as(ca.device(t, nil, "spiffe://lab.test/tenant/acme2/1")),
				"without names":        as(ca.device(t, nil)),
				"the name as DNS":      as(ca.device(t, func(c *x509.Certificate) { c.DNSNames = []string{"lab.test"} })),
				"for servers":          as(ca.device(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, acme+"1")),
				"a PROXY header first": {shown: good.shown, before: proxyV1("203.0.113.7", 80)},
				"version 2 of it":      {shown: good.shown, before: proxyV2("203.0.113.7", 80)},
				"plain text":           {before: "hello\r\n\r\n"},
				"an earlier TLS":       {shown: good.shown, change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }},
			} {
				for _, newest := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					c := c
					if c.change == nil {
						c.change = func(config *tls.Config) { config.MaxVersion = newest }
					}
					if conn, err := e.connect(port, c); err == nil {
						t.Errorf("%s, TLS %x: let in, and the server is told %q", name, newest, conn.told)
					}
				}
			}
			conn := e.letsIn(t, port, good)
			if err := conn.alive(); err != nil {
				t.Error(err)
			}
			if n := server.accepted.Load(); n != 2 {
				t.Errorf("the server saw %d connections, want those 2 that are let in", n)
			}
		})
	}
}

// The server is told who connects, in values that no client can forge: neither by a header of its own
// within TLS, nor by a proxy in front that has such values.
func TestWhoConnects(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[:len(envoytest.AllVersions())-1] {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			port, proxied, server := envoytest.FreePort(t), envoytest.FreePort(t), e.deviceServer()
			ca := newDeviceCA(t, "devices", nil)
			behind := changed(deviceApp("/proxied", proxied, acmeOnly, server, "dev.test"), func(p *sources.Port) { p.TCP.AcceptProxy = true })
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, acmeOnly, server, "dev.test", "*.wild.test"), behind)
			shown := ca.device(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.dev.test", "b.dev.test"} }, acme+"1")
			want := map[string]string{
				"e0": acme + "1", "e1": "CN=device 1,O=Acme\\, Inc.", "e2": fingerprintOf(shown), "e3": "1001", "e4": "a.dev.test,b.dev.test",
				"e6": shown.Leaf.NotAfter.UTC().Format("2006-01-02T15:04:05.000Z"), "e7": "CN=devices",
			}
			check := func(name string, conn *deviceConn, serverName, certificate string) {
				t.Helper()
				for kind, value := range want {
					if conn.told[kind] != value {
						t.Errorf("%s: %s is %q, want %q", name, kind, conn.told[kind], value)
					}
				}
				if got := conn.told["e5"]; got != serverName {
					t.Errorf("%s: the server name is %q, want %q", name, got, serverName)
				}
				if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != certificate {
					t.Errorf("%s: shown the certificate of %s, want %s", name, got, certificate)
				}
			}
			check("no server name", e.letsIn(t, port, as(shown)), "", "dev.test")
			for _, tt := range []struct{ asked, told, certificate string }{
				{"dev.test", "dev.test", "dev.test"}, {"DEV.Test", "dev.test", "dev.test"}, {"x.WILD.test", "x.wild.test", "*.wild.test"}, {"unknown.test", "unknown.test", "dev.test"},
			} {
				check(tt.asked, e.letsIn(t, port, client{shown: []tls.Certificate{shown}, serverName: tt.asked}), tt.told, tt.certificate)
			}
			inside := e.letsIn(t, port, client{shown: []tls.Certificate{shown}, inside: forgedHeader()})
			check("a header within TLS", inside, "", "dev.test")
			if got := make([]byte, len(forgedHeader())); true {
				if _, err := io.ReadFull(inside.lines, got); err != nil || string(got) != forgedHeader() {
					t.Errorf("what the client sent came back as %q, %v", got, err)
				}
			}
			if version == "1.37" {
				if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", proxied)); err == nil {
					_ = conn.Close()
					t.Error("a port at which it cannot be told who connects is open")
				}
				return
			}
			for name, before := range map[string]string{"version 1": proxyV1("203.0.113.7", 80), "version 2": proxyV2("203.0.113.7", 80), "forged values": forgedHeader()} {
				conn := e.letsIn(t, proxied, client{shown: []tls.Certificate{shown}, before: before})
				check(name, conn, "", "dev.test")
				if from, err := netip.ParseAddrPort(conn.told["from"]); err != nil || from.Addr() != netip.MustParseAddr("203.0.113.7") {
					t.Errorf("%s: from %s", name, from)
				}
			}
			if conn, err := e.connect(proxied, client{before: forgedHeader()}); err == nil {
				t.Errorf("forged values let a stranger in: %q", conn.told)
			}
		})
	}
}

// forgedHeader is a header in which a device says that it is another one.
func forgedHeader() string {
	uri := "spiffe://lab.test/tenant/other/1"
	values := string([]byte{byte(proxytlv.URIs), 0, byte(len(uri))}) + uri + string([]byte{byte(proxytlv.Fingerprint), 0, 2, 'a', 'b'})
	header := []byte(proxyV2("203.0.113.7", 80))
	header[15] += byte(len(values))
	return string(header) + values
}

// Envoys that cannot keep strangers from a server open no port for it.
func TestOlderEnvoysOpenNoPort(t *testing.T) {
	t.Parallel()
	e := startVersion(t, envoytest.Oldest)
	port, open, server := envoytest.FreePort(t), envoytest.FreePort(t), e.deviceServer()
	ca := newDeviceCA(t, "devices", nil)
	e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, acmeOnly, server, "dev.test"),
		changed(serviceApp("/open", sources.TCP{Port: open}), func(p *sources.Port) { p.Endpoints = endpoints(e.redis()) }))
	e.opens(t, open)
	e.until(t, "the listener is taken", func() bool {
		text, err := e.envoy.Get(t.Context(), "/listeners")
		return err == nil && strings.Contains(text, routing.TCPListener(port))
	})
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		_ = conn.Close()
		t.Error("the port is open")
	}
	if n := server.accepted.Load(); n != 0 {
		t.Errorf("%d connections reached the server", n)
	}
}

// A service with two kinds of certificates shows each client one that it takes. When the second one comes
// or goes, connections stay.
func TestServiceWithTwoCertificates(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		if version == envoytest.Oldest {
			version = "1.37"
		}
		t.Parallel()
		e := startVersion(t, version, withoutHTTPS)
		port, server := envoytest.FreePort(t), e.deviceServer()
		rsa := e.issue("rsa", certstest.Options{KeyType: certstest.RSA2048}, "dev.test")
		ecdsa := e.issue("ecdsa", certstest.Options{}, "dev.test")
		e.c.SyncAuthorities("vault", nil, nil)
		e.c.SyncCertificates("vault", []*certs.Certificate{ecdsa}, nil)
		e.c.SyncApps([]*sources.App{deviceApp("/devices", port, sources.ServiceTLS{}, server, "dev.test")})
		kind := func(name string, suite uint16) (of client) {
			return client{serverName: name, change: func(c *tls.Config) {
				// A client that takes one kind only, by the versions that it says too.
				c.MinVersion, c.MaxVersion, c.CipherSuites = tls.VersionTLS12, tls.VersionTLS12, []uint16{suite}
			}}
		}
		open := e.letsIn(t, port, kind("dev.test", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256))
		taken := e.listenersTaken(t)
		e.c.SyncCertificates("vault", []*certs.Certificate{ecdsa, rsa}, nil)
		onlyRSA.wantPort(t, e, port, "dev.test")
		e.c.SyncCertificates("vault", []*certs.Certificate{rsa}, nil)
		byRSA := e.letsIn(t, port, kind("", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256))
		if open.told["e2"] != "" || byRSA.told["e5"] != "" {
			t.Errorf("told %q and %q of clients without a certificate", open.told, byRSA.told)
		}
		if err := open.alive(); err != nil {
			t.Error(err)
		}
		if now := e.listenersTaken(t); now != taken {
			t.Errorf("listeners were sent %d times", now-taken)
		}
	})
}

// wantPort waits until openssl, as a client of one kind of keys, has a handshake on a port.
func (c aClient) wantPort(t *testing.T, e *realEnvoy, port uint16, sni string) {
	t.Helper()
	e.fleet.HTTPS = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	e.wantShown(t, c, sni, sni)
}

// With clusters on demand, the first device has Envoy load the cluster of the service. With certificates on
// demand, a secret that is not there is not taken for another one.
func TestServiceTLSOnDemand(t *testing.T) {
	t.Parallel()
	for _, version := range []string{envoytest.Newest, "1.37"} {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startEnvoyWith(t, envoytest.Options{Version: version, ClustersOnDemand: true}, func(f *routing.Fleet, _ *certstest.CA) {
				f.ClustersOnDemand, f.CertificatesOnDemand = true, true
			})
			port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, acmeOnly, server, "dev.test"))
			device := ca.device(t, nil, acme+"1")
			if conn := e.letsIn(t, port, as(device)); conn.told["e2"] != fingerprintOf(device) {
				t.Errorf("told %q", conn.told)
			}
			if conn, err := e.connect(port, client{}); err == nil {
				t.Errorf("a stranger is let in: %q", conn.told)
			}
			if n := server.accepted.Load(); n != 1 {
				t.Errorf("the server saw %d connections", n)
			}
		})
	}
}
