package collator

import (
	"net/netip"
	"strings"
	"testing"

	"relay/certs"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// tcpApp returns an app with a TCP service.
func tcpApp(t testing.TB, id string, settings ...string) *sources.App {
	return set(t, webApp(id), append([]string{"MODE=tcp"}, settings...)...)
}

func TestServicesTouchOnlyTheirListeners(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
	c.SyncCertificates("vault", []*certs.Certificate{certificate("a.test", "a", "a.test", "b.test")}, nil)
	syncApps(c, webApp("/web", "web.test"), tcpApp(t, "/db", "PORT=5432"))
	r.Touched()
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"another endpoint", func() {
			updateApps(c, changed(tcpApp(t, "/db", "PORT=5432"), func(p *sources.Port) { p.Endpoints = endpoints("10.0.0.9:1") }))
		}, []string{`set endpoints "/db_0"`}},
		{"another service", func() { updateApps(c, tcpApp(t, "/mail", "PORT=25")) },
			[]string{`set clusters "/mail_0"`, `set endpoints "/mail_0"`, `set listeners "tcp/25"`}},
		{"a clash that is lost", func() { updateApps(c, tcpApp(t, "/x", "PORT=25")) }, []string{`set clusters "/x_0"`, `set endpoints "/x_0"`}},
		{"a clash that is won", func() { updateApps(c, tcpApp(t, "/a", "PORT=25")) },
			[]string{`set clusters "/a_0"`, `set endpoints "/a_0"`, `set listeners "tcp/25"`}},
		{"the winner closes", func() { updateApps(c, tcpApp(t, "/a", "PORT=25", "AUTH=x")) }, []string{`remove listeners "tcp/25"`}},
		{"the winner goes", func() { c.UpdateApps(nil, []string{"/a"}); c.round() },
			[]string{`set listeners "tcp/25"`, `remove clusters "/a_0"`, `remove endpoints "/a_0"`}},
		{"another port", func() { updateApps(c, tcpApp(t, "/x", "PORT=26")) }, []string{`set listeners "tcp/26"`}},
		{"gone", func() { c.UpdateApps(nil, []string{"/mail"}); c.round() },
			[]string{`remove clusters "/mail_0"`, `remove endpoints "/mail_0"`, `remove listeners "tcp/25"`}},
		{"TLS passed through", func() { updateApps(c, set(t, webApp("/own", "own.test"), "TLS_PASSTHROUGH=true")) },
			[]string{`set clusters "/own_0"`, `set endpoints "/own_0"`, `set listeners "https"`, `set scopes "own.test"`}},
		{"its release", func() {
			updateApps(c, changed(set(t, webApp("/own", "own.test"), "TLS_PASSTHROUGH=true"), func(p *sources.Port) { p.Endpoints = nil }))
		}, []string{`set endpoints "/own_0"`}},
		{"not any more", func() { c.UpdateApps(nil, []string{"/own"}); c.round() },
			[]string{`set listeners "https"`, `remove clusters "/own_0"`, `remove endpoints "/own_0"`, `remove scopes "own.test"`}},
	}
	for _, step := range steps {
		step.do()
		t.Run(step.name, func(t *testing.T) { wantTouched(t, r, step.want...) })
	}
}

func TestFleetsChooseServices(t *testing.T) {
	t.Parallel()
	implicit := changed(webApp("/implicit"), func(p *sources.Port) { p.TCP = &sources.TCP{Port: 10001, Implicit: true} })
	for choice, want := range map[routing.TCPServices]string{
		"":                  "http https tcp/5432",
		routing.TCPLabelled: "http https tcp/5432",
		routing.TCPAll:      "http https tcp/10001 tcp/5432",
		routing.TCPNone:     "http https",
	} {
		fleet := testFleet()
		fleet.TCP = choice
		c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
		c.SyncCertificates("x", []*certs.Certificate{certificate("a.test", "a", "a.test")}, nil)
		inside := changed(tcpApp(t, "/inside", "PORT=5433"), func(p *sources.Port) { p.Groups = []string{"internal"} })
		syncApps(c, implicit, tcpApp(t, "/db", "PORT=5432"), inside)
		if got := strings.Join(r.Names(xds.Listener), " "); got != want {
			t.Errorf("tcp: %q: listeners %s, want %s", choice, got, want)
		}
	}
}

func TestServiceProblems(t *testing.T) {
	t.Parallel()
	fleet := testFleet()
	fleet.ReservedPorts = []uint16{9901}
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	c.SyncCertificates("x", []*certs.Certificate{certificate("a.test", "a", "a.test")}, nil)
	passed := func(id string) *sources.App { return set(t, webApp(id, "a.test"), "TLS_PASSTHROUGH=true") }
	tests := []struct {
		app   *sources.App
		words string
	}{
		{tcpApp(t, "/http", "PORT=80"), "TCP port 80, which belongs"},
		{tcpApp(t, "/https", "PORT=443"), "choose another by HAPROXY_n_PORT (in a YAML file: servicePort)"},
		{tcpApp(t, "/admin", "PORT=9901"), "TCP port 9901"},
		{tcpApp(t, "/auth", "PORT=1", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), "asked for a password"},
		{tcpApp(t, "/acl", "PORT=2", "BACKEND_NETWORK_ALLOWED_ACL=intranet"), "open to everyone"},
		{tcpApp(t, "/verify", "PORT=3", "TLS=true"), "--upstream-ca"},
		{tcpApp(t, "/first", "PORT=4"), ""},
		{tcpApp(t, "/second", "PORT=4"), "port 0 does not get it: port 0 of /first has it"},
		{passed("/pass"), "certificate vault/a.test is not used"},
		{passed("/pass2"), "port 0 of /pass has it"},
	}
	var apps []*sources.App
	for _, tt := range tests {
		apps = append(apps, tt.app)
	}
	syncApps(c, apps...)
	for _, tt := range tests {
		view, _ := c.App(tt.app.ID)
		got := strings.Join(reasons(view.Problems), "\n")
		if (got == "") != (tt.words == "") || !strings.Contains(got, tt.words) {
			t.Errorf("problems of %s: %q, want %q", tt.app.ID, got, tt.words)
		}
	}
	syncApps(c)
	if problems := c.Problems(); len(problems) > 0 {
		t.Errorf("problems of no apps: %v", problems)
	}
	fleet.UpstreamCA, fleet.HTTPS = testCA, netip.AddrPort{}
	c, _ = newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	syncApps(c, tcpApp(t, "/verify", "PORT=3", "TLS=true"), passed("/pass"))
	got := strings.Join(reasons(c.Problems()), "\n")
	if !strings.Contains(got, "RELAY_n_TLS_SNI") || !strings.Contains(got, "no https listener") {
		t.Errorf("problems %s", got)
	}
}
