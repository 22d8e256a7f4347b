package envoy_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

// Addresses of this machine: one is in the networks of proxies of these tests, the other is
// that of anybody.
const (
	proxyAddress  = "127.0.1.5"
	clientAddress = "127.0.0.9"
)

func proxied(f *routing.Fleet, _ *certstest.CA) {
	f.Proxies.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	f.HTTPSPublicPort = 443
}

// restricted is an app that clients of one network may use.
func (e *realEnvoy) restricted() *sources.App {
	return changed(e.app("/office", "office.test"), func(p *sources.Port) {
		p.HTTP = &sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	})
}

func (e *realEnvoy) redirected() *sources.App {
	return changed(e.app("/secure", "secure.test", "*.wild.test"), func(p *sources.Port) { p.RedirectToHTTPS = true })
}

// bySource is an app with two instances, of which each client gets always the same.
func (e *realEnvoy) bySource() *sources.App {
	return changed(e.app("/by-source", "source.test"), func(p *sources.Port) {
		p.HTTP, p.Upstream = &sources.HTTP{Hash: &sources.Hash{By: sources.HashSourceIP}}, &sources.Upstream{Balance: sources.BalanceHash}
		p.Endpoints = endpoints(e.backend("one"), e.backend("two"))
	})
}

// testBySource checks that clients behind one proxy are told apart.
func (e *realEnvoy) testBySource(t *testing.T) {
	seen := make(map[string]string)
	for i := range 40 {
		client := fmt.Sprintf("203.0.113.%d", i%20)
		a, err := e.send(t.Context(), request{host: "source.test", path: "/", from: proxyAddress, header: saysOne("X-Forwarded-For", client)})
		instance, _, _ := strings.Cut(a.body, "\n")
		if before, again := seen[client]; err != nil || a.status != 200 || again && before != instance {
			t.Errorf("%s is answered by %q after %q, status %d, %v", client, instance, before, a.status, err)
		}
		seen[client] = instance
	}
	instances := make(map[string]bool)
	for _, instance := range seen {
		instances[instance] = true
	}
	if len(instances) != 2 {
		t.Errorf("20 clients are answered by %d instances, want 2", len(instances))
	}
}

// told reports whether an app got a header with this value, among others.
func told(a answer, name, value string) bool {
	return strings.Contains(a.body, "\n"+name+": "+value+"\r\n")
}

// saysOne makes a header with one value.
func saysOne(pairs ...string) http.Header {
	header := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		header.Add(pairs[i], pairs[i+1])
	}
	return header
}

func TestTrustedProxies(t *testing.T) {
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := startVersion(t, version, proxied)
		e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("all", "open.test", "office.test", "secure.test")}, nil)
		e.c.SyncApps([]*sources.App{e.app("/open", "open.test"), e.bySource(), e.restricted(), e.redirected(),
			changed(e.app("/root", "root.test"), func(p *sources.Port) { p.HTTP = &sources.HTTP{RootRedirect: "/start"} })})
		e.eventually(t, request{host: "open.test", path: "/"}, fromApp("/open"))
		e.eventually(t, request{host: "open.test", path: "/", tls: true, sni: "open.test"}, fromApp("/open"))
		t.Run("addresses", e.testClientAddresses)
		if version == envoytest.Newest { // filters of a route need it
			t.Run("networks", e.testRestrictedClients)
		}
		t.Run("balancing", e.testBySource)
		t.Run("scheme", e.testForwardedScheme)
		t.Run("port", e.testForwardedPort)
		t.Run("locations", func(t *testing.T) { e.testLocations(t, version) })
	})
}

