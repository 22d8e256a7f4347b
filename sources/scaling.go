package sources

import (
	"context"
	"errors"
	"time"
)

const (
	// MaxWakeTimeout is for Scaling.WakeTimeout.
	MaxWakeTimeout = 10 * time.Minute
	// DefaultScaleTarget is for Scaling.Target.
	DefaultScaleTarget = 10
	// DefaultQueueLength is for Queue.Length: sources set it where an app does not say.
	DefaultQueueLength = 100
	// DefaultQueueTimeout and MaxQueueTimeout are for Queue.Timeout.
	DefaultQueueTimeout, MaxQueueTimeout = 30 * time.Second, 10 * time.Minute
)

// Scaling says what Relay may do with the number of instances of an app. It is never modified.
type Scaling struct {
	// IdleAfter is how long nobody must have used the app before it is put to sleep; 0 is never.
	IdleAfter time.Duration
	// WakeTimeout is how long a request waits for the app to start; 0 is the default.
	WakeTimeout time.Duration
	// WakePage shows browsers a page while the app starts. Other clients wait.
	WakePage bool
	// Min and Max bound the number of instances that Relay chooses; Max is 0 if it does not.
	Min, Max int
	// Target is how many requests in progress one instance is meant to have.
	Target float64
	// DownAfter is for how long fewer instances must have been enough before there are fewer; 0
	// is the default.
	DownAfter time.Duration
}

// Queue bounds the requests in progress at each instance of a port. It is never modified.
type Queue struct {
	// Concurrency is how many requests an instance has at most at one time.
	Concurrency int
	// Length is how many more wait; 0 is none.
	Length int
	// Timeout is how long each waits at most; 0 is the default.
	Timeout time.Duration
}

// WakeTCP says how connections to a TCP service that sleeps are held.
type WakeTCP uint8

// The ways; the zero value has connections refused.
const (
	WakeTCPNever WakeTCP = iota
	// WakeClientFirst holds connections whose client sends the first bytes. Envoys do the same for it as
	// for WakeAny.
	WakeClientFirst
	// WakeAny holds all.
	WakeAny
)

// Orchestration is what the source says of the instances of an app, where Relay may change their
// number. It is never modified.
type Orchestration struct {
	// Instances is how many there shall be.
	Instances int
	// Asleep is how many the app had before Relay put it to sleep: the label RELAY_ASLEEP of an
	// app with no instances. 0 if Relay did not.
	Asleep int
	// Deploying is set while a deployment of the app runs.
	Deploying bool
	// OldestFirst is set if the oldest tasks are killed first when there shall be fewer.
	OldestFirst bool
	// StartedAt is when each task has started, by id: of those that run.
	StartedAt map[string]time.Time
	// Failure is the last task that failed; nil if none has, as far as is known.
	Failure *TaskFailure
}

// TaskFailure is a task that failed.
type TaskFailure struct {
	Task, State, Message string
	// Version is that of the app's definition.
	Version string
	At      time.Time
}

// Rescale is a change of the number of instances of an app.
type Rescale struct {
	// App is the id.
	App string
	// Version is that of the definition on which the decision rests. If the app has another one,
	// nothing is changed, and the error is ErrChanged.
	Version string
	// Instances is how many there shall be.
	Instances int
	// Asleep, if it is set, is how many there were before: it is kept at the source until the app wakes.
	// 0 says that the app does not sleep.
	Asleep int
	// Kill, if set, are the ids of the tasks that are too many.
	Kill []string
	// Exact has nothing changed, with ErrChanged, unless all of Kill can be killed: else others would be.
	Exact bool
	// Suspended lets the app have instances though people have scaled it to 0: people ask for it.
	Suspended bool
	// Over is the id of a deployment of Relay's own that this change may take the place of.
	Over string
}

// Rescaled is what the source made of a Rescale.
type Rescaled struct {
	// Version is that of the new definition, and Deployment the id of the deployment that makes it so.
	Version, Deployment string
}

// Why a source does not change the number of instances.
var (
	// ErrChanged is of an app that was changed since the decision.
	ErrChanged = errors.New("the app was changed meanwhile")
	// ErrLocked is of an app that somebody deploys.
	ErrLocked = errors.New("a deployment of the app is running")
	// ErrUntouched is of a change that certainly was not made, since the source did not answer, or refused it.
	ErrUntouched = errors.New("nothing was changed")
	// ErrGone is of an app that does not exist any more.
	ErrGone = errors.New("the app does not exist any more")
)

// Scaler changes the number of instances of apps. It is the only thing that writes to a source.
// Errors other than those above are passing ones: the source did not answer, or said no for now.
type Scaler interface {
	Rescale(ctx context.Context, r Rescale) (Rescaled, error)
}
