package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
	"relay/collator"
	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/sources/labels"
	"relay/xds"
)

// lines is a domain in short.
func lines(d Domain) []string {
	all := []string{fmt.Sprintf("%s: %s by %s", d.Fleet, d.Host, d.Domain)}
	for _, r := range d.Rules {
		line := fmt.Sprintf("%s%s %s_%d: %s", r.Path, map[bool]string{true: " any case"}[r.IgnoreCase], r.App, r.Port, r.Outcome)
		for _, t := range r.Targets {
			line += fmt.Sprintf(" %s=%d", t.Cluster, t.Weight)
		}
		all = append(all, line+"; "+r.Reason)
	}
	return append(all, d.Notes...)
}

func reasons(problems []problem.Problem) (all []string) {
	for _, p := range problems {
		all = append(all, string(p.Kind)+" "+p.App+" "+p.Subject+": "+p.Reason)
	}
	return all
}

func explainedLines(e Explanation) (all []string) {
	for _, d := range e.Domains {
		all = append(all, lines(d)...)
	}
	return all
}

func TestExplainDomain(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{})
	syncApps(t, c,
		collatortest.App("/site", "shop.test"),
		collatortest.Set(t, collatortest.App("/api", "shop.test"), "PATH=/api", "BACKEND_WEIGHT=5"),
		collatortest.Set(t, collatortest.App("/late", "shop.test"), "PATH=-i /API", "BACKEND_WEIGHT=2"),
		collatortest.App("/zz", "shop.test"),
		collatortest.Set(t, collatortest.App("/live", "canary.test"), "CLUSTER_WEIGHT=90"), collatortest.Set(t, collatortest.App("/new", "canary.test"), "CLUSTER_WEIGHT=10"),
		collatortest.App("/wild", "*.zone.test"), collatortest.App("/inner", "*.in.zone.test"), collatortest.App("/exact", "a.zone.test"),
		collatortest.Changed(collatortest.App("/acme", "x.test"), func(p *sources.Port) { p.ACMEDomains = []string{"y.test"} }),
	)
	single := "no other port claims it"
	tests := []struct {
		subject string
		want    []string
	}{
		{"SHOP.test.", []string{"external: shop.test by shop.test",
			"/api /api_0: serves /api_0=1; " + single,
			"/API any case /late_0: serves /late_0=1; " + single,
			"/ /site_0: serves /site_0=1; it has the lowest app id, then the lowest port, of those that claim it",
			"/ /zz_0: loses; port 0 does not get the domain: port 0 of /site has it (the lowest app id wins, then the lowest port)"}},
		{"canary.test", []string{"external: canary.test by canary.test",
			"/ /live_0: serves /live_0=90 /new_0=10; 2 ports with a RELAY_n_CLUSTER_WEIGHT share it; the one with the lowest app id says how requests are handled"}},
		{"x.zone.test", []string{"external: x.zone.test by *.zone.test", "/ /wild_0: serves /wild_0=1; " + single}},
		{"b.in.zone.test", []string{"external: b.in.zone.test by *.in.zone.test", "/ /inner_0: serves /inner_0=1; " + single}},
		{"*.zone.test", []string{"external: *.zone.test by *.zone.test", "/ /wild_0: serves /wild_0=1; " + single}},
		{"a.zone.test", []string{"external: a.zone.test by a.zone.test", "/ /exact_0: serves /exact_0=1; " + single,
			"the exact name counts before *.zone.test, for all paths"}},
		{"y.test", []string{"external: y.test by y.test", "only ACME challenges are answered; everything else gets 404"}},
		{"zone.test", nil}, {"*.x.zone.test", nil}, {"nothing.test", nil},
	}
	for _, tt := range tests {
		e := Explain(c, tt.subject)
		if diff := cmp.Diff(tt.want, explainedLines(e)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.subject, diff)
		}
		if e.Known != (tt.want != nil) {
			t.Errorf("%s: known is %v", tt.subject, e.Known)
		}
	}
	if d := Explain(c, "y.test").Domains[0]; d.ACMECluster != "/marathon-acme_0" {
		t.Errorf("challenges go to %q", d.ACMECluster)
	}
	if got, want := Explain(c, "shop.tset").Near, []string{"shop.test"}; !cmp.Equal(got, want) {
		t.Errorf("near shop.tset are %q, want %q", got, want)
	}
	if e := Explain(c, "site"); !e.Known || e.Subject != "/site" {
		t.Errorf("an app id without its slash is not found: %+v", e)
	}
}

