package problem

import (
	"fmt"
	"testing"
)

// Groups put together what belongs to one app or domain, the worst first, and none is left out
// of the counts.
func TestGroups(t *testing.T) {
	t.Parallel()
	var all []Problem
	add := func(p Problem) { all = append(all, p.Complete()) }
	for i := range 50 {
		add(Problem{Kind: App, App: "/careless", Subject: fmt.Sprint("label ", i)})
		add(Problem{Kind: Clash, App: "/loser", Subject: "d", Domain: fmt.Sprintf("d%d.test", i)})
	}
	for _, app := range []string{"/x", "/y", "/z"} {
		add(Problem{Kind: Clash, App: app, Subject: "shop.test", Domain: "shop.test"})
		add(Problem{Kind: Unserved, App: app, Subject: "port 0", Item: "internal", Severity: Advice})
	}
	add(Problem{Kind: Fleet, Fleet: "external", Reason: "r"})
	add(Problem{Kind: Source, Subject: "marathon", Reason: "r"})
	add(Problem{Kind: Source, Subject: "xds-key", Severity: Advice})
	add(Problem{Kind: Certificate, Subject: "a.pem"})
	groups := Groups(all, 5)
	want := []string{
		"failing app /loser 50", "failing domain shop.test 3", "failing fleet external 1", "failing source marathon 1",
		"ignored app /careless 50", "ignored certificate a.pem 1", "advice group internal 3", "advice source xds-key 1",
	}
	if len(groups) != len(want) {
		t.Fatalf("%d groups, want %d: %+v", len(groups), len(want), groups)
	}
	sum := 0
	for i, g := range groups {
		if got := fmt.Sprintf("%s %s %s %d", g.Severity, g.About, g.Subject, g.Count); got != want[i] {
			t.Errorf("group %d is %q, want %q", i, got, want[i])
		}
		if len(g.Problems) != min(g.Count, 5) || g.More() != g.Count-len(g.Problems) || g.Action == "" {
			t.Errorf("%s: %d of %d problems, %d more, do %q", g.Subject, len(g.Problems), g.Count, g.More(), g.Action)
		}
		sum += g.Count
	}
	if sum != len(all) {
		t.Errorf("%d problems are in groups, want %d", sum, len(all))
	}
}

// Each kind says how bad its problems are, and what to do.
func TestKindsAreComplete(t *testing.T) {
	t.Parallel()
	if len(kindDefaults) != len(Kinds()) {
		t.Errorf("%d kinds have a severity, %d there are", len(kindDefaults), len(Kinds()))
	}
	for _, kind := range Kinds() {
		if p := (Problem{Kind: kind}).Complete(); p.Severity == "" || p.Action == "" {
			t.Errorf("%s: %+v", kind, p)
		}
	}
	own := Problem{Kind: Tasks, Severity: Advice, Action: "wait"}.Complete()
	if own.Severity != Advice || own.Action != "wait" {
		t.Errorf("what a problem says itself is lost: %+v", own)
	}
}
