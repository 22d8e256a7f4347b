package collator

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
	"relay/collator/routing"
	"relay/xds"
)

// An Envoy gets the private keys of its fleet's names, and no other; what it is
// said to serve is what it serves.
func TestFleetGetsItsCertificatesOnly(t *testing.T) {
	t.Parallel()
	inner := testFleet()
	inner.Name, inner.ServerNames = "internal", []string{"*.internal.test", "both.test"}
	inner.HTTP, inner.HTTPS = netip.MustParseAddrPort("127.0.0.1:81"), netip.MustParseAddrPort("127.0.0.1:444")
	c, outer := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), inner}, CertificateSources: []string{"vault"}})
	own := c.fleets[1].publisher.(*recorder)
	c.SyncCertificates("vault", []*certs.Certificate{
		certificate("a.test", "1", "a.test", "both.test"),
		certificate("x.internal.test", "2", "x.internal.test"),
		certificate("z.test", "3", "*.test"),
	}, nil)
	app := webApp("/app", "x.internal.test", "both.test", "a.test", "y.test")
	app.Ports[0].Groups = []string{testFleet().Name, "internal"}
	syncApps(c, app)
	if diff := cmp.Diff([]string{"vault/a.test", "vault/x.internal.test", "vault/z.test"}, outer.Names(xds.Secret)); diff != "" {
		t.Errorf("secrets of the fleet without names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"vault/a.test", "vault/x.internal.test"}, own.Names(xds.Secret)); diff != "" {
		t.Errorf("secrets of the fleet with names (-want +got):\n%s", diff)
	}
	var uncovered []string
	all, _ := c.UncoveredDomains()
	for _, u := range all {
		uncovered = append(uncovered, u.Fleet+" "+u.Domain)
	}
	if diff := cmp.Diff([]string{"internal a.test", "internal y.test"}, uncovered); diff != "" {
		t.Errorf("domains without a certificate (-want +got):\n%s", diff)
	}
	for fleet, want := range map[string]string{testFleet().Name: "vault/z.test", "internal": ""} {
		for _, d := range explained(c, "y.test").Domains {
			if d.Fleet != fleet {
				continue
			}
			var got string
			if d.HTTPS.Certificate != nil {
				got = d.HTTPS.Certificate.Secret
			}
			if got != want {
				t.Errorf("fleet %s explains y.test by the certificate %q, want %q", fleet, got, want)
			}
			if want == "" && (len(d.HTTPS.Others) != 1 || !strings.Contains(d.HTTPS.Others[0].Reason, "server-names")) {
				t.Errorf("fleet %s says of others %+v", fleet, d.HTTPS.Others)
			}
		}
	}
}
