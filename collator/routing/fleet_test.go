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
