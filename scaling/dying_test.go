package scaling

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// stoppedState is of an app that was put to sleep, which was not read yet.
func stoppedState(t *testing.T) state {
	in := idleInputs()
	s, _ := next(awakeState(), in)
	s.acknowledged, in.acknowledged, in.use.Until = noon.Add(-time.Second), true, noon
	s, a := next(s, in)
	if s.phase != Stopping {
		t.Fatalf("it is %v", s.phase)
	}
	s, _ = s.wrote(in, a.rescale, sources.Rescaled{Version: "v2", Deployment: "d"}, nil)
	return s
}

// If people start an app again while it is stopped, what was stopped gets nothing new until the deployment has
// ended.
func TestDyingGetNothing(t *testing.T) {
	t.Parallel()
	started := func(deploying bool) *inputs {
		return idleInputs(func(app *sources.App) {
			app.Version, app.Orchestration.Deploying = "v3", deploying
			app.Ports[0].Endpoints = append(app.Ports[0].Endpoints, sources.Endpoint{Task: "shop.2"})
		})
	}
	s := stoppedState(t)
	if to := s.routing(started(false).read, true); !to.stopped || !to.gated {
		t.Errorf("what is stopped is routed as %+v", to)
	}
	in := started(true)
	s, _ = next(s, in)
	if to := s.routing(in.read, false); s.phase != Awake || !slices.Equal(to.drained, []string{"shop.1"}) {
		t.Errorf("it is %v, routed as %+v", s.phase, to)
	}
	in = started(false)
	s, _ = next(s, in)
	if to := s.routing(in.read, false); len(to.drained) > 0 {
		t.Errorf("after the deployment it is routed as %+v", to)
	}
}

// A stop that the source refuses since somebody deploys has changed nothing: the app stays awake, and is tried
// again later.
func TestStopIsLocked(t *testing.T) {
	t.Parallel()
	in := idleInputs()
	s, _ := next(awakeState(), in)
	s.acknowledged, in.acknowledged, in.use.Until = noon.Add(-time.Second), true, noon
	s, a := next(s, in)
	s, _ = s.wrote(in, a.rescale, sources.Rescaled{}, sources.ErrLocked)
	if to := s.routing(in.read, s.stale(in)); s.phase != Awake || to.gated || len(to.drained) > 0 {
		t.Errorf("it is %v, routed as %+v", s.phase, to)
	}
	if why, due := s.idle(in); !strings.Contains(why, "tries again") || !due.Equal(noon.Add(fallPause)) {
		t.Errorf("%s, until %v", why, due)
	}
}

// A stop without an answer may have been made: Envoys go on to ask until that must have been read. One that
// had nothing to change is over at once.
func TestStopWithoutAnswer(t *testing.T) {
	t.Parallel()
	in := idleInputs()
	s, _ := next(awakeState(), in)
	s.acknowledged, in.acknowledged, in.use.Until = noon.Add(-time.Second), true, noon
	s, a := next(s, in)
	lost, _ := s.wrote(in, a.rescale, sources.Rescaled{}, errors.New("no answer"))
	if to := lost.routing(in.read, true); to.stopped || !to.gated {
		t.Errorf("what may run on is routed as %+v", to)
	}
	for after, want := range map[time.Duration]Phase{time.Second: Stopping, staleRead - time.Second: Stopping, staleRead: Awake} {
		in.now = noon.Add(after)
		if s, _ := next(lost, in); s.phase != want {
			t.Errorf("after %s it is %v", after, s.phase)
		}
	}
	in.now = noon
	same, _ := s.wrote(in, a.rescale, sources.Rescaled{Version: a.rescale.Version}, nil)
	if same.stale(in) {
		t.Error("what was read is stale though nothing was changed")
	}
}
