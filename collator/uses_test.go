package collator

import (
	"slices"
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// signedOn is an app whose requests another app is asked about.
func signedOn(app *sources.App, other string) *sources.App {
	return changed(app, func(p *sources.Port) {
		p.HTTP = &sources.HTTP{SignOn: &sources.SignOn{App: &sources.AuthApp{AppRef: sources.AppRef{App: other}}}}
	})
}

// usedBy lets apps use another one.
func usedBy(app *sources.App, by ...string) *sources.App {
	return changed(app, func(p *sources.Port) { p.UsedBy = by })
}

func referenceOf(t *testing.T, c *Collator, app string) string {
	t.Helper()
	for _, reference := range c.fleets[0].uses.found[app][0] {
		return reference.Cluster
	}
	return ""
}

func useProblems(c *Collator, app string) (reasons []string) {
	for _, p := range c.problems.of(app) {
		if strings.Contains(p.Subject, "AUTH_APP") && p.Severity == problem.Failing {
			reasons = append(reasons, p.Reason)
		}
	}
	return reasons
}

// A change of an app that others name has their scopes built again, if it matters to them, and no others.
func TestUses(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	sso := webApp("/platform/sso", "sso.test")
	syncApps(c, signedOn(webApp("/shop/web", "shop.test", "www.shop.test"), "/platform/sso"), signedOn(webApp("/platform/own", "own.test"), "/platform/sso"), webApp("/other/web", "other.test"))
	want := func(what, cluster, own string, scopes ...string) {
		t.Helper()
		if got := referenceOf(t, c, "/shop/web"); got != cluster {
			t.Errorf("%s: the other tenant's app has %q, want %q", what, got, cluster)
		}
		if got := referenceOf(t, c, "/platform/own"); got != own {
			t.Errorf("%s: an app in the folder has %q, want %q", what, got, own)
		}
		for app, cluster := range map[string]string{"/shop/web": cluster, "/platform/own": own} {
			if problems := useProblems(c, app); (len(problems) > 0) != (cluster == "") {
				t.Errorf("%s: problems of %s: %q", what, app, problems)
			}
		}
		var built []string
		for _, key := range r.Touched() {
			if name, ok := strings.CutPrefix(key, `set scopes "`); ok && !strings.HasPrefix(name, "sso.") {
				built = append(built, strings.TrimSuffix(name, `"`))
			}
		}
		if !slices.Equal(built, scopes) {
			t.Errorf("%s: built %q, want %q", what, built, scopes)
		}
	}
	r.Touched()
	want("before there is one", "", "")
	hidden := useProblems(c, "/shop/web")
	updateApps(c, sso)
	want("without leave", "", "/platform/sso_0", "own.test")
	if got := useProblems(c, "/shop/web"); !slices.Equal(got, hidden) {
		t.Errorf("who may not use it is told that it exists: %q, and before %q", got, hidden)
	}
	updateApps(c, usedBy(sso, "/shop/*"))
	want("with leave", "/platform/sso_0", "/platform/sso_0", "shop.test", "www.shop.test")
	updateApps(c, changed(usedBy(sso, "/shop/*"), func(p *sources.Port) { p.Endpoints = nil }))
	want("without instances", "/platform/sso_0", "/platform/sso_0")
	updateApps(c, changed(usedBy(sso, "/shop/*"), func(p *sources.Port) { p.TCP = &sources.TCP{Port: 7000} }))
	want("as a TCP service", "", "", "own.test", "shop.test", "www.shop.test")
	updateApps(c, usedBy(sso, "/shop/*"))
	want("again", "/platform/sso_0", "/platform/sso_0", "own.test", "shop.test", "www.shop.test")
	updateApps(c, changed(usedBy(sso, "/shop/*"), func(p *sources.Port) { p.Groups = []string{"internal"} }))
	want("in no fleet", "", "", "own.test", "shop.test", "www.shop.test")
	updateApps(c, usedBy(sso, "*"))
	want("for all", "/platform/sso_0", "/platform/sso_0", "own.test", "shop.test", "www.shop.test")
	c.UpdateApps(nil, []string{"/platform/sso"})
	c.round()
	want("removed", "", "", "own.test", "shop.test", "www.shop.test")
	c.UpdateApps(nil, []string{"/shop/web", "/platform/own"})
	c.round()
	if f := c.fleets[0]; len(f.uses.users)+len(f.uses.found)+len(f.uses.clusters) > 0 || len(useProblems(c, "/shop/web")) > 0 {
		t.Errorf("left behind: %+v", f.uses)
	}
}

// Apps that are routed together count as each of them: the one that uses, and the one that is used.
func TestUsesOfDeployments(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	blue, green := inDeployment(webApp("/platform/blue", "sso.test"), "/sso", 0), inDeployment(usedBy(webApp("/platform/green", "sso.test"), "/shop/*"), "/sso", 1)
	syncApps(c, signedOn(webApp("/shop/web", "shop.test"), "/platform/green"), signedOn(webApp("/platform/own", "own.test"), "deployment-group/sso"), green)
	if got := referenceOf(t, c, "/shop/web") + " " + referenceOf(t, c, "/platform/own"); got != "deployment-group/sso_0 deployment-group/sso_0" {
		t.Errorf("has %s", got)
	}
	updateApps(c, blue)
	if got := referenceOf(t, c, "/shop/web"); got != "" {
		t.Errorf("uses %s, of which one member does not let it", got)
	}
	updateApps(c, usedBy(blue, "/shop/*"))
	if got := referenceOf(t, c, "/shop/web"); got != "deployment-group/sso_0" {
		t.Errorf("has %q, which all members let it use", got)
	}
	// An app of another tenant that joins those of an app takes away what it may not have itself.
	updateApps(c, inDeployment(signedOn(webApp("/shop/blue", "group.test"), "/platform/green"), "/web", 0))
	if got := referenceOf(t, c, "deployment-group/web"); got == "" {
		t.Error("a deployment may not use what its app may")
	}
	updateApps(c, inDeployment(webApp("/evil/green", "group.test"), "/web", 1))
	if got := referenceOf(t, c, "deployment-group/web"); got != "" {
		t.Errorf("a deployment uses %s, which one of its members may not", got)
	}
}

// The requests of an app wait for the one that it has asked while that sleeps, and who asks which scopes have to be there for
// that is told so. Whoever is sent copies of requests has nobody wait.
func TestUsesWait(t *testing.T) {
	t.Parallel()
	fleet := testFleet()
	fleet.Scaling = true
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	mirrored := changed(webApp("/shop/copied", "copied.test"), func(p *sources.Port) {
		p.HTTP = &sources.HTTP{Shaping: &sources.Shaping{Mirrors: []sources.Mirror{{To: sources.AppRef{App: "/shop/sso"}, Percent: 5}}}}
	})
	sso := webApp("/shop/sso")
	syncApps(c, signedOn(webApp("/shop/web", "web.test", "www.test"), "/shop/sso"), mirrored, sso)
	r.Touched()
	expect := func(what string, gated bool, scopes ...string) {
		t.Helper()
		for _, reference := range c.fleets[0].uses.found["/shop/web"][0] {
			if reference.Gated != gated || reference.Cluster == "" {
				t.Errorf("%s: %+v", what, reference)
			}
		}
		if got := c.ScopesAsking("/shop/sso")["external"]; !slices.Equal(got, scopes) {
			t.Errorf("%s: it is asked in %q, want %q", what, got, scopes)
		}
		for _, touched := range r.Touched() {
			if strings.HasPrefix(touched, `set scopes "copied`) {
				t.Errorf("%s: %s", what, touched)
			}
		}
	}
	expect("it is awake", false, "web.test", "www.test")
	sleeps := *sso
	sleeps.Gated = true
	updateApps(c, &sleeps)
	expect("it sleeps", true, "web.test", "www.test")
	updateApps(c, sso)
	expect("it is awake again", false, "web.test", "www.test")
	updateApps(c, &sleeps)
	c.UpdateApps(nil, []string{"/shop/web"})
	c.round()
	expect("nobody names it", false)
	if len(c.fleets[0].asks)+len(c.fleets[0].askedBy) > 0 {
		t.Errorf("left behind: %v", c.fleets[0].asks)
	}
}

// Where folders have groups of one name, an app means that of its own folder, and whoever names the folder means that
// one, whatever the groups are called.
func TestUsesOfGroupsOfOneName(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	everybody := func(id, group string) *sources.App {
		return inDeployment(usedBy(webApp(id, "sso.test"), "*"), group, 0)
	}
	syncApps(c, everybody("/platform/sso", "sso"), signedOn(webApp("/shop/own", "own.test"), "deployment-group/sso"),
		signedOn(webApp("/shop/named", "named.test"), "deployment-group/sso@platform"), signedOn(webApp("/other/web", "other.test"), "deployment-group/sso"))
	expect := func(what, own, named, other string) {
		t.Helper()
		for app, want := range map[string]string{"/shop/own": own, "/shop/named": named, "/other/web": other} {
			if got := referenceOf(t, c, app); got != want {
				t.Errorf("%s: %s has %q, want %q", what, app, got, want)
			}
		}
	}
	const group, platform, shop = "deployment-group/sso_0", "deployment-group/sso@platform_0", "deployment-group/sso@shop_0"
	expect("one group", group, group, group)
	updateApps(c, everybody("/shop/sso", "sso@shop"))
	expect("one of the folder came", shop, group, group)
	c.UpdateApps([]*sources.App{everybody("/evil/sso", "sso")}, []string{"/platform/sso"})
	c.round()
	expect("the folder's own is gone", shop, "", group)
	updateApps(c, everybody("/platform/sso", "sso@platform"))
	expect("it is back, by another name", shop, platform, group)
	c.UpdateApps(nil, []string{"/shop/sso", "/evil/sso"})
	c.round()
	expect("the others are gone", "", platform, "")
}

// The cluster that a scope uses is removed after it.
func TestUsedClustersStay(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	syncApps(c, signedOn(webApp("/shop/web", "shop.test"), "/shop/sso"), webApp("/shop/sso"))
	f := c.fleets[0]
	cluster := xds.Key{Type: xds.Cluster, Name: "/shop/sso_0"}
	if n := f.published.references.counts[cluster]; n != 1 {
		t.Fatalf("%d resources name the cluster", n)
	}
	r.Touched()
	c.UpdateApps(nil, []string{"/shop/sso"})
	c.round()
	change := r.Touched()
	if !slices.Contains(change, `set scopes "shop.test"`) || !slices.Contains(change, `remove clusters "/shop/sso_0"`) {
		t.Errorf("changed %q", change)
	}
}

// A host outside has a cluster while an app has Envoys ask it.
func TestExternals(t *testing.T) {
	t.Parallel()
	f := testFleet()
	f.ExternalCA = testCA
	c, r := newTest(t, Config{Fleets: []routing.Fleet{f}})
	by := func(id, domain, url string) *sources.App {
		return changed(webApp(id, domain), func(p *sources.Port) {
			p.HTTP = &sources.HTTP{SignOn: &sources.SignOn{JWT: &sources.JWT{Issuer: "i", JWKS: url, Audiences: []string{"a"}}}}
		})
	}
	const cluster = "external/https/login.test:443"
	has := func() bool { return slices.Contains(r.Names(xds.Cluster), cluster) }
	syncApps(c, by("/a", "a.test", "https://login.test/keys"), by("/b", "b.test", "https://Login.test:443/other"))
	if !has() {
		t.Fatalf("there is no cluster %s", cluster)
	}
	updateApps(c, webApp("/a", "a.test"))
	if !has() {
		t.Error("the cluster went away though an app uses it")
	}
	updateApps(c, by("/b", "b.test", "http://login.test/other?token=hunter2"))
	if has() {
		t.Error("the cluster stays though no app uses it")
	}
	problems := c.problems.of("/b")
	if len(problems) != 1 || problems[0].Severity != problem.Failing || strings.Contains(problems[0].Reason, "hunter2") {
		t.Errorf("problems: %+v", problems)
	}
}
