package api

import "time"

// The phases of an app that may sleep.
const (
	PhaseAwake         = "awake"
	PhaseFallingAsleep = "falling asleep"
	PhaseAsleep        = "asleep"
	PhaseWaking        = "waking"
	PhaseFailed        = "failed"
)

// Scaling is what Relay does with the number of instances of an app. It is absent for apps that
// do not ask for it.
type Scaling struct {
	// Phase is one of the phases above, and Since is from when on it is so.
	Phase string    `json:"phase"`
	Since time.Time `json:"since,omitzero"`
	// Text is a sentence: why the app sleeps, or when it will, or what keeps it awake.
	Text string `json:"text"`
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
	// Kind is such as "sleep", "wake", "size" or "failed".
	Kind string `json:"kind"`
	// Text says what, and why, with the figures that it rests on.
	Text string `json:"text"`
	// Took is how many seconds it was until the first request was let through; absent if it does
	// not apply.
	Took float64 `json:"took,omitempty"`
}

// Wakes is the answer of /api/v1/wakes: what waits for apps to start.
type Wakes struct {
	Wakes []Wake `json:"wakes"`
	Page
}

// Wake is an app for which requests wait.
type Wake struct {
	App string `json:"app"`
	// Requests is how many wait, and Since since when the first does.
	Requests int       `json:"requests"`
	Since    time.Time `json:"since"`
	// Why says what they wait for.
	Why string `json:"why"`
}
