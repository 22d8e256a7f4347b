package collator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// coverageLines is all that is known of domains and certificates.
func coverageLines(t *testing.T, c *Collator) (lines []string) {
	t.Helper()
	all, known := c.UncoveredDomains()
	domains, alsoKnown := c.DomainsByCertificate()
	if !known || !alsoKnown {
		return []string{"unknown"}
	}
	for _, u := range all {
		lines = append(lines, fmt.Sprintf("%s without, wanted %v: %s", u.Domain, u.Wanted, u.Reason))
	}
	for _, v := range c.Certificates() {
		used, known := useOf(c, v.Source, v.Name)
		if used != (v.Default || len(domains[v.Secret]) > 0) {
			t.Errorf("%s: in use is %v, domains %v", v.Secret, used, domains[v.Secret])
		}
		lines = append(lines, fmt.Sprintf("%s for %v, used %v, known %v", v.Secret, domains[v.Secret], used, known))
	}
	return lines
}

// useOf says whether a certificate is in use, and whether that is known.
func useOf(c *Collator, source, name string) (used, known bool) {
	selected, _ := c.SelectedCertificates()
	for _, s := range selected {
		if s.Source == source && s.Name == name {
			return s.Use == certs.InUse, s.Use != certs.UseUnknown
		}
	}
	return false, false
}

func problemsWith(c *Collator, kind problem.Kind, words string) (found []string) {
	for _, p := range c.Problems() {
		if p.Kind == kind && strings.Contains(p.Reason, words) {
			found = append(found, p.App+" "+p.Subject+": "+p.Reason)
		}
	}
	return found
}

