package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/relay"
	"relay/xds/envoytest"
)

// A connection of before Relay was allowed to put apps to sleep has filters that hold nothing. Its requests
// to an app must not find it gone.
func TestSleepsAfterConnectionsOfBefore(t *testing.T) {
	w := newScalingWorld(t)
	allowed := w.relay.config.Scaling
	w.relay.config.Scaling = relay.Scaling{}
	w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 1, map[string]string{"RELAY_IDLE_AFTER": "1s"}))
	w.relay.start()
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, Args: []string{"--drain-time-s", "600"}})
	w.envoy.ready()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}
	ask := func() int {
		request, _ := http.NewRequest(http.MethodGet, "http://"+w.clients.http+"/", nil)
		request.Host = "sleepy.test"
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		return response.StatusCode
	}
	if status := ask(); status != http.StatusOK {
		t.Fatal(status)
	}
	w.relay.stop()
	w.relay.config.Scaling = allowed
	w.relay.start()
	w.relay.running.Loads().Pace("external", time.Second)
	w.eventually("it is known that there may be such connections", func() error {
		s := w.scaling("/sleepy")
		if s != nil && s.Phase == api.PhaseAsleep {
			t.Fatalf("it sleeps: %+v", s)
		}
		if s == nil || !strings.Contains(s.Text, "connections of before") {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	})
	if status := ask(); status != http.StatusOK {
		t.Errorf("a request on a connection of before: %d", status)
	}
}
