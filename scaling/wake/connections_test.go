package wake

import (
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/internal/ratelimit"
)

// A connection goes on when its app runs, and is closed when the app fails to start.
func TestConnectionsAreAnswered(t *testing.T) {
	w := newWorld(t, Config{})
	ask := func() (bool, error) {
		return w.Connection(t.Context(), ratelimit.Question{Fleet: "external", Node: "edge-1", App: "/db", Client: netip.MustParseAddr("192.0.2.7"), Came: time.Now()})
	}
	if within, err := ask(); err != nil || !within {
		t.Errorf("an app that does not sleep: %v, %v", within, err)
	}
	w.apps.set("/db", State{Phase: Failed})
	if within, err := ask(); err != nil || within {
		t.Errorf("one that fails: %v, %v", within, err)
	}
	w.fleet.gone["edge-1"] = true
	if _, err := ask(); status.Code(err) != codes.Unavailable {
		t.Errorf("the Envoy of another Relay: %v", err)
	}
}
