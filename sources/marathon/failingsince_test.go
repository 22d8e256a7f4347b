package marathon

import (
	"encoding/json"
	"strings"
	"testing"
)

// People read since when a task fails its check, and why.
func TestFailingSince(t *testing.T) {
	t.Parallel()
	for results, want := range map[string]string{
		`[{"alive":true},null,{"alive":false,"lastSuccess":"2026-03-01T10:00:00.123Z","lastFailureCause":"503 Service Unavailable"}]`: "fails a health check since 2026-03-01T10:00:00Z: 503 Service Unavailable",
		`[{"alive":false,"lastSuccess":null}]`:                                     "fails a health check since it started at 2026-02-01T00:00:00Z",
		`[{"alive":false,"lastFailureCause":"x` + strings.Repeat("y", 500) + `"}]`: "at 2026-02-01T00:00:00Z: xyyy",
	} {
		var task taskJSON
		text := `{"id":"t","state":"TASK_RUNNING","startedAt":"2026-02-01T00:00:00.000Z","healthCheckResults":` + results + `}`
		if err := json.Unmarshal([]byte(text), &task); err != nil {
			t.Fatal(err)
		}
		_, reason := rotation(&task, unhealthy, record{}, UnreachableDegraded)
		if !strings.Contains(reason, want) || len(reason) > 300 {
			t.Errorf("%.100s: %q, want %q", results, reason, want)
		}
	}
}
