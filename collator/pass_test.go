package collator

import (
	"strings"
	"testing"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// passCase has several apps that want one domain.
type passCase struct {
	name  string
	apps  []*sources.App
	tls   string // the app that gets it; empty is the certificate
	loser string
	words string
}

func passCases(t *testing.T) []passCase {
	passed := func(id string) *sources.App { return serviceApp(id, sources.TCP{Passthrough: true}, "d.test") }
	web := func(id string) *sources.App { return webApp(id, "d.test") }
	both := changed(web("/both"), func(*sources.Port) {})
	both.Ports = append(both.Ports, passed("/both").Ports[0])
	return []passCase{
		{"the app in HTTP mode is lower", []*sources.App{web("/a"), passed("/b")}, "", "/b", "port 0 of /a has the domain in HTTP mode"},
		{"the app that has it passed through is lower", []*sources.App{passed("/a"), web("/b")}, "/a", "/b", "by plain HTTP only: TLS is passed through to port 0 of /a"},
		{"one app for both", []*sources.App{both}, "/both", "", ""},
		{"between two", []*sources.App{passed("/a"), web("/b"), passed("/c")}, "/a", "/c", "port 0 of /a has it"},
		{"only a path of it", []*sources.App{set(t, web("/a"), "PATH=/x"), passed("/b")}, "", "/b", "in HTTP mode"},
		{"only ACME challenges", []*sources.App{changed(webApp("/a"), func(p *sources.Port) { p.ACMEDomains = []string{"d.test"} }), passed("/b")}, "/b", "", ""},
	}
}

// TestWhoGetsTheTLSOfADomain holds that the lowest app id counts in both modes, and
// that an app may have its plain HTTP in one and its TLS in the other.
func TestWhoGetsTheTLSOfADomain(t *testing.T) {
	t.Parallel()
	for _, tt := range passCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
			c.SyncCertificates("vault", []*certs.Certificate{certificate("d.test", "d", "d.test")}, nil)
			syncApps(c)
			check := func() {
				t.Helper()
				got := ""
				for _, key := range c.fleets[0].published.references.names[httpsKey] {
					if key.Type == xds.Cluster {
						got, _ = routing.SplitClusterName(key.Name)
					}
				}
				if got != tt.tls {
					t.Errorf("TLS goes to %q, want %q", got, tt.tls)
				}
				serves := ""
				for _, s := range explained(c, "d.test").Services {
					if s.Outcome == "serves" {
						serves = s.App
					}
				}
				if serves != tt.tls {
					t.Errorf("TLS is explained to go to %q, want %q", serves, tt.tls)
				}
				checkCoverage(t, c)
			}
			// In any order.
			for i := range tt.apps {
				updateApps(c, tt.apps[len(tt.apps)-1-i])
			}
			check()
			syncApps(c)
			for _, app := range tt.apps {
				updateApps(c, app)
			}
			check()
			wantSameAsFresh(t, c, r, Config{CertificateSources: []string{"vault"}})
			if tt.loser != "" {
				view, _ := c.App(tt.loser)
				if got := strings.Join(reasons(view.Problems), "\n"); !strings.Contains(got, tt.words) {
					t.Errorf("problems of %s: %q, want %q", tt.loser, got, tt.words)
				}
			}
		})
	}
}

// TestPassedWildcardIsToldToThoseBelow holds that an app learns that its domain's TLS
// goes elsewhere by a wildcard above it, for as long as that is so.
func TestPassedWildcardIsToldToThoseBelow(t *testing.T) {
	t.Parallel()
	cfg := Config{CertificateSources: []string{"vault"}}
	c, r := newTest(t, cfg)
	zone := certificate("zone", "z", "*.shop.test")
	exact := certificate("www", "w", "www.shop.test")
	sync := func(all ...*certs.Certificate) { c.SyncCertificates("vault", all, nil); c.round() }
	wild := serviceApp("/wild", sources.TCP{Passthrough: true}, "*.shop.test")
	sync(zone)
	syncApps(c, webApp("/app", "www.shop.test"))
	check := func(step, words string) {
		t.Helper()
		t.Log(step)
		wantProblem(t, c, "/app", words)
		wantSameAsFresh(t, c, r, cfg)
	}
	const words = "port 0 gets its requests by plain HTTP only: TLS for *.shop.test is passed through to port 0 of /wild"
	check("at first", "")
	updateApps(c, wild)
	check("the wildcard is passed through", words)
	sync(zone, exact)
	check("with a certificate of its own", "")
	sync(zone)
	check("without", words)
	c.UpdateApps(nil, []string{"/wild"})
	c.round()
	check("no longer", "")
	both := changed(webApp("/app", "www.shop.test"), func(*sources.Port) {})
	both.Ports = append(both.Ports, wild.Ports[0])
	updateApps(c, both)
	check("by the app itself", "is not used for the name")
	if n := c.problems.count(problem.HTTPS); n != 0 {
		t.Errorf("the app is told of itself: %q", reasons(c.Problems()))
	}
}
