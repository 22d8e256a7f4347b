package collator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// A group that is a fleet but for a slip is a problem of the app. One that is another word is
// none, and is shown.
func TestGroupsThatAreNoFleet(t *testing.T) {
	t.Parallel()
	internal := testFleet()
	internal.Name = "internal"
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), internal}})
	in := func(groups ...string) *sources.App {
		return changed(webApp("/web", "web.test"), func(p *sources.Port) { p.Groups = groups })
	}
	for _, tt := range []struct {
		groups []string
		want   string // in the reasons
		other  []string
	}{
		{[]string{"external"}, "", nil},
		{[]string{"External"}, `"External" is no fleet of this Relay: did you mean external? The fleets are external, internal`, []string{"External"}},
		{[]string{"external", "extern"}, "did you mean external?", []string{"extern"}},
		{[]string{"internal ", "web"}, "did you mean internal?", []string{"internal ", "web"}},
		{[]string{"web"}, "", []string{"web"}},
		{nil, "", nil},
		{[]string{"external"}, "", nil},
	} {
		updateApps(c, in(tt.groups...))
		var reasons []string
		for _, p := range c.Problems() {
			if p.Kind == problem.App {
				reasons = append(reasons, p.Subject+": "+p.Reason)
			}
		}
		if text := strings.Join(reasons, "\n"); (tt.want == "") != (text == "") || !strings.Contains(text, tt.want) || tt.want != "" && !strings.HasPrefix(text, "port 0, groups: ") {
			t.Errorf("groups %q: problems %q, want %q", tt.groups, text, tt.want)
		}
		if view, _ := c.App("/web"); !slices.Equal(view.Ports[0].OtherGroups, tt.other) {
			t.Errorf("groups %q: others are %q, want %q", tt.groups, view.Ports[0].OtherGroups, tt.other)
		}
	}
	// A new version with the same policy, and a loop that is started again, keep the problem.
	updateApps(c, in("External"))
	again := *in("External")
	again.Version = "2"
	updateApps(c, &again)
	if n := len(c.Problems()); n != 1 {
		t.Errorf("%d problems after a release", n)
	}
	c.reindex()
	if n := len(c.Problems()); n != 1 {
		t.Errorf("%d problems after a restart of the loop", n)
	}
}

// TestManyGroups holds what many near groups cost in words.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	app := webApp("/web", "web.test")
	app.Ports = slices.Repeat(app.Ports, 100)
	for i := range app.Ports {
		app.Ports[i].Groups = nil
		for n := range 100 {
			app.Ports[i].Groups = append(app.Ports[i].Groups, fmt.Sprintf("external%s%s", strings.Repeat(" ", i), strings.Repeat("_", n)))
		}
	}
	updateApps(c, app)
	if n := len(c.Problems()); n == 0 || n > sources.MaxProblems+100 {
		t.Errorf("%d problems", n)
	}
	var groups []string
	for i := range maxGroupsCompared {
		groups = append(groups, fmt.Sprintf("other-%d", i))
	}
	long := &sources.App{ID: "/long", Ports: []sources.Port{{Groups: append(groups, "External")}}}
	if problems := c.groupProblems(long); len(problems) > 0 {
		t.Errorf("more than %d groups are compared: %v", maxGroupsCompared, problems)
	}
	if view, _ := c.App("/web"); len(view.Ports[99].OtherGroups) > maxOtherGroups {
		t.Errorf("%d groups are shown", len(view.Ports[99].OtherGroups))
	}
}

// What a host name may have that no authority or client knows is told where it is asked for.
func TestOddDomains(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	syncApps(c,
		changed(webApp("/acme", "my_app.test", "10.0.0.1"), func(p *sources.Port) { p.ACMEDomains = []string{"my_app.test", "10.0.0.1", "a.test"} }),
		webApp("/plain", "my_app.test", "10.0.0.1", "-a.test", "*.my_zone.test"),
		passed("/pass", "10.0.0.2"),
	)
	var got []string
	for _, p := range c.Problems() {
		if p.Kind == problem.App {
			got = append(got, p.App+" "+p.Subject+": "+p.Reason)
		}
	}
	want := []string{
		"/acme port 0, acmeDomains: no authority gives a certificate for 10.0.0.1 by ACME: it is an IP address, for which clients ask for no certificate",
		"/acme port 0, acmeDomains: no authority gives a certificate for my_app.test by ACME: it has an underscore",
		"/pass port 0, domains: TLS for 10.0.0.2 is not passed through: clients send no server name for an IP address",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems:\n%s", strings.Join(got, "\n"))
	}
	if names := c.fleets[0].services.Names; len(names["10.0.0.2"]) > 0 {
		t.Errorf("the https listener is to pass through %v", names)
	}
	c.round()
	uncovered, _ := c.UncoveredDomains()
	for _, u := range uncovered {
		if u.Domain == "my_app.test" && u.Reason != "no certificate covers it, and none is to be had by ACME: it has an underscore" {
			t.Errorf("%s: %s", u.Domain, u.Reason)
		}
	}
}
