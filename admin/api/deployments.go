package api

import "time"

// Deployments is the answer of /api/v1/deployments.
type Deployments struct {
	Deployments []Deployment `json:"deployments"`
	Page
}

// Deployment is a deployment group: the apps that are one service while one takes over from the other.
type Deployment struct {
	Group string `json:"group"`
	// State tells one state from another. Who gives it with a step has the step made only if it is so still.
	State string `json:"state"`
	// Back is set while the group is rolled back.
	Back bool `json:"back,omitempty"`
	// Done is set if nothing is left to do.
	Done bool `json:"done,omitempty"`
	// To is the app that takes over, From those from which it does, and Target how many instances it shall
	// have in the end; absent where there is one app alone.
	To     string   `json:"to,omitempty"`
	From   []string `json:"from,omitempty"`
	Target int      `json:"target,omitempty"`
	// Apps are ordered by age: the last is the new one.
	Apps []DeploymentApp `json:"apps"`
	// Next is what the next step would change, and Waiting what it waits for.
	Next    []DeploymentChange `json:"next,omitempty"`
	Waiting []string           `json:"waiting,omitempty"`
	// ReadOnly says why this Relay makes no steps; absent if it does.
	ReadOnly string `json:"readOnly,omitempty"`
	// Events are the last steps that this Relay made, the newest first; absent in lists.
	Events []DeploymentEvent `json:"events,omitempty"`
}

// DeploymentApp is one version of the service.
type DeploymentApp struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	// StartedAt is when its deployment began, as its labels say.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// Instances is how many it shall have now, Healthy how many take new connections, and Draining how
	// many only keep those that they have.
	Instances int `json:"instances"`
	Healthy   int `json:"healthy"`
	Draining  int `json:"draining"`
	// Out counts the tasks that are not in rotation.
	Out int `json:"out,omitempty"`
	// Connections is how many requests and connections are open at its instances; absent if that is
	// not known of all.
	Connections *int `json:"connections,omitempty"`
	// Tasks are those in rotation; absent in lists.
	Tasks []DeploymentTask `json:"tasks,omitempty"`
}

// DeploymentTask is an instance in rotation.
type DeploymentTask struct {
	Task    string `json:"task"`
	Address string `json:"address"`
	Health  string `json:"health"`
	// Connections is how many requests and connections are open there; absent if it is not known.
	Connections *int `json:"connections,omitempty"`
	// Waiting says what has yet to happen until it is known whether the task can be stopped.
	Waiting string `json:"waiting,omitempty"`
}

// DeploymentChange is a change of the number of instances of an app.
type DeploymentChange struct {
	App  string `json:"app"`
	From int    `json:"from"`
	To   int    `json:"to"`
	// Kill are the tasks that are stopped, and Cut how many connections of theirs are open, as far as is known.
	Kill []string `json:"kill,omitempty"`
	Cut  int      `json:"cut,omitempty"`
	// Why is the reason.
	Why string `json:"why"`
}

// DeploymentEvent is a step, or why it was not made.
type DeploymentEvent struct {
	Time time.Time `json:"time"`
	// Kind is "advance" or "rollback" when the direction changes, "changed", or "trouble".
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// DeploymentStep is the answer to a step.
type DeploymentStep struct {
	// Turned is set if the group goes in another direction now, and Made are the changes that were made.
	Turned bool               `json:"turned,omitempty"`
	Made   []DeploymentChange `json:"made"`
	// Error says why the rest of the step was not made; absent if it was.
	Error string `json:"error,omitempty"`
	// Deployment is what there is after it.
	Deployment Deployment `json:"deployment"`
}
