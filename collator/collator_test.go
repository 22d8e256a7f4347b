package collator

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChangesTouchOnlyWhatTheyConcern(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	web := webApp("/web", "web.test")
	syncApps(c, web, webApp("/other", "other.test"))
	r.Touched()

	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"the same again", func() { syncApps(c, web, webApp("/other", "other.test")) }, nil},
		{"another endpoint", func() {
			updateApps(c, changed(web, func(p *sources.Port) { p.Endpoints = endpoints("10.0.0.9:1") }))
		}, []string{`set endpoints "/web_0"`}},
		{"suspended", func() { updateApps(c, changed(web, func(p *sources.Port) { p.Endpoints = nil })) },
			[]string{`set endpoints "/web_0"`}},
		{"what Envoy does not see", func() {
			updateApps(c, changed(web, func(p *sources.Port) {
				p.Endpoints, p.Excluded = nil, []sources.Excluded{{Task: "x", Reason: "unhealthy"}}
			}))
		}, nil},
		{"another domain", func() { updateApps(c, webApp("/web", "web.test", "new.test")) },
			[]string{`set endpoints "/web_0"`, `set scopes "new.test"`}},
		{"domain gone", func() { updateApps(c, webApp("/web", "new.test")) }, []string{`remove scopes "web.test"`}},
		{"redirect", func() {
			updateApps(c, changed(webApp("/web", "new.test"), func(p *sources.Port) { p.RedirectToHTTPS = true }))
		}, []string{`set scopes "new.test"`}},
		{"the ACME app comes", func() { updateApps(c, webApp("/marathon-acme")) },
			[]string{`set endpoints "/marathon-acme_0"`}},
		{"the ACME app goes", func() { c.UpdateApps(nil, []string{"/marathon-acme"}); c.round() },
			[]string{`set endpoints "/marathon-acme_0"`}},
		{"removed by a complete read", func() { syncApps(c, webApp("/other", "other.test")) },
			[]string{`remove clusters "/web_0"`, `remove endpoints "/web_0"`, `remove scopes "new.test"`}},
		{"unknown app removed", func() { c.UpdateApps(nil, []string{"/nothing"}); c.round() }, nil},
	}
	for _, step := range steps {
		step.do()
		if diff := cmp.Diff(step.want, r.Touched()); diff != "" {
			t.Errorf("%s: published (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestClashMovesToTheLowestID(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	syncApps(c, webApp("/b", "d.test"))
	scope := xds.Key{Type: xds.Scope, Name: "d.test"}
	ofB := r.Versions[scope]

	updateApps(c, changed(webApp("/a", "d.test"), func(p *sources.Port) { p.Endpoints = nil }))
	if r.Versions[scope] == ofB {
		t.Error("the domain stays with /b though /a claims it")
	}
	view, _ := c.App("/b")
	want := []string{"clash /b d.test: port 0 does not get the domain: port 0 of /a has it (the lowest app id wins, then the lowest port)"}
	if diff := cmp.Diff(want, clashesOf(view.Problems)); diff != "" {
		t.Errorf("problems of /b (-want +got):\n%s", diff)
	}

	c.UpdateApps(nil, []string{"/a"})
	c.round()
	if r.Versions[scope] != ofB {
		t.Error("the domain did not go back to /b")
	}
	if view, _ := c.App("/b"); len(clashesOf(view.Problems)) != 0 {
		t.Errorf("problems of /b after /a went: %v", reasons(view.Problems))
	}
}

func clashesOf(problems []problem.Problem) (clashes []string) {
	for _, reason := range reasons(problems) {
		if strings.HasPrefix(reason, string(problem.Clash)) {
			clashes = append(clashes, reason)
		}
	}
	return clashes
}

// A wildcard domain concerns no domain under it.
func TestWildcardDomainsLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	syncApps(c, webApp("/a", "a.zone.test"), webApp("/b", "b.in.zone.test"), webApp("/c", "zone.test"))
	r.Touched()

	updateApps(c, webApp("/wild", "*.zone.test"))
	wantTouched(t, r, `set clusters "/wild_0"`, `set endpoints "/wild_0"`, `set scopes "*.*"`, `set scopes "*.zone.test"`)

	updateApps(c, webApp("/inner", "*.in.zone.test"))
	wantTouched(t, r, `set clusters "/inner_0"`, `set endpoints "/inner_0"`, `set scopes "*.*"`, `set scopes "*.in.zone.test"`)

	updateApps(c, webApp("/b", "b.in.zone.test", "c.in.zone.test"))
	wantTouched(t, r, `set scopes "c.in.zone.test"`)

	updateApps(c, changed(webApp("/wild", "*.zone.test"), func(p *sources.Port) { p.RedirectToHTTPS = true }))
	wantTouched(t, r, `set scopes "*.zone.test"`)

	c.UpdateApps(nil, []string{"/wild"})
	c.round()
	wantTouched(t, r, `set scopes "*.*"`, `remove clusters "/wild_0"`, `remove endpoints "/wild_0"`, `remove scopes "*.zone.test"`)

	c.UpdateApps(nil, []string{"/inner"})
	c.round()
	wantTouched(t, r, `remove clusters "/inner_0"`, `remove endpoints "/inner_0"`, `remove scopes "*.*"`, `remove scopes "*.in.zone.test"`)
}

func TestNothingIsPublishedBeforeAppsAreKnown(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
	published := func() []bool { return []bool{isClosed(c.AppsPublished()), isClosed(c.CertificatesPublished())} }
	c.SyncCertificates("vault", []*certs.Certificate{certificate("a.test", "1", "a.test")}, nil)
	c.round()
	updateApps(c, webApp("/early", "early.test"))
	if len(r.Changes) != 0 || slices.Contains(published(), true) || c.AppsSynced() {
		t.Fatalf("published %v, told %v before the first complete read", r.Touched(), published())
	}
	syncApps(c, webApp("/web", "web.test"))
	syncApps(c)
	if diff := cmp.Diff([]bool{true, true}, published()); diff != "" {
		t.Errorf("apps and certificates published (-want +got):\n%s", diff)
	}
	if len(r.Changes[0].Withhold) != 0 {
		t.Error("the https listener is withheld though certificates are known")
	}
}

func TestBadAppsCostThemselvesOnly(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	mapOne := c.cleanPolicy
	c.cleanPolicy = func(app *sources.App) (*sources.App, []problem.Problem, error) {
		if app.ID == "/bug" && app.Version == "2" {
			panic("boom")
		}
		return mapOne(app)
	}
	syncApps(c, webApp("/bug", "bug.test"), webApp("/good", "good.test"), webApp("\xff", "utf8.test"),
		webApp("", "none.test"), nil, webApp("/bad", "tilde~.test", "*", "UPPER.test"))
	broken := *webApp("/bug", "elsewhere.test")
	broken.Version = "2"
	r.Touched()
	updateApps(c, &broken)
	wantTouched(t, r)

	if diff := cmp.Diff([]string{"bug.test", "good.test", "upper.test"}, r.Names(xds.Scope)); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
	if n := c.problems.count(problem.Internal); n != 1 {
		t.Errorf("%d internal problems, want 1: %v", n, reasons(c.Problems()))
	}
	if n := c.problems.count(problem.App); n != 4 {
		t.Errorf("%d problems of apps, want 4: %v", n, reasons(c.Problems()))
	}
	mended := broken
	mended.Version = "3"
	updateApps(c, &mended)
	wantTouched(t, r, `set scopes "elsewhere.test"`, `remove scopes "bug.test"`)
	if n := c.problems.count(problem.Internal); n != 0 {
		t.Errorf("the problem stays after the app was mapped: %v", reasons(c.Problems()))
	}
}

func TestInvalidResourceKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	syncApps(c, webApp("/web", "web.test"))
	f, key := c.fleets[0], xds.Key{Type: xds.Cluster, Name: "/web_0"}
	good := r.Versions[key]
	f.Options.ConnectTimeout = -time.Second
	f.marked[key] = struct{}{}
	c.round()
	if r.Versions[key] != good || c.problems.count(problem.Resource) != 1 {
		t.Errorf("version %q, want %q; problems %v", r.Versions[key], good, reasons(c.Problems()))
	}
	if view, _ := c.App("/web"); len(view.Problems) != 1 {
		t.Errorf("problems of the app: %v, want one about its cluster", reasons(view.Problems))
	}
	f.Options = routing.DefaultOptions()
	f.marked[key] = struct{}{}
	c.round()
	if n := c.problems.count(problem.Resource); n != 0 {
		t.Errorf("%d problems stay after the resource became valid", n)
	}
}

