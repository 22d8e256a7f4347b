package guard

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client that tries all the time is logged once an hour, with what
// it did since; another reason, name or host is another line.
func TestLogOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		counted := 0
		l := NewLog(slog.New(slog.NewTextHandler(&out, nil)), func(Kind) {
			if counted++; counted == 1 && out.Len() == 0 {
				t.Error("it is counted before it is logged")
			}
		})
		lines := func() []string {
			defer out.Reset()
			return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		}
		bad := Refusal{Kind: Expired, Reason: "renew it"}
		for i := range 2 * 3600 {
			l.Refuse(fmt.Sprintf("10.0.0.1:%d", 1024+i), bad, "fleet", "edge")
			time.Sleep(time.Second)
		}
		got := lines()
		if len(got) != 2 || !strings.Contains(got[0], `address=10.0.0.1 reason="renew it" fleet=edge`) || !strings.Contains(got[1], "tries=3600") {
			t.Errorf("two hours of tries are logged as %q", got)
		}
		if counted != 2*3600 {
			t.Errorf("%d were counted", counted)
		}
		l.Refuse("10.0.0.1:1", Refusal{Kind: Authority, Reason: "give it another"})
		l.Refuse("10.0.0.2:1", bad)
		l.Refuse("10.0.0.2:1", Refusal{Kind: Expired, Who: "envoy-1", Reason: "renew it"})
		if got := lines(); len(got) != 3 {
			t.Errorf("three other refusals are logged as %q", got)
		}
		if !l.Recent("10.0.0.2:9", Expired, "envoy-1") || l.Recent("10.0.0.2:9", Fleet, "envoy-1") {
			t.Error("it is not known who was refused")
		}
	})
}

// However many hosts there are, memory and lines are bounded; when they are
// gone there is place again.
func TestLogBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := NewLog(slog.New(slog.NewTextHandler(&out, nil)), nil)
		for i := range 5 * maxLogged {
			l.Refuse(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), Refusal{Kind: Fleet, Reason: "no such fleet"})
		}
		text := out.String()
		if n := strings.Count(text, "\n"); n != maxLogged+1 || len(l.tries) > maxLogged+1 || strings.Count(text, "too many to name each") != 1 {
			t.Errorf("%d lines, %d are kept; want %d, the last about the others", n, len(l.tries), maxLogged+1)
		}
		time.Sleep(interval)
		out.Reset()
		l.Refuse("10.9.9.9:1", Refusal{Kind: Fleet, Reason: "no such fleet"})
		if !strings.Contains(out.String(), "address=10.9.9.9") || len(l.tries) != 1 {
			t.Errorf("an hour later: %q, %d are kept", out.String(), len(l.tries))
		}
	})
}