func TestCoverageFollowsChanges(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault"}})
	for _, step := range coverageSteps(c) {
		step.do()
		if diff := cmp.Diff(step.want, coverageLines(t, c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if used, known := useOf(c, "vault", "never seen"); used || known {
		t.Error("a certificate that was not taken in is known")
	}
}

// coverageStep is a change, and what is known of domains and certificates after it.
type coverageStep struct {
	name string
	do   func()
	want []string
}

func coverageSteps(c *Collator) []coverageStep {
	sync := func(all ...*certs.Certificate) {
		c.SyncCertificates("vault", all, nil)
		c.round()
	}
	remove := func(id string) { c.UpdateApps(nil, []string{id}); c.round() }
	gone := *certificate("gone", "1", "web.test")
	gone.NotAfter = testTime.Add(-time.Hour)
	early := *certificate("early", "2", "web.test")
	early.NotBefore = testTime.Add(time.Hour)
	fallback := *certificate("default", "3")
	fallback.Default = true
	const none = "no certificate covers it"
	return []coverageStep{
		{"apps before certificates", func() { syncApps(c, webApp("/web", "web.test", "a.zone.test", "b.a.zone.test")) }, []string{"unknown"}},
		{"no certificate", func() { sync() },
			[]string{"a.zone.test without, wanted false: " + none, "b.a.zone.test without, wanted false: " + none, "web.test without, wanted false: " + none}},
		{"a wildcard comes", func() { sync(certificate("w", "1", "*.zone.test"), &fallback) },
			[]string{"b.a.zone.test without, wanted false: *.zone.test of vault/w covers one level of names only",
				"web.test without, wanted false: " + none,
				"vault/w for [a.zone.test], used true, known true", "vault/default for [], used true, known true"}},
		{"an exact one is not valid yet", func() { sync(&early) },
			[]string{"a.zone.test without, wanted false: " + none, "b.a.zone.test without, wanted false: " + none,
				"web.test without, wanted false: the certificate vault/early is not valid yet", "vault/early for [web.test], used true, known true"}},
		{"another has expired", func() { sync(&gone, &early); updateApps(c, redirected(webApp("/web", "web.test"))) },
			[]string{"web.test without, wanted true: the certificate vault/gone has expired",
				"vault/gone for [web.test], used true, known true", "vault/early for [], used false, known false"}},
		{"renewed", func() { sync(certificate("gone", "4", "web.test")) },
			[]string{"vault/gone for [web.test], used true, known true"}},
		{"the domain goes", func() { remove("/web") }, []string{"vault/gone for [], used false, known true"}},
		{"only its challenges are answered", func() {
			updateApps(c, changed(webApp("/web"), func(p *sources.Port) { p.ACMEDomains = []string{"web.test", "new.test"} }))
		}, []string{"vault/gone for [], used false, known true"}},
		{"asked for and not there", func() {
			updateApps(c, changed(webApp("/web", "new.test"), func(p *sources.Port) { p.ACMEDomains = []string{"new.test"} }))
		}, []string{"new.test without, wanted true: " + none, "vault/gone for [], used false, known true"}},
		{"a wildcard domain is not covered by an exact name", func() { updateApps(c, webApp("/web", "*.web.test")) },
			[]string{"*.web.test without, wanted false: " + none, "vault/gone for [], used false, known true"}},
		{"nor by a wildcard above", func() { sync(certificate("t", "5", "*.test")) },
			[]string{"*.web.test without, wanted false: *.test of vault/t covers one level of names only", "vault/t for [], used false, known true"}},
		{"passed through", func() { updateApps(c, passed("/pass", "*.test")) }, []string{"vault/t for [], used false, known true"}},
		{"passed through no more", func() { remove("/pass") },
			[]string{"*.web.test without, wanted false: *.test of vault/t covers one level of names only", "vault/t for [], used false, known true"}},
		{"by a wildcard of the same name", func() { sync(certificate("w", "6", "*.web.test")) },
			[]string{"vault/w for [*.web.test], used true, known true"}},
		{"an exact name of another counts first", func() {
			updateApps(c, webApp("/web", "a.web.test"))
			sync(certificate("w", "6", "*.web.test"), certificate("a", "7", "a.web.test"))
		},
			[]string{"vault/w for [], used false, known true", "vault/a for [a.web.test], used true, known true"}},
	}
}

// What sends clients to a TLS error is a problem of the app that does so, until
// the certificate comes; a domain without one is none.
func TestRedirectWithoutCertificate(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault"}})
	other := certificate("other", "1", "other.test")
	c.SyncCertificates("vault", []*certs.Certificate{other}, nil)
	loser := redirected(webApp("/z", "web.test"))
	syncApps(c, redirected(webApp("/web", "web.test")), loser, webApp("/plain", "plain.test"))
	want := []string{"/web web.test: clients of port 0 are redirected to https, where they get an error: no certificate covers it"}
	if diff := cmp.Diff(want, problemsWith(c, problem.HTTPS, "")); diff != "" {
		t.Errorf("without a certificate (-want +got):\n%s", diff)
	}
	notes := explained(c, "web.test").Domains[0].HTTPS.Notes
	if len(notes) != 2 || !strings.Contains(notes[1], "redirected") {
		t.Errorf("explained by %q", notes)
	}
	if notes := explained(c, "plain.test").Domains[0].HTTPS.Notes; len(notes) != 1 {
		t.Errorf("explained by %q, of a domain without a redirect", notes)
	}
	updateApps(c, webApp("/web", "web.test"))
	if got := problemsWith(c, problem.HTTPS, ""); got != nil {
		t.Errorf("without a redirect: %q", got)
	}
	updateApps(c, redirected(webApp("/web", "web.test")))
	c.SyncCertificates("vault", []*certs.Certificate{other, certificate("web", "2", "web.test")}, nil)
	c.round()
	if got := problemsWith(c, problem.HTTPS, ""); got != nil {
		t.Errorf("with a certificate: %q", got)
	}
	c.SyncCertificates("vault", []*certs.Certificate{other}, nil)
	syncApps(c)
	if got := problemsWith(c, problem.HTTPS, ""); got != nil {
		t.Errorf("without the app: %q", got)
	}
}

// Old certificates stay in stores for years: the end of one is a problem while a
// domain uses it.
func TestExpiredCertificateIsAProblemWhileUsed(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault"}})
	old := *certificate("web", "1", "web.test")
	old.NotAfter = testTime.Add(-time.Hour)
	c.SyncCertificates("vault", []*certs.Certificate{&old}, nil)
	for i, app := range []*sources.App{nil, webApp("/web", "web.test"), webApp("/web", "other.test")} {
		if app != nil {
			updateApps(c, app)
		} else {
			syncApps(c)
		}
		if got := problemsWith(c, problem.Certificate, "expired"); len(got) != i%2 {
			t.Errorf("step %d: %q", i, got)
		}
	}
}

func TestCoverageMetrics(t *testing.T) {
	t.Parallel()
	internal := testFleet()
	internal.Name, internal.HTTPS = "internal", netip.AddrPort{}
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), internal}, CertificateSources: []string{"vault"}})
	registry := prometheus.NewPedanticRegistry()
	c.registerCoverage(registry)
	gathered := func() map[string]float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				values[name] = m.GetGauge().GetValue()
			}
		}
		return values
	}
	c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "1", "a.test"), certificate("old", "2", "old.test")}, nil)
	c.round()
	if got := gathered(); len(got) != 0 {
		t.Errorf("before apps are known: %v", got)
	}
	both := changed(webApp("/both", "a.test", "b.test"), func(p *sources.Port) { p.Groups = []string{"external", "internal"} })
	syncApps(c, both, redirected(webApp("/c", "c.test", "d.test")))
	want := map[string]float64{"relay_domains_without_certificate external true": 2, "relay_domains_without_certificate external false": 1, "relay_certificates_unused": 1}
	if diff := cmp.Diff(want, gathered()); diff != "" {
		t.Error(diff)
	}
	updateApps(c, webApp("/c", "c.test", "old.test"))
	want = map[string]float64{"relay_domains_without_certificate external true": 0, "relay_domains_without_certificate external false": 2, "relay_certificates_unused": 0}
	if diff := cmp.Diff(want, gathered()); diff != "" {
		t.Error(diff)
	}
}

