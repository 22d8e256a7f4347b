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
