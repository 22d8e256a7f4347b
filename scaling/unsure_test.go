package scaling

import (
	"errors"
	"testing"
	"time"

	"relay/sources"
)

// unsureState is of an app that another Relay may be stopping, when a request came.
func unsureState(t *testing.T) (state, *inputs) {
	in := idleInputs()
	in.alone = false
	s, _ := next(awakeState(), in)
	in.peers = answers{at: in.now}
	if s, _ = next(s, in); s.phase != FallingAsleep {
		t.Fatalf("it is %v", s.phase)
	}
	s.told, in.now = true, in.now.Add(time.Second)
	s, _ = s.request(in)
	return s, in
}

// What another Relay may be stopping is let through when it says that it is not, or when it could not be
// asked for as long as what is read may be old. While it knows another version, that is not enough.
func TestUnsure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		peers       answers
		from, until time.Duration // in which it is let through
	}{
		"it does not stop it":         {answers{}, 0, askAgain},
		"it cannot be asked":          {answers{failed: true}, staleRead, staleRead + askAgain},
		"it knows of another version": {answers{stopping: true}, unsureMost, unsureMost + 4*askAgain},
	} {
		s, in := unsureState(t)
		began := in.now
		for s.phase == Stopping && in.now.Sub(began) < 10*time.Minute {
			in.now = in.now.Add(time.Second)
			var a action
			if s, a = next(s, in); a.ask {
				in.peers = tt.peers
				in.peers.at = in.now
			}
		}
		if took := in.now.Sub(began); s.phase != Awake || took < tt.from || took > tt.until {
			t.Errorf("%s: it is %v after %s", name, s.phase, took)
		}
	}
}

// Two Relays that both wait for each other's word, since a request came to each, see that neither stops
// the app.
func TestBothUnsure(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.stage.SyncApps([]*sources.App{newApp()})
	s, in := unsureState(t)
	s.written, s.staleUntil = "v0", time.Now().Add(time.Hour) // by its last change, long ago
	w.Controller.apps["/shop"].state = s
	in.peers = summed(in, in.now, []Report{w.Report("/shop")}, nil)
	if after, _ := next(s, in); after.phase != Awake {
		t.Errorf("it is %v: %+v", after.phase, in.peers)
	}
}

// A Relay says that all is quiet only when its own Envoys are, and notes that it did. One that cannot be asked
// is against sleep, and one with another version may be stopping the app.
func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.stage.SyncApps([]*sources.App{newApp()})
	a := w.Controller.apps["/shop"]
	s, _ := next(awakeState(), idleInputs())
	a.state, w.use.Until = s, time.Now()
	a.state.acknowledged = time.Now().Add(time.Hour) // no report is of after that
	if r := w.Report("/shop"); r.Quiet || a.state.told {
		t.Errorf("before it knows: %+v, told %v", r, a.state.told)
	}
	a.state.acknowledged, w.use.Since = noon.Add(-time.Hour), noon
	if r := w.Report("/shop"); !r.Quiet || !a.state.told {
		t.Errorf("when it knows: %+v, told %v", r, a.state.told)
	}
	in := idleInputs()
	if got := summed(in, noon, nil, errors.New("away")); got.against == "" || !got.failed {
		t.Errorf("who cannot be asked: %+v", got)
	}
	if got := summed(in, noon, []Report{{Version: "v0", Quiet: true}}, nil); !got.stopping {
		t.Errorf("another version: %+v", got)
	}
}

// A Relay at which an app is in use is against its sleep, also if the request only waited for it there.
func TestAwakeIsAgainst(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.use.Since, w.use.Until = noon.Add(-time.Hour), time.Now()
	w.stage.SyncApps([]*sources.App{newApp()})
	if r := w.Report("/shop"); r.Against != "" {
		t.Fatalf("nobody uses it: %+v", r)
	}
	w.Used("/shop", 0)
	if r := w.Report("/shop"); r.Against == "" {
		t.Errorf("a request came: %+v", r)
	}
}
