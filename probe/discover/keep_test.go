package discover

import (
	"testing"
	"time"

	"relay/admin/api"
)

// A Relay that was started anew knows some Envoys later, and one that is down never: both are asked on, for an hour.
func TestKeepEnvoys(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	says := func(envoys ...api.ProbeEnvoy) api.ProbeTargets {
		return api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoys...)}}
	}
	before := says(envoy("edge-1", "10.0.0.1"), api.ProbeEnvoy{ID: "edge-2", Address: "10.0.0.2", Disconnected: now.Add(-10 * time.Minute)})
	expect := func(got api.ProbeTargets, want ...api.ProbeEnvoy) {
		t.Helper()
		if len(got.Fleets) != 1 || len(got.Fleets[0].Envoys) != len(want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		for i, e := range got.Fleets[0].Envoys {
			if e != want[i] {
				t.Errorf("got %+v, want %+v", e, want[i])
			}
		}
	}
	anew := keepEnvoys(before, says(), now)
	gone := api.ProbeEnvoy{ID: "edge-1", Address: "10.0.0.1", Disconnected: now}
	expect(anew, gone, before.Fleets[0].Envoys[1])
	expect(keepEnvoys(anew, says(envoy("edge-1", "10.0.0.9")), now.Add(time.Minute)), envoy("edge-1", "10.0.0.9"), before.Fleets[0].Envoys[1])
	expect(keepEnvoys(anew, says(), now.Add(55*time.Minute)), gone)
	expect(keepEnvoys(anew, says(), now.Add(time.Hour)))
	if got := keepEnvoys(before, api.ProbeTargets{}, now); len(got.Fleets) != 0 {
		t.Errorf("a fleet that is gone is kept: %+v", got)
	}
	if len(before.Fleets[0].Envoys) != 2 || !before.Fleets[0].Envoys[0].Disconnected.IsZero() {
		t.Error("what was said before was changed")
	}
}
