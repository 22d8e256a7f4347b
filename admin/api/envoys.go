package api

import "time"

// Envoys is the answer of /api/v1/envoys.
type Envoys struct {
	Envoys []Envoy `json:"envoys"`
	Page
}

// EnvoyState says how far an Envoy is.
type EnvoyState string

// The states.
const (
	EnvoyUpToDate EnvoyState = "up to date"
	// EnvoyBehind is to be sent something, or has not acknowledged it yet.
	EnvoyBehind EnvoyState = "behind"
	// EnvoyRejecting lacks resources which it, or others of its version, rejected.
	EnvoyRejecting EnvoyState = "rejecting"
	// EnvoyDisconnected was connected within the last hour, and is not now.
	EnvoyDisconnected EnvoyState = "disconnected"
)

// ReportDue is how long after it connected, and after a report, an Envoy has reported its load again: it does so every 10 s,
// or every 30 s if there are very many clusters.
const ReportDue = 45 * time.Second

// Envoy is an Envoy that is connected, or was within the last hour.
type Envoy struct {
	Fleet string `json:"fleet"`
	ID    string `json:"id"`
	// Version is Envoy's.
	Version string `json:"version,omitempty"`
	Zone    string `json:"zone,omitempty"`
	// Address is the peer's, as Relay sees it.
	Address string `json:"address"`
	// Connected is since when; Disconnected is when it left.
	Connected    time.Time  `json:"connected"`
	Disconnected time.Time  `json:"disconnected,omitzero"`
	State        EnvoyState `json:"state"`
	// Behind counts the resources that it is to be sent, Lacking those that were rejected.
	Behind  int `json:"behind"`
	Lacking int `json:"lacking"`
	// CertificateExpires is when the certificate that it showed expires.
	CertificateExpires time.Time `json:"certificateExpires,omitzero"`
	// Reported is when it last reported its load; absent if never.
	Reported time.Time `json:"reported,omitzero"`
	Load     *Load     `json:"load,omitempty"`
}

// EnvoyStory is the answer of /api/v1/envoys/{fleet}/{id}.
type EnvoyStory struct {
	Envoy
	// Types is how far it is with each type of resource.
	Types        []EnvoyType `json:"types,omitempty"`
	LastFailures []Failure   `json:"lastFailures,omitempty"`
}

// EnvoyType is how far an Envoy is with one type of resource.
type EnvoyType struct {
	Type string `json:"type"`
	// Sent and Acked are revisions of the fleet.
	Sent  uint64 `json:"sent"`
	Acked uint64 `json:"acked"`
	// Resources is how many it has.
	Resources int `json:"resources"`
	// Lacks are the first resources of which it lacks the present version, Lacking counts all.
	Lacks    []Lacking `json:"lacks,omitempty"`
	Lacking  int       `json:"lacking,omitempty"`
	Behind   int       `json:"behind"`
	InFlight bool      `json:"inFlight"`
}

// Lacking is a resource whose present version an Envoy does not have.
type Lacking struct {
	Name string `json:"name"`
	// By is who rejected it: "this Envoy" or "others of its version".
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	// Error is what Envoy said.
	Error string `json:"error"`
	// Retry is when it is offered again; absent if it is not until it changes.
	Retry time.Time `json:"retry,omitzero"`
	// Older tells that the Envoy has an older version.
	Older bool `json:"older"`
}
