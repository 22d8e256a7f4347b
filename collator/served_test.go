package collator

import (
	"net/netip"
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// plain is a fleet without an https listener.
func plain() routing.Fleet {
	f := testFleet()
	f.HTTPS = netip.AddrPort{}
	return f
}

// One sentence says what is not served, and leaves out what is zero.
func TestServed(t *testing.T) {
	t.Parallel()
	elsewhere := func(id, domain string, groups ...string) *sources.App {
		return changed(webApp(id, domain), func(p *sources.Port) { p.Groups = groups })
	}
	path := func(app *sources.App, prefix string) *sources.App {
		return changed(app, func(p *sources.Port) { p.HTTP = &sources.HTTP{Order: 1, Paths: []sources.Path{{Prefix: prefix}}} })
	}
	odd := webApp("/odd", "odd.test")
	odd.Unrouted = []sources.Unrouted{{Domain: "o..test"}, {Domain: "late.test"}, {Domain: "taken-out.test", Meant: true}}
	bare := changed(webApp("/internal"), func(p *sources.Port) { p.Groups = nil })
	for _, tt := range []struct {
		name  string
		fleet routing.Fleet
		apps  []*sources.App
		want  string
	}{
		{"nothing", plain(), nil, "no domain is served"},
		{"all", plain(), []*sources.App{webApp("/a", "a.test", "b.test"), webApp("/b", "c.test"), bare}, "all 3 domains are served"},
		{"one", plain(), []*sources.App{webApp("/a", "a.test")}, "the 1 domain is served"},
		{"stopped", plain(), []*sources.App{webApp("/a", "a.test"), stopped(webApp("/b", "b.test"))}, "all 2 domains are served, 1 domain is of an app that is scaled to 0"},
		{"no task", plain(), []*sources.App{empty(webApp("/a", "a.test", "b.test")), webApp("/b", "c.test")}, "2 domains have no task"},
		{"no task of a path", plain(), []*sources.App{webApp("/a", "a.test"), path(empty(webApp("/b", "a.test")), "/api")}, "1 domain has no task"},
		{"a loser without a task", plain(), []*sources.App{webApp("/a", "a.test"), empty(webApp("/b", "a.test"))}, "the 1 domain is served"},
		{"the winner without a task", plain(), []*sources.App{empty(webApp("/a", "a.test")), webApp("/b", "a.test")}, "1 domain has no task"},
		{"passed through", testFleet(), []*sources.App{empty(serviceApp("/tls", sources.TCP{Passthrough: true}, "tls.test"))}, "1 domain has no task"},
		{"no certificate", testFleet(), []*sources.App{webApp("/a", "a.test")}, "1 domain has no certificate (and asks for none)"},
		{"a certificate is wanted", testFleet(), []*sources.App{webApp("/a", "a.test"), changed(webApp("/b", "b.test"), func(p *sources.Port) { p.RedirectToHTTPS = true })},
			"2 domains have no certificate (1 of them asks for none)"},
		{"in no fleet", plain(), []*sources.App{webApp("/a", "a.test"), elsewhere("/b", "b.test"), elsewhere("/c", "c.test", "internal"), elsewhere("/d", "d.test", "extern")},
			"3 apps are in no fleet"},
		{"one port of two", plain(), []*sources.App{withPorts(webApp("/a", "a.test"), elsewhere("/x", "x.test", "internal").Ports[0])}, "the 1 domain is served"},
		{"closed by a label", plain(), []*sources.App{changed(webApp("/a", "a.test"), func(p *sources.Port) { p.HTTP = &sources.HTTP{Closed: true} }), webApp("/b", "b.test")}, "1 domain is closed (403)"},
		{"a path is closed", plain(), []*sources.App{webApp("/a", "a.test"), changed(webApp("/b", "a.test"), func(p *sources.Port) {
			p.HTTP = &sources.HTTP{Order: 1, Paths: []sources.Path{{Prefix: "/api"}}, Closed: true}
		})}, "1 domain is closed (403)"},
		{"an app that is asked is missing", plain(), []*sources.App{signedOn(webApp("/shop/web", "a.test", "b.test"), "/shop/sso")}, "2 domains are closed (403)"},
		{"an app that is asked is there", plain(), []*sources.App{signedOn(webApp("/shop/web", "a.test"), "/shop/sso"), webApp("/shop/sso")}, "the 1 domain is served"},
		{"passed through to what is closed", testFleet(), []*sources.App{changed(serviceApp("/tls", sources.TCP{Passthrough: true}, "tls.test"), func(p *sources.Port) { p.HTTP = &sources.HTTP{Closed: true} })},
			"1 domain is closed (403)"},
		{"left out", plain(), []*sources.App{odd}, "2 domains are left out"},
		{"all at once", testFleet(), []*sources.App{empty(webApp("/a", "a.test", "b.test")), elsewhere("/b", "b.test")},
			"2 domains have no task, 1 app is in no fleet, 2 domains have no certificate (and ask for none)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := newTest(t, Config{Fleets: []routing.Fleet{tt.fleet}})
			if got := c.Served(); got.Known || got.All() || got.String() != "apps have not been read yet" {
				t.Errorf("before anything was read: %q", got)
			}
			syncApps(c, tt.apps...)
			got := c.Served()
			if got.String() != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if fine := strings.Contains(tt.want, "served") || tt.name == "no certificate"; got.All() != fine {
				t.Errorf("all is served: %t", got.All())
			}
		})
	}
}

