package collator

import (
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// serviceOf is an app with a TCP service that lets clients of an authority in.
func serviceOf(id string, port uint16, authority string) *sources.App {
	return &sources.App{ID: id, Ports: []sources.Port{{
		Groups: []string{"external"}, TCP: &sources.TCP{Port: port, ServiceTLS: &sources.ServiceTLS{ClientCA: authority}},
	}}}
}

// What people are shown of authorities: where they are from, which one of a name is used, and by which
// apps. What is near its end or past it is a problem of these apps.
func TestAuthorityViews(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet()}, CertificateSources: []string{"dir", "vault"}})
	now := testTime
	c.now = func() time.Time { return now }
	made := func(source, name string, days int) *certs.Authority {
		return &certs.Authority{Source: source, Name: name, Certificates: []byte(source + name), Subjects: []string{"CN=" + name}, NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(0, 0, days)}
	}
	c.SyncCertificates("dir", nil, nil)
	c.SyncCertificates("vault", nil, nil)
	c.SyncAuthorities("dir", []*certs.Authority{made("dir", "devices", 100), made("dir", "unused", 100)}, nil)
	c.SyncAuthorities("vault", []*certs.Authority{made("vault", "devices", 40)}, nil)
	syncApps(c, serviceOf("/b", 7001, "devices"), serviceOf("/a", 7000, "devices"))
	var got []string
	for _, v := range c.Authorities() {
		got = append(got, strings.Join([]string{v.Source, v.Name, v.UsedInstead, strings.Join(v.Services, ",")}, " "))
	}
	if want := "vault devices  /a,/b; dir devices vault ; dir unused  "; strings.Join(got, "; ") != want {
		t.Errorf("shown is %q, want %q", strings.Join(got, "; "), want)
	}
	if used := c.UsedAuthorities(); len(used) != 1 || used[0].Source != "vault" {
		t.Errorf("used are %v", used)
	}
	if app, _ := c.App("/a"); app.Ports[0].TCP == nil || app.Ports[0].TCP.Port != 7000 || app.Ports[0].LacksAuthority {
		t.Errorf("the port of /a is shown as %+v", app.Ports[0])
	}
	for _, test := range []struct {
		days int
		want string
	}{{0, ""}, {11, "expires on"}, {41, "has expired on"}} {
		now = testTime.AddDate(0, 0, test.days)
		c.round()
		if said := strings.Join(problemsWith(c, problem.TCP, "authority"), "; "); strings.Count(said, "expire") != 2*min(1, len(test.want)) || !strings.Contains(said, test.want) {
			t.Errorf("after %d days: %q, want %q twice", test.days, said, test.want)
		}
	}
}

// That a store does not say which authorities it has is told where one is missed, and nowhere else.
func TestAuthoritiesNobodyMayList(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet()}, CertificateSources: []string{"vault"}})
	c.SyncCertificates("vault", nil, nil)
	if c.LacksAuthority(&sources.ServiceTLS{ClientCA: "devices"}) {
		t.Error("an authority is said to be missing before the store was read")
	}
	c.SyncAuthorities("vault", nil, []problem.Problem{{Subject: "authorities", Reason: "permission denied", Severity: problem.Advice}, {Subject: "authorities/x", Reason: "broken"}})
	syncApps(c)
	if said := problemsWith(c, problem.Certificate, ""); len(said) != 1 || !strings.Contains(said[0], "broken") {
		t.Errorf("said is %q", said)
	}
	syncApps(c, serviceOf("/a", 7000, "devices"), serviceOf("/open", 7001, ""))
	for id, want := range map[string]bool{"/a": true, "/open": false} {
		if app, _ := c.App(id); app.Ports[0].LacksAuthority != want {
			t.Errorf("%s lacks its authority: %t, want %t", id, !want, want)
		}
	}
	if said := problemsWith(c, problem.TCP, "no certificate store has it"); len(said) != 1 || !strings.Contains(said[0], "vault: permission denied") {
		t.Errorf("said is %q", said)
	}
}

// While the newest list of an authority is broken and an older one is in use, that is told beside the authority too.
// What to do is about the list: there is no certificate to issue again.
func TestBrokenListIsRemarked(t *testing.T) {
	t.Parallel()
	const broken = "the last good revocation lists stay in use"
	for source, subject := range map[string]string{"dir": "/etc/certs/devices.ca.pem", "vault": "authorities/devices"} {
		c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet()}, CertificateSources: []string{source}})
		c.SyncCertificates(source, nil, nil)
		read := func(name string) *certs.Authority {
			return &certs.Authority{Source: source, Name: name, Certificates: []byte(name), NotAfter: testTime.AddDate(1, 0, 0), Remark: "no list"}
		}
		c.SyncAuthorities(source, []*certs.Authority{read("devices"), read("other")}, []problem.Problem{{Subject: subject, Reason: broken}, {Subject: subject, Reason: "no list"}})
		syncApps(c)
		for _, v := range c.Authorities() {
			if got, want := strings.Join(v.Remarks, "; "), map[string]string{"devices": broken + "; no list", "other": "no list"}[v.Name]; got != want {
				t.Errorf("%s: the remarks of %s are %q, want %q", source, v.Name, got, want)
			}
		}
		for _, p := range c.Problems() {
			if p.Kind == problem.Certificate && p.Complete().Action != mendAuthority {
				t.Errorf("%s: what to do is %q", source, p.Complete().Action)
			}
		}
	}
}
