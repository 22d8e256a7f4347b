package admin

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"relay/collator"
	"relay/internal/logtest"
)

// brokenViews panics when apps are asked for.
type brokenViews struct{ fakeViews }

func (brokenViews) AppEntries() []*collator.AppEntry { panic("no such app") }

// A handler that panics ends its connection, and leaves no place for a request
// taken, however often it does.
func TestHandlerPanics(t *testing.T) {
	t.Parallel()
	log := new(logtest.Buffer)
	cfg := newConfig(brokenViews{})
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	cfg.Limits = DefaultLimits()
	cfg.Limits.Requests = 2
	base := serve(t, cfg)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	const times = 10
	for range times {
		if resp, err := client.Get(base + "/api/v1/apps"); err == nil {
			_ = resp.Body.Close()
			t.Errorf("status %d, want the connection to be closed", resp.StatusCode)
		}
	}
	for range 2 * times {
		resp, err := client.Get(base + "/api/v1/problems")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d after the panics, want 200", resp.StatusCode)
		}
	}
	if lines := log.Lines("brokenViews"); len(lines) < times || !strings.Contains(lines[0], "no such app") {
		t.Errorf("logged %q, want a stack of each", lines)
	}
}
