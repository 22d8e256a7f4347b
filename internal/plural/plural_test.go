package plural_test

import (
	"testing"

	"relay/internal/plural"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"0 apps":         plural.Of(0, "app"),
		"1 app":          plural.Of(1, "app"),
		"2 apps":         plural.Of(2, "app"),
		"1 retry":        plural.Of(uint32(1), "retry", "retries"),
		"3 retries":      plural.Of(uint64(3), "retry", "retries"),
		"1 domain waits": plural.Of(1, "domain waits", "domains wait"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
