package relay

import (
	"slices"
	"testing"

	"relay/admin/api"
	"relay/scaling"
)

// The API names the phases as they are.
func TestPhasesOfTheAPI(t *testing.T) {
	t.Parallel()
	var all []string
	for p := scaling.Phase(0); p.String() != "unknown"; p++ {
		all = append(all, p.String())
	}
	if !slices.Equal(all, api.Phases()) {
		t.Errorf("the API has %q, apps are %q", api.Phases(), all)
	}
	var sleep []string
	for _, phase := range all {
		if (&api.Scaling{Phase: phase}).Sleeps() {
			sleep = append(sleep, phase)
		}
	}
	if want := []string{api.PhaseFallingAsleep, api.PhaseStopping, api.PhaseAsleep, api.PhaseWaking}; !slices.Equal(sleep, want) || (*api.Scaling)(nil).Sleeps() {
		t.Errorf("requests wait in %q, want %q", sleep, want)
	}
}
