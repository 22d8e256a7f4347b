package relay

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"relay/collator"
)

// However often metrics are asked for, apps are looked at for 1 % of the time at most.
func TestLimitsAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		apps := func() []collator.AppView {
			looks++
			time.Sleep(50 * time.Millisecond)
			return nil
		}
		var l fleetLimits[map[int]string]
		fleets := map[string]bool{"edge": true}
		for range 600 {
			if _, known := l.get(maps.Keys(fleets), apps, limitsOf)["edge"]; !known {
				t.Fatal("a fleet is missing")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if looks != 12 {
			t.Errorf("apps were looked at %d times in a minute, want 12", looks)
		}
	})
}
