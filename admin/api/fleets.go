package api

import "time"

// Sources is the answer of /api/v1/sources.
type Sources struct {
	Sources []Source `json:"sources"`
}

// Fleets is the answer of /api/v1/fleets.
type Fleets struct {
	Fleets []Fleet `json:"fleets"`
}

// Fleet is the Envoys of one fleet and what they are to be sent.
type Fleet struct {
	Name string `json:"name"`
	// Revision counts the changes published to this fleet.
	Revision uint64 `json:"revision"`
	// Resources counts the resources by type, such as "clusters".
	Resources map[string]int `json:"resources"`
	Envoys    []FleetEnvoy   `json:"envoys"`
}

// FleetEnvoy is a connected Envoy in the answer of /api/v1/fleets.
type FleetEnvoy struct {
	ID                 string      `json:"id"`
	Version            string      `json:"version"`
	Address            string      `json:"address"`
	Connected          time.Time   `json:"connected"`
	CertificateExpires time.Time   `json:"certificateExpires,omitzero"`
	Types              []EnvoyType `json:"types,omitempty"`
}

// The names of the events of /api/v1/events.
const (
	// EventStatus has a Status without Series, and with Point.
	EventStatus = "status"
	// EventChange has a Change; its id is that of the event.
	EventChange = "change"
	// EventFailure has a Failure.
	EventFailure = "failure"
	// EventProblem has a ProblemEvent.
	EventProblem = "problem"
)

// ProblemEvent tells that the problems have changed.
type ProblemEvent struct {
	// Appeared and Ended are the first few of the problems that came and went.
	Appeared []Problem `json:"appeared,omitempty"`
	Ended    []Problem `json:"ended,omitempty"`
	// Problems counts all, Failing those that cost requests.
	Problems int `json:"problems"`
	Failing  int `json:"failing"`
}
