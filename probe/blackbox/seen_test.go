package blackbox

import (
	"testing"

	"github.com/prometheus/blackbox_exporter/config"
)

// Of two limits that are reached at once, the one that ended the probe is told.
func TestReasonOfLimits(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"Failed to read HTTP response body: http: request body too large": "Failed to read HTTP response body: http: request body too large",
		"Error reading from connection: EOF":                              "more than 1024 kB came: Error reading from connection: EOF",
	} {
		through := &passage{limit: maxPassage}
		through.received.Store(maxPassage)
		if got := reason(t.Context(), &lines{last: said}, through, config.Module{}, 200); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
