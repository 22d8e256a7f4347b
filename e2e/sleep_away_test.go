package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// An app that was to sleep while Marathon is away runs on, and its requests notice nothing.
func TestRunsOnIfMarathonIsAwayWhenItWouldSleep(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 1, map[string]string{"RELAY_IDLE_AFTER": "1s"}))
	w.start()
	w.relay.running.Loads().Pace("external", time.Second)
	w.marathon.Down()
	w.eventually("Relay has tried to put it to sleep", func() error {
		if n, ok := w.admin.metric(`relay_scaling_changes_total{result="failed"}`); !ok || n == 0 {
			return fmt.Errorf("%v %v, %+v", n, ok, w.scaling("/sleepy"))
		}
		return nil
	})
	start := time.Now()
	a := <-w.ask(http.MethodGet, nil)
	if a.is(t, "a request", http.StatusOK, ""); time.Since(start) > 2*time.Second {
		t.Errorf("it took %s: %+v", time.Since(start), w.scaling("/sleepy"))
	}
}