// Only what a change concerns is looked at.
func TestCoverageLooksAtWhatChanged(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault"}})
	apps := make([]*sources.App, 100)
	for i := range apps {
		apps[i] = webApp(fmt.Sprint("/app-", i), fmt.Sprintf("app-%d.zone.test", i), fmt.Sprintf("app-%d.test", i))
	}
	c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "1", "a.test")}, nil)
	syncApps(c, apps...)
	f := c.fleets[0]
	looked := func(do func()) int {
		do()
		n := len(f.domainsToCheck())
		c.round()
		return n
	}
	// The round is taken apart, to see what it is about to look at.
	note := func(do func()) func() {
		return func() {
			do()
			var t notes
			c.inbox.take(&t)
			c.merge(&t)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"another endpoint", func() {
			c.UpdateApps([]*sources.App{changed(apps[1], func(p *sources.Port) { p.Endpoints = nil })}, nil)
		}, 0},
		{"another domain", func() { c.UpdateApps([]*sources.App{webApp("/app-2", "app-2.zone.test", "new.test")}, nil) }, 2},
		{"a renewal", func() { c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "2", "a.test")}, nil) }, 0},
		{"a new certificate", func() {
			c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "2", "a.test"), certificate("b", "3", "app-3.test")}, nil)
		}, 1},
		{"a new wildcard", func() {
			c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "2", "a.test"), certificate("b", "3", "*.zone.test")}, nil)
		}, 102},
	} {
		if n := looked(note(step.do)); n != step.want {
			t.Errorf("%s: %d names are looked at, want %d", step.name, n, step.want)
		}
	}
}

// checkCoverage compares with what is explained of each domain, and with a
// fresh look at all.
func checkCoverage(t *testing.T, c *Collator) {
	t.Helper()
	f := c.fleets[0]
	uncovered, _ := c.UncoveredDomains()
	without := make(map[string]string)
	for _, u := range uncovered {
		if u.Fleet == f.Name {
			without[u.Domain] = u.Reason
		}
	}
	for domain := range f.domains.claims {
		routed := slices.ContainsFunc(f.claimsOn(domain), func(c routing.Claim) bool { return c.Route })
		reason, missing := without[domain]
		delete(without, domain)
		if !routed {
			if missing || f.coverage.picked[domain].Secret != "" {
				t.Fatalf("%s is not routed: %q, %q", domain, reason, f.coverage.picked[domain])
			}
			continue
		}
		e := explained(c, domain)
		https := e.Domains[0].HTTPS
		refused := slices.ContainsFunc(https.Notes, func(n string) bool {
			return strings.Contains(n, "refuse") || strings.Contains(n, "closed")
		})
		if missing != refused {
			t.Fatalf("%s: without a certificate is %q, explained is %q", domain, reason, https.Notes)
		}
		var told routing.Pair
		if used := https.Certificate; used != nil && used.ServerName != "" && !strings.Contains(strings.Join(https.Notes, ""), "one level") {
			told = toldPair(https)
		}
		if got := f.coverage.picked[domain]; got != told {
			t.Fatalf("%s: picked is %q, explained is %q", domain, got, told)
		}
	}
	if len(without) > 0 {
		t.Fatalf("not claimed, and without a certificate: %v", without)
	}
	used, wanted := make(map[string]int), 0
	for domain, picked := range f.coverage.picked {
		if len(f.domains.claims[domain]) == 0 {
			t.Fatalf("%s is not claimed, and served with %s", domain, picked)
		}
		for _, secret := range picked.Secrets() {
			used[secret]++
		}
	}
	for _, u := range f.coverage.uncovered {
		if u.wanted {
			wanted++
		}
	}
	if diff := cmp.Diff(used, f.coverage.used); diff != "" || wanted != f.coverage.wanted {
		t.Fatalf("counted %d as wanted, want %d; used (-want +got):\n%s", f.coverage.wanted, wanted, diff)
	}
}

// Coverage step by step is what is explained, and what a fresh start finds.
func TestCoverageIsWhatIsExplained(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := newRandom(seed, 2)
			cfg := Config{Fleets: []routing.Fleet{testFleet()}, CertificateSources: []string{"vault"}}
			c, r := newTest(t, cfg)
			c.SyncApps(nil)
			c.SyncCertificates("vault", nil, nil)
			for i := range 20 {
				step(random, c)
				checkCoverage(t, c)
				if i == 10 {
					// A round that ended in the middle, and what it knew is lost.
					c.SyncApps(nil)
					c.inbox.take(&c.work)
					c.merge(&c.work)
					c.fleets[0].recheck = recheck{}
					c.reindex()
					c.round()
					checkCoverage(t, c)
				}
			}
			wantSameAsFresh(t, c, r, cfg)
		})
	}
}
