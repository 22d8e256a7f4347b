package collator

import (
	"testing"
	"time"

	"relay/collator/routing"
	"relay/sources"
)

// Domains that ask for certificates by ACME get none without the app that answers challenges:
// each fleet that has such domains says so once.
func TestACMEAppThatIsNotThere(t *testing.T) {
	t.Parallel()
	internal := testFleet()
	internal.Name = "internal"
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), internal}, ACMEApp: "/infra/acme"})
	acme := func(id string, domains ...string) *sources.App {
		return changed(webApp(id, domains...), func(p *sources.Port) { p.ACMEDomains = domains })
	}
	plain := changed(webApp("/plain", "p.test"), func(p *sources.Port) { p.Groups = []string{"internal"} })
	const says, wanted = "external acme-app: app /infra/acme ", " (MARATHON_ACME_n_DOMAIN) get 503"
	for _, tt := range []struct {
		name string
		do   func()
		want string
	}{
		{"nobody wants ACME", func() { syncApps(c, plain, webApp("/a", "a.test")) }, ""},
		{"one domain", func() { updateApps(c, acme("/a", "a.test")) }, says + "is not there (--acme-app): ACME challenges for 1 domain" + wanted},
		{"two apps want the same", func() { updateApps(c, acme("/b", "a.test", "b.test")) }, says + "is not there (--acme-app): ACME challenges for 2 domains" + wanted},
		{"the loop starts again", c.reindex, says + "is not there (--acme-app): ACME challenges for 2 domains" + wanted},
		{"the app has no port", func() { updateApps(c, &sources.App{ID: "/infra/acme"}) }, says + "has no port (--acme-app): ACME challenges for 2 domains" + wanted},
		{"the app comes", func() { updateApps(c, webApp("/infra/acme")) }, ""},
		{"the app goes", func() { c.UpdateApps(nil, []string{"/infra/acme"}) }, says + "is not there (--acme-app): ACME challenges for 2 domains" + wanted},
		{"one app goes", func() { c.UpdateApps(nil, []string{"/b"}) }, says + "is not there (--acme-app): ACME challenges for 1 domain" + wanted},
		{"nobody wants it any more", func() { updateApps(c, webApp("/a", "a.test")) }, ""},
	} {
		tt.do()
		c.round()
		if got := fleetProblems(c); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	// Without a task the app is as other apps are, though it has no domain.
	syncApps(c, plain, acme("/a", "a.test"), webApp("/infra/acme"))
	updateApps(c, empty(webApp("/infra/acme"), "t", "is starting"))
	c.now = func() time.Time { return testTime.Add(emptyGrace) }
	c.round()
	if got := taskProblems(c); len(got) != 1 || got[0] != "/infra/acme port 0: no task is in rotation: t is starting" {
		t.Errorf("problems %q", got)
	}
}
