package api

import "encoding/json"

// Domains is the answer of /api/v1/domains.
type Domains struct {
	Domains []Domain `json:"domains"`
	Page
}

// Domain is a domain that apps claim.
type Domain struct {
	Name string `json:"name"`
	// Fleets are those that route it, Apps those that claim it.
	Fleets []string `json:"fleets,omitempty"`
	Apps   []string `json:"apps,omitempty"`
	// Status is one of the constants below.
	Status DomainStatus `json:"status"`
	// Load is that of the apps that answer for it, on all of their domains: Envoys report
	// load by app.
	Load *Load `json:"load,omitempty"`
	// Failures are those of the last hour.
	Failures *int `json:"failures,omitempty"`
	// Certificate is the one that https clients get, as /api/v1/certificates names it; absent
	// if none.
	Certificate string `json:"certificate,omitempty"`
}

// DomainStatus says whether a domain is served.
type DomainStatus string

// What may be said of a domain; of several, the first is.
const (
	// DomainServed has a task, and a certificate where a fleet listens for https.
	DomainServed DomainStatus = "served"
	// DomainWithoutTask has no task in rotation.
	DomainWithoutTask DomainStatus = "no task"
	// DomainStopped has none since the app is scaled to 0.
	DomainStopped DomainStatus = "stopped"
	// DomainAsleep has none since the app sleeps: the next request starts it.
	DomainAsleep DomainStatus = "asleep"
	// DomainWithoutCertificate is routed by a fleet with https, and has no certificate.
	DomainWithoutCertificate DomainStatus = "no certificate"
	// DomainInNoFleet is claimed by apps that no fleet serves.
	DomainInNoFleet DomainStatus = "no fleet"
)

// DomainStory is the answer of /api/v1/domains/{name}.
type DomainStory struct {
	Domain
	// Findings say whether it is served, and if not, why; the worst first.
	Findings     []Finding `json:"findings"`
	Problems     []Problem `json:"problems,omitempty"`
	LastFailures []Failure `json:"lastFailures,omitempty"`
	LastChanges  []Change  `json:"lastChanges,omitempty"`
	// Scaling is what Relay does with the number of instances, by app: of those that ask for it.
	Scaling map[string]*Scaling `json:"scaling,omitempty"`
	// Explanation is the answer of /api/v1/explain.
	Explanation json.RawMessage `json:"explanation"`
}