// testClientAddresses checks whom Envoy takes for the client, and that apps are told so.
func (e *realEnvoy) testClientAddresses(t *testing.T) {
	for _, tt := range []struct{ from, said, client string }{
		{proxyAddress, "203.0.113.7", "203.0.113.7"},
		// Several proxies in a row, and a client that said something before.
		{proxyAddress, "198.51.100.1, 203.0.113.7, 10.1.1.1, 10.2.2.2", "203.0.113.7"},
		{proxyAddress, "198.51.100.1,2001:db8::7,fd00::1", "2001:db8::7"},
		{proxyAddress, "10.3.3.3, 10.1.1.1", "10.3.3.3"},
		{proxyAddress, "", proxyAddress},
		{proxyAddress, "unknown", proxyAddress},
		{proxyAddress, "203.0.113.7, unknown, 10.1.1.1", proxyAddress},
		{clientAddress, "203.0.113.7", clientAddress},
		{clientAddress, "10.1.1.1", clientAddress},
		{clientAddress, "", clientAddress},
	} {
		for _, secure := range []bool{false, true} {
			r := request{host: "open.test", path: "/", tls: secure, sni: "open.test", from: tt.from, header: saysOne(
				"X-Envoy-External-Address", "203.0.113.1", "Forwarded", "for=203.0.113.1", "X-Real-Ip", "203.0.113.1")}
			before := "\nX-Forwarded-For: "
			if tt.said != "" {
				r.header.Set("X-Forwarded-For", tt.said)
				before += tt.said + ","
			}
			a, err := e.send(t.Context(), r)
			if err != nil || !told(a, "X-Envoy-External-Address", tt.client) {
				t.Errorf("from %s with %q by TLS %v: %v; the app is not told of %s: %s", tt.from, tt.said, secure, err, tt.client, a.body)
			}
			// What follows is who connects: for loopback, Envoy puts its own address there.
			last, _, _ := strings.Cut(a.body[strings.Index(a.body, before)+len(before):], "\r\n")
			if _, err := netip.ParseAddr(last); err != nil || !strings.Contains(a.body, before) {
				t.Errorf("from %s with %q by TLS %v: %q is added: %s", tt.from, tt.said, secure, last, a.body)
			}
		}
	}
}

// testRestrictedClients checks who is let in where only some networks are.
func (e *realEnvoy) testRestrictedClients(t *testing.T) {
	for _, tt := range []struct {
		from   string
		header http.Header
		status int
	}{
		{proxyAddress, saysOne("X-Forwarded-For", "203.0.113.7"), 200},
		{proxyAddress, saysOne("X-Forwarded-For", "203.0.113.7, 10.1.1.1"), 200},
		{proxyAddress, saysOne("X-Forwarded-For", "203.0.113.7, 198.51.100.1"), 403},
		{proxyAddress, saysOne("X-Forwarded-For", "203.0.113.7", "X-Forwarded-For", "198.51.100.1"), 403},
		{proxyAddress, saysOne("Forwarded", "for=203.0.113.7"), 403},
		{proxyAddress, saysOne("X-Envoy-External-Address", "203.0.113.7", "X-Real-Ip", "203.0.113.7", "True-Client-Ip", "203.0.113.7"), 403},
		{clientAddress, saysOne("X-Forwarded-For", "203.0.113.7"), 403},
		{clientAddress, saysOne("X-Forwarded-For", "203.0.113.7, "+proxyAddress), 403},
		{clientAddress, saysOne("Forwarded", "for=203.0.113.7", "X-Envoy-External-Address", "203.0.113.7"), 403},
	} {
		for _, secure := range []bool{false, true} {
			r := request{host: "office.test", path: "/", tls: secure, sni: "office.test", from: tt.from, header: tt.header}
			if a, err := e.send(t.Context(), r); err != nil || a.status != tt.status {
				t.Errorf("from %s with %v by TLS %v: status %d, %v; want %d", tt.from, tt.header, secure, a.status, err, tt.status)
			}
		}
	}
}

// testForwardedScheme checks that a redirect to HTTPS ends where TLS ends before Envoy, and
// that only a trusted proxy can say so.
func (e *realEnvoy) testForwardedScheme(t *testing.T) {
	for _, tt := range []struct {
		from, said string
		served     bool
	}{
		{proxyAddress, "https", true},
		{proxyAddress, "wss", true},
		{proxyAddress, "HTTPS", true},
		{proxyAddress, "http", false},
		{proxyAddress, "HTTP", false},
		{proxyAddress, "", false},
		{clientAddress, "https", false},
		{clientAddress, "wss", false},
		{clientAddress, "", false},
	} {
		r := request{host: "secure.test", path: "/x?y", from: tt.from, header: saysOne("Forwarded", "proto=https", "X-Forwarded-Port", "443")}
		if tt.said != "" {
			r.header.Set("X-Forwarded-Proto", tt.said)
		}
		a, err := e.send(t.Context(), r)
		switch {
		case err != nil:
			t.Error(err)
		case tt.served && (!fromApp("/secure")(a) || !told(a, "X-Forwarded-Proto", tt.said)):
			t.Errorf("from %s with %q: %+v, want the app", tt.from, tt.said, a)
		case !tt.served && (a.status != 301 || a.location != "https://secure.test/x?y"):
			t.Errorf("from %s with %q: %+v, want a redirect", tt.from, tt.said, a)
		}
	}
	// A redirect to a path keeps what the client used.
	for location, r := range map[string]request{
		"https://root.test/start":     {host: "root.test", from: proxyAddress, header: saysOne("X-Forwarded-Proto", "https")},
		"http://root.test:8080/start": {host: "root.test:8080", from: proxyAddress, header: saysOne("X-Forwarded-Proto", "http")},
		"http://root.test/start":      {host: "root.test", from: clientAddress, header: saysOne("X-Forwarded-Proto", "https")},
	} {
		r.path = "/"
		if a, err := e.send(t.Context(), r); err != nil || a.status != 301 || a.location != location {
			t.Errorf("%+v: %+v, %v; want %s", r, a, err, location)
		}
	}
	// What comes by TLS has come by HTTPS, whoever says what.
	for _, from := range []string{proxyAddress, clientAddress} {
		a, err := e.send(t.Context(), request{host: "secure.test", path: "/", tls: true, sni: "secure.test", from: from, header: saysOne("X-Forwarded-Proto", "http")})
		if err != nil || !fromApp("/secure")(a) || !told(a, "X-Forwarded-Proto", "https") {
			t.Errorf("from %s by TLS: %+v, %v", from, a, err)
		}
	}
}