func TestExplainApp(t *testing.T) {
	t.Parallel()
	internal := collatortest.Fleet()
	internal.Name, internal.HTTP, internal.HTTPS = "internal", netip.MustParseAddrPort("127.0.0.1:81"), netip.AddrPort{}
	c, _ := newTest(t, collator.Config{Fleets: []routing.Fleet{collatortest.Fleet(), internal}})
	app := collatortest.Changed(collatortest.Set(t, collatortest.App("/shop/web", "shop.test"), "TLS=true", "TLS_VERIFY=false", "BALANCE=roundrobin"), func(p *sources.Port) {
		p.Groups = []string{"external", "internal"}
		p.Excluded = []sources.Excluded{{Task: "sick", Reason: "its health checks fail"}}
	})
	app.Ports = append(app.Ports, sources.Port{Name: "metrics"})
	app.Problems = []problem.Problem{{Subject: "HAPROXY_0_VHOSTS", Reason: "is not a label: HAPROXY_0_VHOST is likely meant"}}
	syncApps(t, c, app, collatortest.Member("/blue", 1, "10.0.0.1:1"), collatortest.Member("/green", 2, "10.0.0.2:1"))

	e := Explain(c, "/shop/web")
	if len(e.Domains) != 2 || e.Domains[0].Fleet != "external" || e.Domains[1].Fleet != "internal" {
		t.Errorf("its domain is explained as %+v", e.Domains)
	}
	got := e.Apps[0]
	want := App{ID: "/shop/web", Version: "1", Problems: got.Problems, Ports: []Port{
		{Groups: []string{"external", "internal"}, Fleets: []string{"external", "internal"}, Cluster: "/shop/web_0", Domains: []string{"shop.test"},
			Connections: []string{"instances take turns", "by TLS, without a look at its certificate"},
			Endpoints:   []Endpoint{{Address: "10.0.0.1:31000", Health: "healthy", Task: "task-10.0.0.1:31000"}},
			Excluded:    []Excluded{{"sick", "its health checks fail"}}},
		{Index: 1, Name: "metrics", Domains: []string{}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the app (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"app /shop/web HAPROXY_0_VHOSTS: is not a label: HAPROXY_0_VHOST is likely meant"}, reasons(got.Problems)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if e := Explain(c, "/blue"); len(e.Apps) != 1 || !strings.HasPrefix(e.Apps[0].Deployment, "deployment-group/") {
		t.Errorf("the group of /blue is not explained: %+v", e.Apps)
	}
}

func TestExplainHTTPS(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{CertificateSources: []string{"vault", "dir"}})
	syncApps(t, c, collatortest.App("/a", "a.test", "*.a.test", "b.test"))
	https := func(host string) HTTPS { return Explain(c, host).Domains[0].HTTPS }
	if notes := https("a.test").Notes; len(notes) != 1 || !strings.Contains(notes[0], "have not been read") {
		t.Errorf("before certificates are known: %q", notes)
	}
	old := certificate("old.pem", "o", "a.test")
	old.Source, old.NotAfter = "dir", time.Now().AddDate(0, 0, -1)
	c.SyncCertificates("vault", []*certs.Certificate{certificate("a.test", "a", "a.test", "*.a.test")}, nil)
	c.SyncCertificates("dir", []*certs.Certificate{old}, nil)
	flush(t, c)
	tests := []struct{ host, secret, name, note string }{
		{"a.test", "vault/a.test", "a.test", ""},
		{"x.a.test", "vault/a.test", "*.a.test", ""},
		{"x.y.a.test", "vault/a.test", "*.a.test", "one level"},
		{"b.test", "", "", "no certificate covers"},
	}
	for _, tt := range tests {
		got := https(tt.host)
		used := Certificate{}
		if got.Certificate != nil {
			used = *got.Certificate
		}
		if used.Secret != tt.secret || used.ServerName != tt.name || strings.Join(got.Notes, ";") != "" && tt.note == "" || !strings.Contains(strings.Join(got.Notes, ";"), tt.note) {
			t.Errorf("%s: %+v, notes %q; want %s for %s, a note of %q", tt.host, used, got.Notes, tt.secret, tt.name, tt.note)
		}
	}
	if others := https("a.test").Others; len(others) != 1 || others[0].State != "expired" || others[0].Reason != "it is expired" {
		t.Errorf("certificates that are not used: %+v", others)
	}
	fallback := certificate("default.pem", "d")
	fallback.Source, fallback.Default = "dir", true
	c.SyncCertificates("dir", []*certs.Certificate{fallback}, nil)
	flush(t, c)
	if got := https("b.test"); got.Certificate == nil || got.Certificate.Secret != "dir/default.pem" || len(got.Notes) != 1 {
		t.Errorf("the default certificate: %+v", got)
	}
}

// Two certificates with keys of different kinds are both said to be used, and why others of
// either kind are not; so is an issuer that ends first.
func TestExplainTwoCertificates(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{CertificateSources: []string{"vault"}})
	syncApps(t, c, collatortest.App("/a", "a.test", "b.test"))
	of := func(kind certs.Kind, name string, days int, names ...string) *certs.Certificate {
		made := certificate(name, name, names...)
		made.Kind, made.NotAfter = kind, time.Now().AddDate(0, 0, days)
		return made
	}
	ended := of(certs.ECDSA, "ended", -1, "b.test")
	ended.EndsWith = "CN=Sub"
	incomplete := of(certs.ECDSA, "incomplete", 200, "a.test")
	incomplete.Remark = "a part is missing"
	c.SyncCertificates("vault", []*certs.Certificate{
		of(certs.RSA, "rsa", 90, "a.test"), of(certs.ECDSA, "ecdsa", 70, "a.test"), of(certs.RSA, "shorter", 80, "a.test"), incomplete, ended,
	}, nil)
	flush(t, c)
	e := Explain(c, "a.test")
	https := e.Domains[0].HTTPS
	if https.Certificate == nil || https.Certificate.Secret != "vault/ecdsa" || https.Second == nil || https.Second.Secret != "vault/rsa" || len(https.Notes) > 0 {
		t.Errorf("a.test by HTTPS: %+v", https)
	}
	var others []string
	for _, o := range https.Others {
		others = append(others, o.Name+": "+o.Reason)
	}
	if want := []string{"shorter: the other is valid for longer", "incomplete: nothing is missing in the chain of the other"}; !slices.Equal(others, want) {
		t.Errorf("others %q, want %q", others, want)
	}
	for _, secret := range []string{"vault/ecdsa", "vault/rsa"} {
		if !slices.Contains(e.Needs["external"], xds.Key{Type: xds.Secret, Name: secret}) {
			t.Errorf("the secret %s is not said to be needed", secret)
		}
	}
	for host, want := range map[string]string{
		"a.test": "or certificate vault/rsa for a.test, valid, until",
		"b.test": "with its issuer CN=Sub: it covers b.test",
	} {
		var out strings.Builder
		Explain(c, host).WriteText(&out)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is explained by\n%s\nwant %q in it", host, out.String(), want)
		}
	}
	if notes := strings.Join(Explain(c, "b.test").Domains[0].HTTPS.Notes, ";"); !strings.Contains(notes, "is expired with its issuer CN=Sub: clients will refuse it") {
		t.Errorf("notes of b.test: %q", notes)
	}
}

