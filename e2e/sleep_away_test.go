package e2e

import (
	"fmt"
	"net/http"
	"strings"
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
	// One that waited for Marathon would wait for a minute. A busy machine needs seconds for one that does not.
	start := time.Now()
	a := <-w.ask(http.MethodGet, nil)
	if a.is(t, "a request", http.StatusOK, ""); time.Since(start) > 10*time.Second {
		t.Errorf("it took %s: %+v", time.Since(start), w.scaling("/sleepy"))
	}
}

// An app that falls asleep runs still. If no Relay is there to be asked any more, it is found all the same, when
// Envoy has tried for a while.
func TestRunsOnIfRelayEndsWhileItFallsAsleep(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 1, map[string]string{"RELAY_IDLE_AFTER": "1s"}))
	w.start()
	w.eventually("Envoy asks first", func() error {
		scopes, err := w.envoy.Get(t.Context(), "/config_dump?resource=dynamic_scoped_route_configs")
		if err == nil && !strings.Contains(scopes, "ExecuteFilterAction") {
			err = fmt.Errorf("not yet: %+v", w.scaling("/sleepy"))
		}
		return err
	})
	w.relay.stop()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sleepy.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := w.clients.client(false)
	client.Timeout = 2 * time.Minute
	a, err := w.clients.ask(client, req)
	if err != nil {
		t.Fatal(err)
	}
	a.is(t, "a request", http.StatusOK, "")
}