// testForwardedPort checks that apps are told the port that clients connected to.
func (e *realEnvoy) testForwardedPort(t *testing.T) {
	for _, tt := range []struct {
		from, said string
		tls        bool
		port       uint16
	}{
		{proxyAddress, "4711", false, 4711},
		{proxyAddress, "", false, e.fleet.HTTP.Port()},
		{proxyAddress, "4711", true, e.fleet.HTTPS.Port()},
		{clientAddress, "4711", false, e.fleet.HTTP.Port()},
		{clientAddress, "4711", true, e.fleet.HTTPS.Port()},
	} {
		r := request{host: "open.test", path: "/", tls: tt.tls, sni: "open.test", from: tt.from, header: saysOne()}
		if tt.said != "" {
			r.header.Set("X-Forwarded-Port", tt.said)
		}
		if a, err := e.send(t.Context(), r); err != nil || !told(a, "X-Forwarded-Port", fmt.Sprint(tt.port)) {
			t.Errorf("from %s with %q by TLS %v: %v; want port %d: %s", tt.from, tt.said, tt.tls, err, tt.port, a.body)
		}
	}
}

// testLocations checks where redirects to HTTPS lead, whatever port the client named.
func (e *realEnvoy) testLocations(t *testing.T, version string) {
	hosts := map[string]string{
		"secure.test": "secure.test", "secure.test:8080": "secure.test", "secure.test:80": "secure.test", "secure.test:443": "secure.test",
	}
	if version == envoytest.Newest { // the hosts filter needs it
		for host, location := range map[string]string{
			"SECURE.Test:8080": "secure.test", "secure.test.:81": "secure.test",
			"a.wild.test": "a.wild.test", "a.wild.test:8080": "a.wild.test", "a.b.wild.test:443": "a.b.wild.test", "A.Wild.test:81": "A.Wild.test",
		} {
			hosts[host] = location
		}
	}
	for host, location := range hosts {
		if a, err := e.send(t.Context(), request{host: host, path: "/x?y=%25"}); err != nil || a.status != 301 || a.location != "https://"+location+"/x?y=%25" {
			t.Errorf("%s: %+v, %v", host, a, err)
		}
	}
}

// Where clients must show a certificate, no proxy can say that they have.
func TestTrustedProxiesShowNoCertificate(t *testing.T) {
	e := startEnvoy(t, proxied, func(f *routing.Fleet, _ *certstest.CA) { f.TLS.ClientCertificates = routing.ClientCertificatesRequired })
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{e.app("/open", "open.test"), e.restricted()})
	r := request{host: "open.test", path: "/", from: proxyAddress, header: saysOne("X-Forwarded-Proto", "https", "X-Forwarded-For", "203.0.113.7")}
	e.eventually(t, r, status(301))
}

// A fleet without HTTPS of its own redirects to that of the balancer in front of it.
func TestBalancerTakesHTTPS(t *testing.T) {
	e := startEnvoy(t, proxied, func(f *routing.Fleet, _ *certstest.CA) { f.HTTPS, f.HTTPSPublicPort = netip.AddrPort{}, 8443 })
	e.c.SyncApps([]*sources.App{e.redirected()})
	for _, host := range []string{"secure.test:8080", "secure.test", "a.wild.test:8080", "a.wild.test"} {
		name, _, _ := strings.Cut(host, ":")
		e.eventually(t, request{host: host, path: "/x", from: proxyAddress, header: saysOne("X-Forwarded-Proto", "http")}, func(a answer) bool {
			return a.status == 301 && a.location == fmt.Sprintf("https://%s:8443/x", name)
		})
		e.eventually(t, request{host: host, path: "/x", from: proxyAddress, header: saysOne("X-Forwarded-Proto", "https")}, fromApp("/secure"))
	}
}
