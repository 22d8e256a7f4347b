package page

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{
		0: "0 s", 90 * time.Second: "90 s", 5 * time.Minute: "5 min", 26 * time.Hour: "26 h", 72 * time.Hour: "3 days",
	} {
		if got := ago(in); got != want {
			t.Errorf("ago(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int]string{-11: "expired 10 days ago", -2: "expired 1 day ago", -1: "expired", 0: "0 days", 1: "1 day", 60: "60 days"} {
		if got := days(in); got != want {
			t.Errorf("days(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -100: "-100"} {
		if got := count(in); got != want {
			t.Errorf("count(%d) = %q, want %q", in, got, want)
		}
	}
}