func TestFlushWaitsForWhatWasNoted(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Errorf("Flush with nothing noted: %v", err)
	}
	c.SyncApps([]*sources.App{webApp("/web", "web.test")})
	if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush without a running loop: %v, want the deadline", err)
	}
	serving, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Serve(serving) }()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	<-done
	if diff := cmp.Diff([]string{"web.test"}, r.Names(xds.Scope)); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
}

func TestFleetsTakeTheirOwnPorts(t *testing.T) {
	t.Parallel()
	internal := testFleet()
	internal.Name, internal.HTTPS = "internal", netip.AddrPort{}
	c, external := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), internal}})
	app := &sources.App{ID: "/multi", Ports: []sources.Port{
		{Groups: []string{"internal"}, Domains: []string{"in.test"}, RedirectToHTTPS: true, Endpoints: endpoints("10.0.0.1:1")},
		{Groups: []string{"external", "internal"}, Domains: []string{"both.test"}, Endpoints: endpoints("10.0.0.1:2")},
	}}
	syncApps(c, app)
	got := map[string][]string{
		"external": external.Names(xds.Scope),
		"internal": c.fleets[1].publisher.(*recorder).Names(xds.Scope),
	}
	want := map[string][]string{"external": {"both.test"}, "internal": {"both.test", "in.test"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
	view, ok := c.App("/multi")
	if !ok || len(view.Problems) != 1 || view.Problems[0].Fleet != "internal" || view.Problems[0].Kind != problem.HTTPS {
		t.Errorf("problems: %v, want one about the redirect in the internal fleet", reasons(view.Problems))
	}
	if diff := cmp.Diff([]string{"external", "internal"}, view.Ports[1].Fleets); diff != "" {
		t.Errorf("fleets of port 1 (-want +got):\n%s", diff)
	}
	if apps := c.Apps(); len(apps) != 1 || !cmp.Equal(apps[0], view, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
		t.Errorf("Apps() = %v, want the view of the app", apps)
	}
	syncApps(c)
	if p := c.Problems(); len(p) != 1 { // no certificate
		t.Errorf("problems after the app went: %v", reasons(p))
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		want string
		edit func(*Config)
	}{
		{"no fleet", func(c *Config) { c.Fleets = nil }},
		{"twice", func(c *Config) { c.Fleets = append(c.Fleets, c.Fleets[0]) }},
		{"no publisher", func(c *Config) { c.Fleets[0].Name = "other" }},
		{"no name", func(c *Config) { c.Fleets[0].Name = "" }},
		{"no address", func(c *Config) { c.Fleets[0].HTTP = netip.AddrPort{} }},
		{"both", func(c *Config) { c.Fleets[0].HTTPS = c.Fleets[0].HTTP }},
		{"connect timeout", func(c *Config) { c.Fleets[0].Options = routing.Options{} }},
		{"negative", func(c *Config) { c.Fleets[0].Options.StreamIdleTimeout = -1 }},
	}
	for _, tt := range tests {
		cfg := Config{Fleets: []routing.Fleet{testFleet()}}
		tt.edit(&cfg)
		_, err := New(cfg, map[string]Publisher{"external": newRecorder()}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New: %v, want an error with %q", err, tt.want)
		}
	}
}
