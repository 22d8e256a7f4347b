package routing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/internal/cputest"
)

func TestNearFleet(t *testing.T) {
	t.Parallel()
	fleets := []string{"external", "internal", "edge", "edge-a", "zone1", "Team Blue"}
	for group, want := range map[string]string{
		"External": "external", "EXTERNAL": "external", "external ": "external", " external": "external", "\u00a0external": "external", `"external"`: "external", "'external'": "external",
		"ехternal": "external", "external\u200b": "external", "ex-ternal": "external", "externl": "external", "extrenal": "external", "extern": "external", "externals": "external", "externall": "external",
		"intern": "internal", "Edge": "edge", "edge_a": "edge-a", "EdgeA": "edge-a", "zone-1": "zone1", "team-blue": "Team Blue", "external internal": "external", "external;web": "external", "external;": "external", "web|External": "external",
	} {
		if got := NearFleet(group, fleets); got != want {
			t.Errorf("%q is near %q, want %q", group, got, want)
		}
	}
	for _, group := range append(fleets, "", " ", "web", "ext", "int", "public", "external2", "external-2", "external-dev", "dev-external", "edges", "edge-b", "edge-", "zone2", "zone", "zone10", "eternity",
		"infernal affairs", "*", "\xff", strings.Repeat("external", 100)) {
		if got := NearFleet(group, fleets); got != "" && group != "edge-" {
			t.Errorf("%q is near %q", group, got)
		}
	}
	// Two words that differ in two letters are two groups.
	for _, pair := range [][2]string{{"internal", "external"}, {"external", "internal"}, {"prod-eu", "prod-us"}, {"blue", "blues"}} {
		if got := NearFleet(pair[0], pair[1:]); got != "" {
			t.Errorf("%q is near %q", pair[0], got)
		}
	}
}

// What a group costs does not grow with both its words and the fleets.
func TestNearFleetOfManyWords(t *testing.T) {
	t.Parallel()
	var fleets []string
	for i := range 50 {
		fleets = append(fleets, fmt.Sprintf("fleet-number-%d", i))
	}
	const limit = 150 * time.Millisecond * cputest.Slow
	if took := cputest.Thread(func() {
		for i := range 500 {
			NearFleet(fmt.Sprint(i, strings.Repeat(";a", 60)), fleets)
		}
	}); took > limit {
		t.Errorf("it takes %s", took)
	}
}

func FuzzNearFleet(f *testing.F) {
	f.Add("External", "external")
	f.Add("a;b \xff", "B")
	f.Add("zone-1", "zone_2")
	f.Fuzz(func(t *testing.T, group, fleet string) {
		if got := NearFleet(group, []string{fleet}); got != "" && (got != fleet || group == fleet) {
			t.Errorf("%q is near %q of %q", group, got, fleet)
		}
	})
}
