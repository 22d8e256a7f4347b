package envoy_test

import (
	"testing"
	"time"

	"relay/sources"
)

// Requests notice a Relay that hangs once, until Envoy has noticed. Then the next Relay has the queue; without
// any, requests go through at once.
func TestQueueRelayHangs(t *testing.T) {
	t.Parallel()
	for name, relays := range map[string]int{"one Relay": 1, "two Relays": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startQueue(t, sources.Queue{Concurrency: 1, Length: 40}, 10*time.Millisecond, 2, relays, 1)
			if statuses, _ := w.atOnce(5); statuses[200] != 5 {
				t.Fatalf("answers by status: %v", statuses)
			}
			w.relays[0].hangs.Store(true)
			resume := w.relays[0].link.hang()
			defer resume()
			// Where Envoy has not noticed, it takes 15 s: it asks after 10 s whether Relay is there.
			for _, within := range []time.Duration{40 * time.Second, 8 * time.Second} {
				start := time.Now()
				statuses, _ := w.atOnce(5)
				if took := time.Since(start); statuses[200] != 5 || took > within {
					t.Errorf("answers by status: %v in %s, want all within %s", statuses, took, within)
				}
			}
		})
	}
}
