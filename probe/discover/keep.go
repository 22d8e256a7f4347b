package discover

import (
	"slices"
	"time"

	"relay/admin/api"
)

// kept is how long an Envoy is asked after it was last connected: as long as Relay knows of it itself.
const kept = time.Hour

// keepEnvoys adds to what a Relay says the Envoys that it said before. A Relay that was started anew knows none at
// first, and never those that were away by then: what goes through them is to be seen nevertheless.
func keepEnvoys(before, answer api.ProbeTargets, now time.Time) api.ProbeTargets {
	answer.Fleets = slices.Clone(answer.Fleets)
	for i := range answer.Fleets {
		f := &answer.Fleets[i]
		was := slices.IndexFunc(before.Fleets, func(b api.ProbeFleet) bool { return b.Name == f.Name })
		if was < 0 {
			continue
		}
		there := make(map[string]bool, len(f.Envoys))
		for _, e := range f.Envoys {
			there[e.ID] = true
		}
		f.Envoys = slices.Clone(f.Envoys)
		for _, e := range before.Fleets[was].Envoys {
			if e.Disconnected.IsZero() {
				e.Disconnected = now
			}
			if !there[e.ID] && now.Sub(e.Disconnected) < kept {
				f.Envoys = append(f.Envoys, e)
			}
		}
	}
	return answer
}
