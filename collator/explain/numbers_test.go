package explain

import (
	"testing"
	"time"

	"relay/sources"
)

// One of something is told of as one.
func TestNumbersAgree(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"1 request in 1s, and 1 at once":     rateWords(sources.Rate{Requests: 1, Per: time.Second, Burst: 1}),
		"20 requests in 1m0s, and 5 at once": rateWords(sources.Rate{Requests: 20, Per: time.Minute, Burst: 5}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
