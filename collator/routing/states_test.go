package routing_test

import (
	"fmt"
	"slices"
	"testing"

	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/sources"
)

func failed(version, state string) *sources.Orchestration {
	return &sources.Orchestration{Instances: 1, Failure: &sources.TaskFailure{Task: "t", State: state, Version: version}}
}

// An app crashes if a task has failed since it is defined as it is now, by its own fault.
func TestCrashed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*sources.App)
		want   bool
	}{
		"nothing is known":    {func(*sources.App) {}, false},
		"nothing failed":      {func(a *sources.App) { a.Orchestration = &sources.Orchestration{Instances: 1} }, false},
		"failed":              {func(a *sources.App) { a.Orchestration = failed("1", "TASK_FAILED") }, true},
		"killed as unhealthy": {func(a *sources.App) { a.Orchestration = failed("1", "TASK_KILLED") }, true},
		"lost":                {func(a *sources.App) { a.Orchestration = failed("1", "TASK_UNREACHABLE") }, false},
		"failed before":       {func(a *sources.App) { a.Orchestration = failed("0", "TASK_FAILED") }, false},
		"stopped":             {func(a *sources.App) { a.Orchestration, a.Stopped = failed("1", "TASK_FAILED"), true }, false},
		"asleep":              {func(a *sources.App) { a.Orchestration, a.Gated = failed("1", "TASK_FAILED"), true }, false},
		"no endpoint": {func(a *sources.App) {
			a.Orchestration = failed("1", "TASK_FAILED")
			a.Ports[0].Endpoints = nil
		}, true},
	} {
		app := collatortest.App("/web", "a.test")
		tt.change(app)
		if got := routing.Crashed(app); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if routing.Crashed(nil) {
		t.Error("no app crashes")
	}
}

// Apps that share requests take them over from those in maintenance, and what all of them do
// holds for the rule.
func TestSharedStates(t *testing.T) {
	t.Parallel()
	fleet := collatortest.Fleet()
	for _, tt := range []struct {
		states      []string // of each app
		want        []string
		maintenance bool
		crashed     bool
	}{
		{[]string{""}, []string{"/a0_0"}, false, false},
		{[]string{"maintenance"}, []string{"/a0_0"}, true, false},
		{[]string{"crashed"}, []string{"/a0_0"}, false, true},
		{[]string{"maintenance", ""}, []string{"/a1_0"}, false, false},
		{[]string{"maintenance", "crashed"}, []string{"/a1_0"}, false, true},
		{[]string{"", "maintenance", "crashed"}, []string{"/a0_0", "/a2_0"}, false, false},
		{[]string{"maintenance", "maintenance"}, []string{"/a0_0", "/a1_0"}, true, false},
	} {
		var claims []routing.Claim
		for i, state := range tt.states {
			app := collatortest.Set(t, collatortest.App(fmt.Sprintf("/a%d", i), "a.test"), "CLUSTER_WEIGHT=1")
			app.Maintenance = state == "maintenance"
			if state == "crashed" {
				app.Orchestration = failed("1", "TASK_FAILED")
			}
			claims = append(claims, fleet.ClaimsOf(app)["a.test"]...)
		}
		rules, losses := routing.RulesOf(claims)
		if len(rules) != 1 || len(losses) > 0 {
			t.Fatalf("%q: rules %+v, losses %v", tt.states, rules, losses)
		}
		var got []string
		for _, target := range rules[0].Targets {
			got = append(got, target.Cluster)
		}
		if !slices.Equal(got, tt.want) || rules[0].Maintenance() != tt.maintenance || rules[0].Crashed() != tt.crashed {
			t.Errorf("%q: %q, maintenance %v, crashed %v", tt.states, got, rules[0].Maintenance(), rules[0].Crashed())
		}
	}
}
