package scaling

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/scaling/wake"
	"relay/sources"
)

// The story of an app says by words what happened, and which domain and network woke it.
func TestStoryTellsWhatWokeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.stage.SyncApps([]*sources.App{sleeping("/app")})
		defer w.serve()()
		time.Sleep(time.Hour)
		told := w.Summary().Told
		w.Wake("/app", 0, wake.Client{Domain: "a.test", Network: netip.MustParsePrefix("192.0.2.0/24")})
		synctest.Wait()
		story, ok := w.Story("/app")
		if !ok || story.Phase != Waking || !strings.Contains(story.Reason, "a request for a.test from 192.0.2.0/24 came") {
			t.Errorf("%+v", story)
		}
		if n := len(story.Events); n == 0 || story.Events[n-1].Kind != "is woken" || !strings.HasSuffix(story.Events[n-1].Reason, "after 60 min of sleep") {
			t.Errorf("events %+v", story.Events)
		}
		if sum := w.Summary(); sum.Told == told || sum.Apps["waking"] != 1 || sum.Apps["asleep"] != 0 {
			t.Errorf("summary %+v", sum)
		}
		if phase, ok := w.Phase("/app"); !ok || phase != Waking {
			t.Errorf("phase %v", phase)
		}
		if phase, ok := w.Phase("/other"); ok {
			t.Errorf("an app that is not scaled is %v", phase)
		}
	})
}

// What woke an app, and how long that took, is said until it sleeps again.
func TestReasonOfTheAwake(t *testing.T) {
	t.Parallel()
	in := idleInputs(slept)
	s, _ := next(state{}, in)
	in.by = " for a.test"
	s, _ = s.request(in)
	s, _ = next(s, in)
	in = idleInputs()
	in.now = s.wokenAt.Add(2 * time.Second)
	s, _ = next(s.settle(), in)
	if s.phase != Awake || s.reason != "a request for a.test woke it: "+in.read.serving[0]+" took requests 2.0 s after it" || s.woken != 2*time.Second {
		t.Errorf("it is %v: %q, after %s", s.phase, s.reason, s.woken)
	}
}

// An app says when it sleeps, or what keeps it awake.
func TestWhy(t *testing.T) {
	t.Parallel()
	in := idleInputs()
	s := awakeState()
	for _, tt := range []struct {
		change func(in *inputs)
		want   string
	}{
		{func(in *inputs) { in.use.Last = in.now.Add(-time.Minute) }, "it sleeps in "},
		{func(in *inputs) { in.use.InProgress = 3 }, "it does not sleep now: 3 requests or connections are in progress"},
		{func(in *inputs) { in.doubt = "edge-1 does not report" }, "it does not sleep now: it cannot be known whether it is used: edge-1 does not report"},
		{func(*inputs) {}, "nobody uses it, and it is about to fall asleep"},
		{func(in *inputs) { in.alone, in.peers.against = false, "relay-2 says: it is used" }, "it does not sleep now: relay-2 says: it is used"},
	} {
		changed := *in
		tt.change(&changed)
		if got := s.why(&changed); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	for phase, want := range map[Phase]string{
		Stopping: "it is being scaled to 0", Asleep: "the next request wakes it, with 2 instances", Failed: "the next request tries again", Off: "nobody wants instances of it: no request wakes it",
	} {
		s := state{phase: phase, wakeTo: 2}
		if got := s.why(in); got != want {
			t.Errorf("%v: %q, want %q", phase, got, want)
		}
	}
}

// Each event has its words.
func TestKinds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		eventFalling, eventStays, eventAsleep, eventWaking, eventWoken, eventFailed, eventOffline, eventAwake, eventDrains, eventRescaled, eventResizedByOthers, eventTrouble,
	} {
		if kind := kinds[name]; kind == "" || strings.Contains(kind, "_") {
			t.Errorf("%s is %q in words", name, kind)
		}
	}
}
