package routing_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/sources"
)

// What takes only a part of the requests of a path covers nothing but what asks for the same.
func TestRulesWithMatches(t *testing.T) {
	t.Parallel()
	post := []sources.Match{{Headers: []sources.FieldMatch{{Name: ":method", Value: "POST"}}}}
	exact := []sources.Path{{Prefix: "/x", Exact: true}}
	weight := uint32(1)
	tests := []struct {
		name   string
		ports  []sources.HTTP // of /a, /b, ...
		want   []string
		losses int
	}{
		{"a method, then all", []sources.HTTP{{Match: post, Order: 1}, {}}, []string{"/ /a_0", "/ /b_0"}, 0},
		{"all, then a method", []sources.HTTP{{Order: 1}, {Match: post}}, []string{"/ /a_0"}, 1},
		{"the same method", []sources.HTTP{{Match: post}, {Match: post}}, []string{"/ /a_0"}, 1},
		{"a share of it", []sources.HTTP{{Match: post, ClusterWeight: &weight}, {Match: post, ClusterWeight: &weight}}, []string{"/ /a_0 /b_0"}, 0},
		{"a path and what is below", []sources.HTTP{{Paths: exact, Order: 1}, {Paths: []sources.Path{{Prefix: "/x"}, {Prefix: "/x/y"}}}}, []string{"/x /a_0", "/x /b_0"}, 0},
		{"the same path", []sources.HTTP{{Paths: exact}, {Paths: exact}}, []string{"/x /a_0"}, 1},
		{"a path for one method", []sources.HTTP{{Paths: exact, Match: post, Order: 1}, {Paths: exact}}, []string{"/x /a_0", "/x /b_0"}, 0},
		{"a path, then for one method", []sources.HTTP{{Paths: exact, Order: 1}, {Paths: exact, Match: post}}, []string{"/x /a_0"}, 1},
		{"patterns", []sources.HTTP{{Paths: []sources.Path{{Prefix: "/x", Pattern: "/x[0-9]"}}, Order: 1}, {Paths: []sources.Path{{Prefix: "/x", Pattern: "/x[a-z]"}}}}, []string{"/x /a_0", "/x /b_0"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fleet := collatortest.Fleet()
			var claims []routing.Claim
			for i, h := range tt.ports {
				app := collatortest.App("/"+string(rune('a'+i)), "a.test")
				app.Ports[0].HTTP = &h
				claims = append(claims, fleet.ClaimsOf(app)["a.test"]...)
			}
			got, losses := rulesOf(claims)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if len(losses) != tt.losses {
				t.Errorf("%d losses, want %d", len(losses), tt.losses)
			}
		})
	}
}
