package collator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// inDeployment is an app that is one service with others.
func inDeployment(app *sources.App, group string, started int) *sources.App {
	app.Deployment = &sources.Deployment{Group: group, StartedAt: testTime.Add(time.Duration(started) * time.Minute), Instances: 1, TargetInstances: 1}
	return app
}

// What is switched changes the scopes of the subject alone, and what ends leaves nothing behind.
func TestTailing(t *testing.T) {
	t.Parallel()
	part := changed(webApp("/part", "shop.test"), func(p *sources.Port) { p.HTTP = &sources.HTTP{Paths: []sources.Path{{Prefix: "/part"}}} })
	service := changed(webApp("/db"), func(p *sources.Port) { p.TCP = &sources.TCP{Port: 5432} })
	apps := []*sources.App{
		webApp("/shop", "shop.test", "www.shop.test"), part, webApp("/other", "other.test"), webApp("/wild", "*.wild.test"), webApp("/own", "own.wild.test"),
		service, inDeployment(webApp("/blue", "group.test"), "/group", 0), inDeployment(webApp("/green", "group.test"), "/group", 1),
	}
	tests := []struct {
		subject string
		want    Tailing
		set     []string
	}{
		{"/shop", Tailing{Known: true, Routed: "/shop", Scopes: map[string][]string{"external": {"shop.test", "www.shop.test"}}}, []string{"shop.test", "www.shop.test"}},
		{"/part", Tailing{Known: true, Routed: "/part", Scopes: map[string][]string{"external": {"shop.test"}}}, []string{"shop.test"}},
		{"/green", Tailing{Known: true, Routed: "deployment-group/group", Scopes: map[string][]string{"external": {"group.test"}}}, []string{"group.test"}},
		{"shop.test", Tailing{Known: true, Routed: "", Scopes: map[string][]string{"external": {"shop.test"}}}, []string{"shop.test"}},
		{"a.b.wild.test", Tailing{Known: true, Routed: "", Scopes: map[string][]string{"external": {"*.wild.test"}}}, []string{"*.wild.test"}},
		{"own.wild.test", Tailing{Known: true, Routed: "", Scopes: map[string][]string{"external": {"own.wild.test"}}}, []string{"own.wild.test"}},
		{"*.wild.test", Tailing{Known: true, Routed: "", Scopes: map[string][]string{"external": {"*.wild.test"}}}, []string{"*.wild.test"}},
		{"/db", Tailing{Known: true, Routed: "/db", Scopes: map[string][]string{}}, nil},
		{"/nothing", Tailing{}, nil},
		{"nothing.test", Tailing{Known: false, Routed: "", Scopes: map[string][]string{}}, nil},
		{"*.nothing.test", Tailing{Known: false, Routed: "", Scopes: map[string][]string{}}, nil},
	}
	for _, test := range tests {
		t.Run(test.subject, func(t *testing.T) {
			t.Parallel()
			c, r := newTest(t, Config{})
			syncApps(c, apps...)
			before := maps.Clone(r.Versions)
			r.Touched()
			tail(c, test.subject, true)
			if diff := cmp.Diff(test.want, c.Tailing(test.subject), cmpopts.IgnoreUnexported(Tailing{})); diff != "" {
				t.Errorf("tailing (-want +got):\n%s", diff)
			}
			wantScopes(t, r, test.set...)
			for key, version := range r.Versions {
				if tailed := strings.HasPrefix(version, "passing-"); tailed != slices.Contains(test.set, key.Name) || tailed && key.Type != xds.Scope {
					t.Errorf("%v has version %s", key, version)
				}
			}
			tail(c, test.subject, true)
			wantScopes(t, r)
			tail(c, test.subject, false)
			wantScopes(t, r, test.set...)
			if diff := cmp.Diff(before, r.Versions); diff != "" {
				t.Errorf("not what it was (-before +after):\n%s", diff)
			}
		})
	}
}

// An app of very many domains is not followed: that would keep Envoys busy. Each of its domains
// may be, and the app when it has fewer.
func TestTailingOfManyDomains(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	var domains []string
	for i := range MaxTailed + 1 {
		domains = append(domains, fmt.Sprintf("d%d.test", i))
	}
	syncApps(c, webApp("/many", domains...))
	r.Touched()
	tail(c, "/many", true)
	wantScopes(t, r)
	if got := c.Tailing("/many"); !got.Known || got.TooMany != MaxTailed+1 || len(got.Scopes) != 0 {
		t.Errorf("tailing is %+v", got)
	}
	tail(c, "d7.test", true)
	wantScopes(t, r, "d7.test")
	tail(c, "d7.test", false)
	r.Touched()
	syncApps(c, webApp("/many", domains[:MaxTailed]...))
	if got := c.Tailing("/many"); got.TooMany != 0 || len(got.Scopes["external"]) != MaxTailed {
		t.Errorf("with fewer domains: %d too many, %d scopes", got.TooMany, len(got.Scopes["external"]))
	}
}

