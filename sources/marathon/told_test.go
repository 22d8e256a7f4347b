package marathon

import (
	"strconv"
	"testing"

	"relay/sources/marathon/marathontest"
)

func TestTold(t *testing.T) {
	t.Parallel()
	var s told
	for i, step := range []struct {
		what, text string
		over, want bool
	}{
		{"a", "bad", false, true}, {"a", "bad", false, false}, {"b", "bad", false, true}, {"a", "worse", false, true},
		{"a", "", true, false}, {"a", "worse", false, true}, {"c", "", false, true}, {"c", "", false, false},
	} {
		if step.over {
			s.isOver(step.what)
		} else if got := s.isNew(step.what, step.text); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	for i := range 3 * maxTold {
		s.isNew(strconv.Itoa(i), "bad")
	}
	if len(s.last) > maxTold {
		t.Errorf("%d are remembered", len(s.last))
	}
}

// An app that cannot be read, or has an odd shape, is logged once while that lasts.
func TestBadAppIsLoggedOnce(t *testing.T) {
	t.Parallel()
	for event, fault := range map[string]marathontest.Fault{
		"app_unreadable": {Status: 500, Body: `{"message":"broken"}`},
		"app_malformed":  {Body: `{"app":{"id":"/a","labels":7,"tasks":[]}}`},
	} {
		m := marathontest.Start(t, marathontest.Options{})
		load(t, m, "/a", "/b")
		_, sink, logged := watch(t, fastConfig(m.URL()))
		sink.await(t, "synced", contains("/b "))
		fault.Times = 4
		m.Inject(marathontest.ReadOf("/a"), fault)
		poll(t, "read "+event, func() bool {
			status(m, "/a")
			return m.Requests(marathontest.ReadOf("/a")) > fault.Times
		})
		if lines := logged.Lines("event=" + event); len(lines) != 1 {
			t.Errorf("%s: %d lines: %q", event, len(lines), lines)
		}
	}
}
