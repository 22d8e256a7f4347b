package scaling

import (
	"slices"
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
