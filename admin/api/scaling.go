package api

import "time"

// The phases of an app that may sleep.
const (
	// PhaseNew was read just now.
	PhaseNew = "new"
	// PhaseAwake is the usual one.
	PhaseAwake = "awake"
	// PhaseFallingAsleep has Envoys ask before each request, while instances run.
	PhaseFallingAsleep = "falling asleep"
	// PhaseStopping is being scaled to 0.
	PhaseStopping = "stopping"
	// PhaseAsleep has no instances until the next request.
	PhaseAsleep = "asleep"
	// PhaseWaking is starting.
	PhaseWaking = "waking"
	// PhaseFailed was to wake, and its tasks fail.
	PhaseFailed = "failed"
	// PhaseOffline has no instances by the will of people: no request wakes it.
	PhaseOffline = "offline"
)

// Phases are all phases.
func Phases() []string {
	return []string{PhaseNew, PhaseAwake, PhaseFallingAsleep, PhaseStopping, PhaseAsleep, PhaseWaking, PhaseFailed, PhaseOffline}
}

// Scaling is what Relay does with the number of instances of an app. It is absent for apps that
// do not ask for it.
type Scaling struct {
	// Phase is one of the phases above, and Since is from when on it is so.
	Phase string    `json:"phase"`
	Since time.Time `json:"since,omitzero"`
	// Reason says why the phase began: of an app that was woken, which domain and network did.
	Reason string `json:"reason,omitempty"`
	// Text says when the app sleeps, or what keeps it awake, or what it waits for.
	Text string `json:"text"`
	// Size says why there are as many instances, of an app that is sized by its load.
	Size string `json:"size,omitempty"`
	// Trouble is why the last try to change the number of instances failed; absent if it did not.
	Trouble string `json:"trouble,omitempty"`
	// Instances is how many there shall be now, and Before how many there were before sleep.
	Instances int `json:"instances"`
	Before    int `json:"before,omitempty"`
	// Waiting counts the requests that wait for the app to start.
	Waiting int `json:"waiting,omitempty"`
	// Queues are those of the ports that ask for one.
	Queues []Queue `json:"queues,omitempty"`
	// Events are what was decided and what came of it, the newest first.
	Events []ScalingEvent `json:"events,omitempty"`
}

// Sleeps reports whether requests wait for the app until it has started.
func (s *Scaling) Sleeps() bool {
	if s == nil {
		return false
	}
	switch s.Phase {
	case PhaseFallingAsleep, PhaseStopping, PhaseAsleep, PhaseWaking:
		return true
	}
	return false
}

// Queue is the queue of a port.
type Queue struct {
	Port int `json:"port"`
	// Concurrency is how many requests an instance has at most, InProgress how many all have
	// together, by this Relay's count.
	Concurrency int `json:"concurrency"`
	InProgress  int `json:"inProgress"`
	// Waiting is how many wait, and Length how many may.
	Waiting int `json:"waiting"`
	Length  int `json:"length"`
}

// ScalingEvent is a decision, or what came of one.
type ScalingEvent struct {
	Time time.Time `json:"time"`
	// Kind is such as "fell asleep", "woke up", "resized" or "did not start".
	Kind string `json:"kind"`
	// Text says what, and why, with the figures that it rests on.
	Text string `json:"text"`
	// Took is how many seconds it was until the first request was let through; absent if it does
	// not apply.
	Took float64 `json:"took,omitempty"`
}

// ScalingStatus sums up the apps that Relay may scale.
type ScalingStatus struct {
	// Apps is how many are in each phase.
	Apps map[string]int `json:"apps"`
	// Decisions grows by each thing that is decided about an app, or comes of it, since Relay started.
	Decisions uint64 `json:"decisions"`
	// Waiting is how many requests wait for apps to start, and Queued how many wait in queues.
	Waiting int `json:"waiting"`
	Queued  int `json:"queued"`
	// Wakes are the first few apps for which requests wait, the longest first; MoreWakes counts the
	// others.
	Wakes     []Wake `json:"wakes,omitempty"`
	MoreWakes int    `json:"moreWakes,omitempty"`
}

// Wakes is the answer of /api/v1/wakes: what waits for apps to start.
type Wakes struct {
	Wakes []Wake `json:"wakes"`
	Page
}

// Wake is an app for which requests wait.
type Wake struct {
	App string `json:"app"`
	// Requests is how many wait, and Since since when the first does. A page that a browser was shown
	// counts as none: then it is absent.
	Requests int       `json:"requests"`
	Since    time.Time `json:"since,omitzero"`
	// Why says what they wait for.
	Why string `json:"why"`
}
