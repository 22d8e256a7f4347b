package main

import (
	"bytes"
	"strings"
	"testing"

	"relay/admin/api"
	"relay/internal/terminal"
)

// What was seen can be read on a terminal of any width, with as many lines as it has.
func TestProbesOnNarrowTerminal(t *testing.T) {
	t.Parallel()
	found := api.Probes{Place: "here", Failing: 30, Probes: make([]api.Probe, 30)}
	const reason = "message to the agent: no answer within 3s"
	for i := range found.Probes {
		found.Probes[i] = api.Probe{Name: "device-1", Kind: "device", Fleet: "east", Envoy: "a-long-name-of-an-envoy", Reason: reason}
	}
	for _, width := range []int{0, 80, 200} {
		var b bytes.Buffer
		printer{"table", &terminal.Screen{Writer: &b, Width: width}}.probes(found, "http://relay.test:9090", "", 19)
		text := strings.Join(strings.Fields(b.String()), " ")
		if !strings.Contains(text, reason) || strings.Count(b.String(), "\n") > 23 {
			t.Errorf("at a width of %d:\n%s", width, b.String())
		}
	}
}
