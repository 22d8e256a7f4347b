package routing_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/collator/collatortest"
	"relay/collator/routing"
)

func TestTLSOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		change func(*routing.Fleet)
		want   string
	}{
		{func(f *routing.Fleet) { f.TLS.MinVersion = "1.1" }, "takes TLS 1.1"},
		{func(f *routing.Fleet) { f.TLS.ClientCertificates = "some" }, `asks for "some"`},
		{func(f *routing.Fleet) {
			f.TLS.ClientCertificates, f.HTTPS = routing.ClientCertificatesOptional, netip.AddrPort{}
		}, "no address for https"},
	} {
		fleet := collatortest.Fleet()
		tt.change(&fleet)
		if err := fleet.Check(); err == nil || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%+v: error %v, want one with %q", fleet.TLS, err, tt.want)
		}
	}
}

// Envoy would reject every cluster of the fleet for one bad authority.
func TestUpstreamAuthoritiesAreChecked(t *testing.T) {
	ca := certstest.TestCA(t)
	root := string(ca.RootPEM())
	for text, want := range map[string]string{
		root:              "",
		"text\n" + root:   "",
		"x":               "no certificate in PEM",
		root + root[:100]: "broken",
		root + string(ca.TestNamedOdd(t, "version 1 with extensions").Leaf): "only version 3 has extensions",
	} {
		fleet := collatortest.Fleet()
		fleet.UpstreamCA = []byte(text)
		if err := fleet.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestProxyOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		networks string
		change   func(*routing.Fleet)
		want     string
	}{
		{"0.0.0.0/0", func(*routing.Fleet) {}, "every client could claim any address"},
		{"::/0", func(*routing.Fleet) {}, "every client could claim any address"},
		{"::ffff:10.0.0.0/104", func(*routing.Fleet) {}, "use a network such as"},
		{"", func(f *routing.Fleet) { f.Proxies.Protocol = routing.ProxyProtocolRequired }, "give trusted-proxies"},
		{"10.0.0.0/8", func(f *routing.Fleet) { f.Proxies.Protocol = "v3" }, "has proxy-protocol: v3"},
		{"", func(f *routing.Fleet) { f.Health = f.HTTP }, "for health and for clients"},
		{"", func(f *routing.Fleet) { f.Health = f.HTTPS }, "for health and for clients"},
		{"", func(f *routing.Fleet) { f.Health = netip.MustParseAddrPort("10.0.0.7:0") }, "port 0 for health"},
		{"", listening("0.0.0.0:80", "10.0.0.7:443", "10.0.0.7:80"), "has 10.0.0.7:80 for health and 0.0.0.0:80 for clients"},
		{"", listening("10.0.0.7:80", "10.0.0.7:443", "[::]:443"), "has [::]:443 for health and 10.0.0.7:443 for clients"},
		{"", listening("10.0.0.7:80", "0.0.0.0:80", "10.0.0.7:81"), "has 10.0.0.7:80 for http and 0.0.0.0:80 for https"},
	} {
		fleet := collatortest.Fleet()
		if tt.networks != "" {
			fleet.Proxies.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix(tt.networks)}
		}
		tt.change(&fleet)
		if err := fleet.Check(); err == nil || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%+v, health %s: error %v, want one with %q", fleet.Proxies, fleet.Health, err, tt.want)
		}
	}
}

// listening has a fleet listen on these addresses.
func listening(http, https, health string) func(*routing.Fleet) {
	return func(f *routing.Fleet) {
		f.HTTP, f.HTTPS, f.Health = netip.MustParseAddrPort(http), netip.MustParseAddrPort(https), netip.MustParseAddrPort(health)
	}
}

// Addresses that share a port, and no connection, go together.
func TestAddressesThatDoNotOverlap(t *testing.T) {
	for _, health := range []string{"10.0.0.8:80", "[fd00::7]:80", "0.0.0.0:81", "[::]:81"} {
		fleet := collatortest.Fleet()
		listening("10.0.0.7:80", "10.0.0.7:443", health)(&fleet)
		if err := fleet.CheckAddresses(); err != nil {
			t.Errorf("health %s: %v", health, err)
		}
	}
}

func TestOffersHTTPS(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		listens  bool
		public   uint16
		networks []netip.Prefix
		want     bool
	}{
		{true, 0, nil, true}, {true, 0, networks, true}, {false, 443, networks, true},
		// Nobody says that there is HTTPS, or nobody could say that a request came by it.
		{false, 0, networks, false}, {false, 443, nil, false},
	} {
		fleet := collatortest.Fleet()
		if fleet.HTTPSPublicPort, fleet.Proxies.Networks = tt.public, tt.networks; !tt.listens {
			fleet.HTTPS = netip.AddrPort{}
		}
		if got := fleet.OffersHTTPS(); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}
