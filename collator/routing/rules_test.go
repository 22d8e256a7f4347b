package routing_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/collator/collatortest"
	"relay/collator/routing"
)

// rulesOf returns the rules of claims as their path and clusters, and what claims lose.
func rulesOf(claims []routing.Claim) (lines []string, losses []routing.Loss) {
	slices.SortFunc(claims, routing.CompareClaims)
	rules, losses := routing.RulesOf(claims)
	for _, r := range rules {
		line := r.Path.Prefix
		for _, target := range r.Targets {
			line += " " + target.Cluster
		}
		lines = append(lines, line)
	}
	return lines, losses
}

func TestRulesOf(t *testing.T) {
	t.Parallel()
	type port struct{ app, settings string }
	tests := []struct {
		name   string
		ports  []port
		want   []string // "prefix cluster..."
		losses []string // parts
	}{
		{"one", []port{{"/a", ""}}, []string{"/ /a_0"}, nil},
		{"lowest id", []port{{"/b", ""}, {"/a", ""}}, []string{"/ /a_0"}, []string{"lowest app id"}},
		{"larger order", []port{{"/a", ""}, {"/b", "BACKEND_WEIGHT=1"}}, []string{"/ /b_0"}, []string{"the domain: port 0 of /b has it (the largest"}},
		{"paths first", []port{{"/a", ""}, {"/b", "PATH=/x /y"}}, []string{"/x /b_0", "/y /b_0", "/ /a_0"}, nil},
		{"equal paths", []port{{"/a", "PATH=/x"}, {"/b", "PATH=/x /y"}}, []string{"/x /a_0", "/y /b_0"}, []string{"the path /x"}},
		{"path in a path", []port{{"/a", "PATH=/x"}, {"/b", "PATH=/xy"}, {"/c", "PATH=/xz|BACKEND_WEIGHT=2"}},
			[]string{"/xz /c_0", "/x /a_0"}, []string{"/xy: port 0 of /a has /x, which"}},
		{"path in one's own path", []port{{"/a", "PATH=/x /xy"}}, []string{"/x /a_0"}, nil},
		{"case", []port{{"/a", "PATH=/X"}, {"/b", "PATH=-i /x"}, {"/c", "PATH=/xY"}}, []string{"/X /a_0", "/x /b_0"}, []string{"/xY: port 0 of /b has /x"}},
		{"no letters", []port{{"/a", "PATH=/1"}, {"/b", "PATH=-i /1x"}}, []string{"/1 /a_0"}, []string{"/1x"}},
		{"no path", []port{{"/a", "PATH=x"}, {"/b", ""}}, []string{"/ /b_0"}, nil},
		{"shares", []port{{"/a", "CLUSTER_WEIGHT=1"}, {"/b", "CLUSTER_WEIGHT=2"}, {"/c", ""}}, []string{"/ /a_0 /b_0"}, []string{"lowest app id"}},
		{"shares of another order", []port{{"/a", "CLUSTER_WEIGHT=1"}, {"/b", "CLUSTER_WEIGHT=2|BACKEND_WEIGHT=1"}}, []string{"/ /b_0"}, []string{"largest"}},
		{"share of a closed port", []port{{"/a", "CLUSTER_WEIGHT=1|AUTH=x"}, {"/b", "CLUSTER_WEIGHT=2"}}, []string{"/ /a_0"}, []string{"another password"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fleet := collatortest.Fleet()
			var claims []routing.Claim
			for _, p := range tt.ports {
				app := collatortest.App(p.app, "a.test")
				if p.settings != "" {
					app = collatortest.Set(t, app, strings.Split(p.settings, "|")...)
				}
				claims = append(claims, fleet.ClaimsOf(app)["a.test"]...)
			}
			got, losses := rulesOf(claims)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if len(losses) != len(tt.losses) {
				t.Fatalf("losses %v, want %d", losses, len(tt.losses))
			}
			for i, l := range losses {
				if !strings.Contains(l.String(), tt.losses[i]) {
					t.Errorf("loss %q does not say %q", l, tt.losses[i])
				}
			}
		})
	}
}
