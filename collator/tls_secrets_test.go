package collator

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/xds"
)

func TestClientCATouchesOnlyItsSecret(t *testing.T) {
	t.Parallel()
	fleet, other := testFleet(), testFleet()
	fleet.TLS.ClientCertificates, other.Name = routing.ClientCertificatesRequired, "internal"
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet, other}})
	one, two := certstest.TestCA(t), certstest.TestCA(t)
	if err := c.SetClientCA("external", one.RootPEM()); err != nil {
		t.Fatal(err)
	}
	syncApps(c, webApp("/a", "a.test"))
	if _, ok := r.Versions[xds.Key{Type: xds.Secret, Name: routing.ClientCASecret}]; !ok {
		t.Error("the authorities were not published")
	}
	r.Touched()
	if err := c.SetClientCA("external", two.RootPEM()); err != nil {
		t.Fatal(err)
	}
	c.round()
	if diff := cmp.Diff([]string{`set secrets "fleet/client-ca"`}, r.Touched()); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
}

func TestUpstreamCAIsSentAlone(t *testing.T) {
	t.Parallel()
	leaf := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, certstest.Options{})
	fleet := testFleet()
	fleet.UpstreamCA = certstest.Join(leaf.Key, []byte("text\n"), leaf.Root)
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	if got := string(c.fleets[0].UpstreamCA); got != string(leaf.Root) {
		t.Errorf("sent are %q", got)
	}
}

func TestParseAuthorities(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	root := string(ca.RootPEM())
	leaf := ca.TestIssue(t, []string{"a.test"}, certstest.Options{})
	for name, tt := range map[string]struct{ text, want, err string }{
		"one":              {root, root, ""},
		"two with text":    {"first\n" + root + "second\n" + string(leaf.Chain) + "end\n", root + string(leaf.Chain), ""},
		"with a key":       {string(leaf.Key) + root, root, ""},
		"empty":            {"", "", "no certificate"},
		"a key alone":      {string(leaf.Key), "", "no certificate"},
		"half of one":      {root[:100], "", "broken"},
		"one and a half":   {root + root[:100], "", "broken"},
		"garbage inside":   {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "PEM block 1"},
		"one for a server": {root + string(leaf.Leaf), "", "of no authority"},
	} {
		got, err := parseAuthorities([]byte(tt.text))
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v; want %q, %q", name, got, err, tt.want, tt.err)
		}
	}
}

func FuzzParseAuthorities(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := parseAuthorities(text); (err == nil) != (len(got) > 0) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