// A fleet that refuses clients without a certificate says so.
func TestExplainClientCertificates(t *testing.T) {
	t.Parallel()
	fleet := collatortest.Fleet()
	fleet.TLS.ClientCertificates = routing.ClientCertificatesRequired
	c, _ := newTest(t, collator.Config{Fleets: []routing.Fleet{fleet}})
	syncApps(t, c, collatortest.App("/a", "a.test"))
	domain := Explain(c, "a.test").Domains[0]
	if notes := strings.Join(domain.HTTPS.Notes, ";"); !strings.Contains(notes, "have to show a certificate") {
		t.Errorf("notes %q", notes)
	}
	if words := fmt.Sprint(domain.Rules); !strings.Contains(words, "redirected to HTTPS") {
		t.Errorf("rules %s, want a redirect", words)
	}
}

// Words for everything that can be asked for, and no secret in them.
func TestHandlingWords(t *testing.T) {
	t.Parallel()
	app := collatortest.Set(t, collatortest.App("/a", "a.test"), "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8",
		"USE_HSTS=true", "HTTP_BACKEND_REDIR=/app", "HTTP_BACKEND_PROXYPASS_PATH=/p", "HTTP_BACKEND_REVPROXY_PATH=/q", "STICKY=true",
		"HASH_POLICY=cookie user", "TIMEOUT=3s", "IDLE_TIMEOUT=4s", "MAX_STREAM_DURATION=24h", "NUM_RETRIES=5", "RETRY_ON=5xx", "REQUEST_HEADERS_TO_ADD=X-Key: hunter2",
		"RESPONSE_HEADERS_TO_REMOVE=Server", "MAX_REQUESTS=7", "HTTP2=true", "PROXY_PROTOCOL=v2", "CONNECT_TIMEOUT=2s")
	c, _ := newTest(t, collator.Config{})
	syncApps(t, c, collatortest.Changed(app, func(p *sources.Port) { p.RedirectToHTTPS = true }), collatortest.Set(t, collatortest.App("/b", "b.test"), "AUTH=r:joe:$6$x"))
	e := Explain(c, "a.test")
	text := strings.Join(append(e.Domains[0].Rules[0].Handling, e.Apps[0].Ports[0].Connections...), "\n")
	for _, want := range []string{"redirected to HTTPS", "password", "10.0.0.0/8", "Strict-Transport", "/app", "/p is taken off", "/q is put before",
		"mesosphere_server_id", "cookie user", "3s", "4s", "24h0m0s", "5 retries", "5xx", "x-key", "lose the headers server", "7 requests", "HTTP/2", "version 2", "2s"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	for _, secret := range []string{"hunter2", "W6ph"} {
		if strings.Contains(fmt.Sprintf("%+v", e), secret) {
			t.Errorf("%s is told: %+v", secret, e)
		}
	}
	for hash, want := range map[sources.Hash]string{{By: sources.HashPathSegment, Segment: 2}: "segment 2 of the path", {By: sources.HashSubdomain}: "first label of the host"} {
		if got := hashWords(hash); !strings.Contains(got, want) {
			t.Errorf("%+v is %q, want %q", hash, got, want)
		}
	}
	if words := Explain(c, "b.test").Domains[0].Rules[0].Handling; len(words) != 1 || !strings.Contains(words[0], "403") {
		t.Errorf("a closed port: %q", words)
	}
}

// TestSettingsAreExplained holds that each setting of an app is told in words: without, the
// explanation would be the same as that of an app which does not have the setting.
func TestSettingsAreExplained(t *testing.T) {
	t.Parallel()
	for _, l := range labels.AllSettings() {
		beside := labelsBeside(l)
		if strings.HasPrefix(l.Name(), "OIDC_") {
			beside = neededForLogIn(l.Name())
		}
		explained := func(settings ...string) string {
			c, _ := newTest(t, collator.Config{})
			c.SyncAuthorities("dir", []*certs.Authority{{Source: "dir", Name: "a"}}, nil)
			syncApps(t, c, collatortest.Set(t, collatortest.App("/a", "a.test"), settings...))
			return fmt.Sprintf("%+v", Explain(c, "/a"))
		}
		if explained(beside...) == explained(append(beside, l.Name()+"="+l.Example())...) {
			t.Errorf("%s=%s is not explained: collator/explain/words.go has the words", l.Name(), l.Example())
		}
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	names := []string{"/shop/web", "/shop/web-2", "shop.test", "www.shop.test", "blog.test", "/a"}
	for wanted, want := range map[string][]string{
		"shop.tets":    {"shop.test", "www.shop.test"},
		"web":          {"/shop/web", "/shop/web-2"},
		"/shop/wbe":    {"/shop/web", "/shop/web-2"},
		"WWW.SHOP.TST": {"www.shop.test"},
		"qqqqqqqq":     nil, "": nil,
	} {
		got := near(wanted, names)
		if len(want) == 0 && len(got) == 0 {
			continue
		}
		if len(got) == 0 || got[0] != want[0] {
			t.Errorf("near %q are %q, want %q first", wanted, got, want)
		}
	}
	if got := sources.EditDistance("kitten", "sitting"); got != 3 {
		t.Errorf("distance %d, want 3", got)
	}
}

func TestExplainServices(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{CertificateSources: []string{"vault"}})
	c.SyncCertificates("vault", []*certs.Certificate{certificate("mail.test", "m", "mail.test"), certificate("*.test", "w", "*.test")}, nil)
	closed := collatortest.Changed(collatortest.ServiceApp("/closed", sources.TCP{Port: 7000}), func(p *sources.Port) { p.HTTP = &sources.HTTP{Closed: true} })
	limited := collatortest.Changed(collatortest.ServiceApp("/db", sources.TCP{Port: 5432, AcceptProxy: true}), func(p *sources.Port) {
		p.HTTP = &sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Hash: &sources.Hash{By: sources.HashSourceIP}}
	})
	syncApps(t, c, limited, collatortest.ServiceApp("/late", sources.TCP{Port: 5432}), closed, collatortest.App("/site", "mail.test", "x.test"),
		collatortest.ServiceApp("/mail", sources.TCP{Passthrough: true}, "mail.test", "imap.test"), collatortest.ServiceApp("/quiet", sources.TCP{Port: 10000, Implicit: true}))
	tests := []struct {
		subject string
		want    []string // fleet, listener, name, app, outcome
	}{
		{"tcp/5432", []string{"tcp/5432  /db serves", "tcp/5432  /late loses"}},
		{"/late", []string{"tcp/5432  /db serves", "tcp/5432  /late loses"}},
		{"tcp/7000", []string{"tcp/7000  /closed loses"}},
		{"mail.test", []string{"https mail.test /mail serves"}},
		{"imap.test", []string{"https imap.test /mail serves"}},
		{"x.test", nil}, {"tcp/1", nil}, {"tcp/99999", nil}, {"/quiet", nil},
	}
	for _, tt := range tests {
		var got []string
		e := Explain(c, tt.subject)
		if e.Subject != tt.subject {
			t.Errorf("%s is called %s", tt.subject, e.Subject)
		}
		for _, s := range e.Services {
			got = append(got, fmt.Sprintf("%s %s %s %s", s.Listener, s.ServerName, s.App, s.Outcome))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.subject, diff)
		}
	}
	if words := Explain(c, "tcp/5432").Services[0].Handling; len(words) != 4 {
		t.Errorf("the service of /db: %q", words)
	}
	https := Explain(c, "mail.test").Domains[0].HTTPS
	if https.Certificate != nil || len(https.Others) == 0 || !strings.Contains(https.Notes[0], "passed through to port 0 of /mail") {
		t.Errorf("mail.test by HTTPS: %+v", https)
	}
	if used := Explain(c, "x.test").Domains[0].HTTPS.Certificate; used == nil || used.Secret != "vault/*.test" {
		t.Errorf("x.test by HTTPS: %+v", used)
	}
	if words := Explain(c, "/quiet").Apps[0].Ports[0].Connections; len(words) != 1 || !strings.Contains(words[0], "tcp: all") {
		t.Errorf("a port that counts as TCP: %q", words)
	}
}

// What a domain is said to need is published, whatever is claimed by whom.
func TestWhatIsNeededIsPublished(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, collator.Config{})
	syncApps(t, c, collatortest.App("/b", "d.test", "*.d.test"), collatortest.App("/a", "d.test", "x.d.test"), collatortest.Set(t, collatortest.App("/c", "d.test"), "PATH=/c", "BACKEND_WEIGHT=-1"))
	for _, domain := range []string{"d.test", "*.d.test", "x.d.test"} {
		needs := Explain(c, domain).Needs["external"]
		if len(needs) == 0 {
			t.Errorf("%s needs nothing", domain)
		}
		for _, key := range needs {
			if _, published := r.Versions[key]; !published {
				t.Errorf("%s: %s %s is not published", domain, key.Type, key.Name)
			}
		}
	}
}
