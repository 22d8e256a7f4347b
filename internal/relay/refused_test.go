package relay

import (
	"strings"
	"testing"
	"time"

	"relay/internal/guard"
	"relay/xds"
)

func TestRefusedText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	refused := []guard.Refused{
		{Refusal: guard.Refusal{Kind: guard.Fleet, Who: "edge-1", Reason: `no fleet "extern"`}, Host: "10.0.0.7", At: at},
		{Refusal: guard.Refusal{Kind: guard.Plaintext, Reason: "it speaks plain text"}, Host: "10.0.0.8", At: at},
	}
	const both = `node edge-1 from 10.0.0.7, the last time at 2026-03-01T12:00:00Z: no fleet "extern"|10.0.0.8, the last time at 2026-03-01T12:00:00Z: it speaks plain text`
	first, second, _ := strings.Cut(both, "|")
	for name, test := range map[string]struct {
		served []xds.StreamStatus
		want   string
	}{
		"none served":               {nil, both},
		"served before":             {[]xds.StreamStatus{{NodeID: "edge-1", Address: "10.0.0.7:1", Since: at.Add(-time.Second)}}, both},
		"another of its host":       {[]xds.StreamStatus{{NodeID: "edge-2", Address: "10.0.0.7:1", Since: at.Add(time.Second)}}, both},
		"served since":              {[]xds.StreamStatus{{NodeID: "edge-1", Address: "10.0.0.7:1", Since: at.Add(time.Second)}}, second},
		"served since, without who": {[]xds.StreamStatus{{NodeID: "x", Address: "10.0.0.8:1", Since: at.Add(time.Second)}}, first},
	} {
		if got := strings.Join(refusedText(refused, test.served), "|"); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