// A domain is closed as long as something is missing by which people are let in.
func TestClosedFollows(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{plain()}})
	expect := func(when string, want ...string) {
		t.Helper()
		var closed []string
		for _, d := range c.ClosedDomains() {
			closed = append(closed, d.Name+" of "+strings.Join(d.Apps, " "))
		}
		if got := c.Served().Closed; got != len(want) || strings.Join(closed, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s: %d are closed: %q, want %q", when, got, closed, want)
		}
		wantCatalogue(t, c)
	}
	syncApps(c, signedOn(webApp("/shop/web", "b.test", "a.test"), "/shop/sso"))
	expect("at first", "a.test of /shop/web", "b.test of /shop/web")
	updateApps(c, webApp("/shop/sso"))
	expect("with the app that is asked")
	c.UpdateApps(nil, []string{"/shop/sso"})
	c.round()
	expect("without it again", "a.test of /shop/web", "b.test of /shop/web")
	c.reindex()
	c.round()
	expect("after all was built again", "a.test of /shop/web", "b.test of /shop/web")
	updateApps(c, webApp("/shop/web", "a.test"))
	expect("without the label")
	updateApps(c, signedOn(webApp("/shop/web", "a.test"), "/shop/sso"))
	expect("with it", "a.test of /shop/web")
	c.UpdateApps(nil, []string{"/shop/web"})
	c.round()
	expect("without the app")
	if left := c.fleets[0].closed; len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func withPorts(app *sources.App, more ...sources.Port) *sources.App {
	c := *app
	c.Ports = append(c.Ports[:len(c.Ports):len(c.Ports)], more...)
	return &c
}

// An app that wants a domain or TCP port and is in no fleet is a problem. One that wants none is
// no problem, whatever its group.
func TestAppsInNoFleet(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{plain()}})
	in := func(app *sources.App, groups ...string) *sources.App {
		return changed(app, func(p *sources.Port) { p.Groups = groups })
	}
	syncApps(c,
		in(webApp("/none", "a.test", "b.test", "c.test", "d.test")), in(webApp("/other", "a.test"), "internal"), in(webApp("/typo", "a.test"), "External"),
		in(serviceApp("/db", sources.TCP{Port: 5432}), "internal"), in(serviceApp("/implicit", sources.TCP{Port: 10001, Implicit: true})), in(webApp("/silent")), in(webApp("/quiet"), "internal"),
		in(webApp("/marathon-acme", "acme.test")), withPorts(webApp("/half", "half.test"), in(webApp("/x", "x.test"), "internal").Ports[0]))
	want := map[string][2]string{
		"/none":  {string(problem.Ignored), "wants a.test, b.test, c.test and 1 more and is in no group, so no fleet serves it: set HAPROXY_GROUP (in a YAML file: groups; fleets: external)"},
		"/other": {string(problem.Advice), "wants a.test, and its group internal is no fleet here (fleets: external), so no fleet serves it"},
		"/typo":  {string(problem.Failing), `"External" is no fleet of this Relay: did you mean external?`},
		"/db":    {string(problem.Advice), "wants TCP port 5432, and its group internal is no fleet here"},
		"/half":  {string(problem.Advice), "wants x.test, and its group internal is no fleet here"},
	}
	found := make(map[string]bool)
	for _, p := range c.Problems() {
		p = p.Complete()
		w, wanted := want[p.App]
		if !wanted || string(p.Severity) != w[0] || !strings.Contains(p.Reason, w[1]) || found[p.App] {
			t.Errorf("problem %+v, want %q", p, w)
		}
		found[p.App] = true
	}
	if len(found) != len(want) {
		t.Errorf("problems of %v, want those of %d apps", found, len(want))
	}
	if counts, failing := c.ProblemCounts(); counts[problem.Unserved] != 4 || failing != 1 {
		t.Errorf("counts %v, failing %d", counts, failing)
	}
	updateApps(c, in(webApp("/none", "a.test"), "external"))
	c.UpdateApps(nil, []string{"/other", "/half", "/db", "/typo"})
	c.round()
	if left := c.Problems(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
	if counts, failing := c.ProblemCounts(); counts[problem.Unserved] != 0 || failing != 0 {
		t.Errorf("counts %v, failing %d are left", counts, failing)
	}
}

// Domains for which people ask for https, and that have no certificate, are problems: those with
// a redirect of their apps, the others by themselves.
func TestUncoveredDomainsAreProblems(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet()}})
	wanting := func(id, domain string, f func(*sources.Port)) *sources.App { return changed(webApp(id, domain), f) }
	syncApps(c, webApp("/plain", "plain.test"),
		wanting("/acme", "acme.test", func(p *sources.Port) { p.ACMEDomains = p.Domains }),
		wanting("/hsts", "hsts.test", func(p *sources.Port) { p.HTTP = &sources.HTTP{HSTS: true} }),
		wanting("/redirect", "redirect.test", func(p *sources.Port) { p.RedirectToHTTPS = true }),
		webApp("/marathon-acme"))
	var domains []string
	for _, p := range c.UncoveredProblems() {
		if p = p.Complete(); p.Severity != problem.Failing || p.Fleet != "external" || !strings.Contains(p.Reason, "clients that come by https get an error: no certificate covers it") {
			t.Errorf("problem %+v", p)
		}
		domains = append(domains, p.Domain)
	}
	if got := strings.Join(domains, " "); got != "acme.test hsts.test" {
		t.Errorf("problems of %s", got)
	}
	counted, _ := c.ProblemCounts()
	listed := 0
	for _, p := range c.Problems() {
		if p.Kind == problem.HTTPS {
			listed++
		}
	}
	if counted[problem.HTTPS] != listed+2 {
		t.Errorf("%d are counted, %d and 2 are listed", counted[problem.HTTPS], listed)
	}
	syncApps(c, webApp("/plain", "plain.test"))
	if left := c.UncoveredProblems(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}
