package collator

import (
	"fmt"
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// fleetProblems returns what is wrong with fleets, as text.
func fleetProblems(c *Collator) string {
	var lines []string
	for _, p := range c.Problems() {
		if p.Kind == problem.Fleet {
			lines = append(lines, strings.TrimSpace(p.Fleet+" "+p.Subject)+": "+p.Reason)
		}
	}
	return strings.Join(lines, "\n")
}

// A fleet that no app names serves nothing, and nothing else would say so: it is told, with
// the groups that there are, until an app names it.
func TestFleetThatNoAppNames(t *testing.T) {
	t.Parallel()
	extern := testFleet()
	extern.Name = "extern"
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{extern}})
	in := func(id string, groups ...string) *sources.App {
		return changed(webApp(id, "a.test"), func(p *sources.Port) { p.Groups = groups })
	}
	const says = "extern: no app names it in HAPROXY_GROUP (in a YAML file: groups), so it serves nothing; "
	for _, tt := range []struct {
		name string
		do   func()
		want string
	}{
		{"apps are not read yet", func() { updateApps(c, in("/a", "external")) }, ""},
		{"there are no apps", func() { syncApps(c) }, ""},
		{"no app has a group", func() { syncApps(c, in("/a")) }, says + "no app has a group"},
		{"other groups", func() {
			syncApps(c, in("/a", "external"), in("/b", "internal", "external"), in("/c", "external", "external"))
		},
			says + "groups seen: external (3 apps), internal (1 app)"},
		{"the loop starts again", c.reindex, says + "groups seen: external (3 apps), internal (1 app)"},
		{"an app names it", func() { updateApps(c, in("/b", "extern")) }, ""},
		{"that app goes", func() { c.UpdateApps(nil, []string{"/b"}) }, says + "groups seen: external (2 apps)"},
		{"many groups", func() { updateApps(c, in("/m", strings.Split("g0,g1,g2,g3,g4,g5,g6", ",")...)) },
			says + "groups seen: external (2 apps), g0 (1 app), g1 (1 app), g2 (1 app), g3 (1 app) and 3 more"},
		{"all go", func() { syncApps(c) }, ""},
	} {
		tt.do()
		c.round()
		if got := fleetProblems(c); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if n := len(c.groups.apps); n != 0 {
		t.Errorf("%d groups are remembered without an app", n)
	}
}

// The members of a deployment name fleets as other apps do.
func TestFleetNamedInDeployment(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	syncApps(c, member("/blue", 1, "10.0.0.1:1"), member("/green", 2, "10.0.0.2:1"))
	if got, n := fleetProblems(c), c.groups.apps["external"]; got != "" || n != 2 {
		t.Errorf("%d apps, problems %q", n, fmt.Sprint(got))
	}
}