func tail(c *Collator, subject string, on bool) {
	c.Tail(subject, on)
	c.round()
}

func wantScopes(t *testing.T, r *recorder, scopes ...string) {
	t.Helper()
	var want []string
	for _, scope := range scopes {
		want = append(want, fmt.Sprintf("set scopes %q", scope))
	}
	wantTouched(t, r, want...)
}

// tailedNow are the scopes that have Envoys report.
func tailedNow(r *recorder) (scopes []string) {
	for key, version := range r.Versions {
		if strings.HasPrefix(version, "passing-") {
			scopes = append(scopes, key.Name)
		}
	}
	slices.Sort(scopes)
	return scopes
}

// An app or domain comes, goes and changes while somebody follows it.
func TestTailedChanges(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	cfg := Config{}
	syncApps(c, webApp("/a", "a.test"), webApp("/b", "b.test"), webApp("/wild", "*.wild.test"))
	tail(c, "/a", true)
	tail(c, "host.wild.test", true)
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"one more domain", func() { updateApps(c, webApp("/a", "a.test", "new.test")) }, []string{"*.wild.test", "a.test", "new.test"}},
		{"a domain goes", func() { updateApps(c, webApp("/a", "new.test")) }, []string{"*.wild.test", "new.test"}},
		{"the app goes", func() { c.UpdateApps(nil, []string{"/a"}); c.round() }, []string{"*.wild.test"}},
		{"it comes back", func() { updateApps(c, webApp("/a", "a.test")) }, []string{"*.wild.test", "a.test"}},
		{"it joins a deployment", func() { updateApps(c, inDeployment(webApp("/a", "a.test"), "/g", 1)) }, []string{"*.wild.test", "a.test"}},
		{"with another one", func() { updateApps(c, inDeployment(webApp("/a-old", "a.test"), "/g", 0)) }, []string{"*.wild.test", "a.test"}},
		{"of which it is the newer, with other domains", func() { updateApps(c, inDeployment(webApp("/a-old", "old.test"), "/g", 0)) }, []string{"*.wild.test", "old.test"}},
		{"of which it is taken out", func() { c.UpdateApps(nil, []string{"/a"}); c.round() }, []string{"*.wild.test"}},
		{"it comes back once more", func() { updateApps(c, webApp("/a", "a.test")) }, []string{"*.wild.test", "a.test"}},
		{"the host gets a scope of its own", func() { updateApps(c, webApp("/host", "host.wild.test")) }, []string{"a.test", "host.wild.test"}},
		{"and loses it", func() { c.UpdateApps(nil, []string{"/host"}); c.round() }, []string{"*.wild.test", "a.test"}},
		{"everything is built again", func() { c.reindex(); c.round() }, []string{"*.wild.test", "a.test"}},
		{"the app is followed no more", func() { tail(c, "/a", false) }, []string{"*.wild.test"}},
		{"nor is the host", func() { tail(c, "host.wild.test", false) }, nil},
	}
	for _, step := range steps {
		step.do()
		if told := slices.Sorted(slices.Values(slices.Concat(c.Tailing("/a").Scopes["external"], c.Tailing("host.wild.test").Scopes["external"]))); !slices.Equal(told, step.want) {
			t.Errorf("%s: it is told that %q are tailed, want %q", step.name, told, step.want)
		}
		if got := tailedNow(r); !slices.Equal(got, step.want) {
			t.Errorf("%s: tailed are %q, want %q", step.name, got, step.want)
		}
	}
	if n := len(c.fleets[0].tailed); n > 0 {
		t.Errorf("%d scopes are remembered", n)
	}
	wantSameAsFresh(t, c, r, cfg)
}

// A round that panics while a tail is switched forgets neither the switch nor what it was.
func TestTailingIsSwitchedAfterAPanic(t *testing.T) {
	t.Parallel()
	b := newBroken(t, Config{Fleets: []routing.Fleet{testFleet()}})
	b.SyncApps([]*sources.App{webApp("/a", "a.test")})
	b.serve()
	for _, on := range []bool{true, false} {
		b.publishers[0].before.left = 1
		b.Tail("/a", on)
		if b.serve() {
			t.Error("no round panicked")
		}
		for !b.serve() {
		}
		if got := len(tailedNow(b.publishers[0].recorder)) > 0; got != on {
			t.Errorf("after a panic it is tailed: %v, want %v", got, on)
		}
	}
}
