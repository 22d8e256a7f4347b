package marathon

import "testing"

// An app or pod that people scaled to 0 is known as such, also while its last tasks end. What
// Marathon does not say is not taken for 0.
func TestScaledToZero(t *testing.T) {
	t.Parallel()
	for instances, want := range map[int]bool{0: true, 2: false} {
		if got := convertApp(&appJSON{ID: "/a", Instances: instances, Tasks: []taskJSON{{ID: "t"}}}, nil, testMapping()).app.Stopped; got != want {
			t.Errorf("an app with %d instances is stopped: %v", instances, got)
		}
		pod := podJSON{ID: "/p", Spec: podSpecJSON{Scaling: &scalingJSON{Instances: instances}}}
		if got := convertPod(&pod, nil, testMapping()).app.Stopped; got != want {
			t.Errorf("a pod with %d instances is stopped: %v", instances, got)
		}
	}
	if convertPod(&podJSON{ID: "/p"}, nil, testMapping()).app.Stopped {
		t.Error("a pod without scaling is stopped")
	}
}
