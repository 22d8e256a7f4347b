package relay

import (
	"fmt"
	"slices"
	"testing"

	"relay/admin/api"
)

// An app with very many domains leaves room for those of others, and what was chosen by chance comes last.
func TestFairly(t *testing.T) {
	t.Parallel()
	var all []api.ProbeDomain
	for i := range 1000 {
		all = append(all, api.ProbeDomain{Name: fmt.Sprintf("a%03d.test", i), App: "/huge", Probe: "/"})
	}
	all = append(all, api.ProbeDomain{Name: "y.test", App: "/small", Probe: "/"}, api.ProbeDomain{Name: "z.test", App: "/small", Probe: "/"}, api.ProbeDomain{Name: "chance.test", App: "/other"})
	of := func(d api.ProbeDomain) (string, bool) { return d.App, d.Probe != "" }
	var names []string
	for _, d := range fairly(all, 6, of) {
		names = append(names, d.Name)
	}
	if want := []string{"a000.test", "a001.test", "a002.test", "a003.test", "y.test", "z.test"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if got := fairly(all, len(all), of); len(got) != len(all) || got[len(got)-1].Name != "chance.test" {
		t.Errorf("%d of %d are left", len(got), len(all))
	}
}
