package guard

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The latest refusals are known for an hour, each client once, and no more than 20.
func TestLatest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(slog.New(slog.DiscardHandler), nil)
		hosts := func() string {
			var all []string
			for _, r := range l.Latest() {
				all = append(all, r.Host)
			}
			return strings.Join(all, " ")
		}
		bad := Refusal{Kind: Fleet, Who: "edge\n\x1b[1m", Reason: strings.Repeat("é", maxRecentText)}
		l.Refuse("10.0.0.1:1", bad)
		time.Sleep(interval / 2)
		l.Refuse("10.0.0.2:1", bad)
		l.Refuse("10.0.0.1:2", bad)
		if got := hosts(); got != "10.0.0.1 10.0.0.2" {
			t.Errorf("refused: %s", got)
		}
		if got := l.Latest()[0]; strings.ContainsAny(got.Who, "\n\x1b") || len(got.Reason) > maxRecentText+len("…") {
			t.Errorf("not printable: %+v", got)
		}
		time.Sleep(interval - time.Second)
		l.Refuse("10.0.0.1:3", bad)
		time.Sleep(time.Second)
		if got := hosts(); got != "10.0.0.1" {
			t.Errorf("an hour later: %s", got)
		}
		for i := range 5 * maxRecent {
			l.Refuse(fmt.Sprintf("10.0.1.%d:1", i), bad)
		}
		if got := l.Latest(); len(got) != maxRecent || got[0].Host != "10.0.1.99" {
			t.Errorf("%d refused, the latest %s", len(got), got[0].Host)
		}
	})
}
