package collator

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"relay/certs"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// A balancer is told of an Envoy's health when the Envoy has all of its listeners: that for
// https waits for the certificates.
func TestHealthWaitsForCertificates(t *testing.T) {
	t.Parallel()
	fleet := testFleet()
	behindProxies(&fleet)
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
	syncApps(c)
	key := xds.Key{Type: xds.Listener, Name: "health"}
	if !r.Withheld[key] || slices.Contains(r.Names(xds.Listener), "health") {
		t.Errorf("before the certificates are known there are %q, withheld: %v", r.Names(xds.Listener), r.Withheld)
	}
	r.Touched()
	c.SyncCertificates("vault", []*certs.Certificate{certificate("a.test", "1", "a.test")}, nil)
	c.round()
	wantTouched(t, r, `set secrets "vault/a.test"`, `set listeners "health"`, `set listeners "https"`)
	if r.Withheld[key] {
		t.Error("the health listener is withheld though certificates are known")
	}

	fleet.HTTPS, fleet.Proxies.Protocol = netip.AddrPort{}, routing.ProxyProtocolOff
	c, r = newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
	syncApps(c)
	if names := r.Names(xds.Listener); !slices.Equal(names, []string{"health", "http"}) {
		t.Errorf("a fleet without https has the listeners %q", names)
	}
}

// Who asks for https in a fleet that has none is told how it could be had.
func TestHTTPSInFront(t *testing.T) {
	t.Parallel()
	app := withHTTP(redirected(webApp("/a", "a.test")), sources.HTTP{HSTS: true})
	for _, tt := range []struct {
		name   string
		public uint16
		trusts bool
		want   int
		hint   bool
	}{{"clients connect", 0, false, 2, false}, {"a balancer", 0, true, 2, true}, {"a balancer with https", 443, true, 0, false}} {
		fleet := testFleet()
		if fleet.HTTPS, fleet.HTTPSPublicPort = (netip.AddrPort{}), tt.public; tt.trusts {
			fleet.Proxies.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}
		c, _ := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
		syncApps(c, app)
		said := reasons(c.Problems())
		if len(said) != tt.want {
			t.Errorf("%s: problems %q, want %d", tt.name, said, tt.want)
		}
		for _, reason := range said {
			if strings.Contains(reason, "--https-public-port") != tt.hint {
				t.Errorf("%s: problem %q", tt.name, reason)
			}
		}
	}
}

// The port at which balancers ask is given to no TCP service.
func TestHealthPortIsReserved(t *testing.T) {
	t.Parallel()
	fleet := testFleet()
	behindProxies(&fleet)
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	syncApps(c, serviceApp("/a", sources.TCP{Port: 9091}), serviceApp("/b", sources.TCP{Port: 9092}))
	if names := r.Names(xds.Listener); slices.Contains(names, "tcp/9091") || !slices.Contains(names, "tcp/9092") {
		t.Errorf("listeners %q", names)
	}
	if said := reasons(c.Problems()); !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "9091, which belongs to Envoy") }) {
		t.Errorf("problems %q", said)
	}
}
