package api

import "time"

// Status is the first screen: whether all is well.
type Status struct {
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	// Ready tells that Envoys are served all that there is. NotReady says what they wait for.
	Ready    bool     `json:"ready"`
	NotReady []string `json:"notReady,omitempty"`
	// Summary is one sentence: what is served, or what is not. OK tells that all is well: that
	// no finding is worse.
	Summary string `json:"summary"`
	OK      bool   `json:"ok"`
	// Findings say what is not well, the worst first.
	Findings []Finding `json:"findings"`
	Counts   Counts    `json:"counts"`
	// Sources are those of apps and certificates.
	Sources []Source      `json:"sources"`
	Fleets  []FleetStatus `json:"fleets"`
	// Refused says which Envoys were refused within the last hour, and why.
	Refused []string `json:"refused,omitempty"`
	// Load is that of all fleets, Failures are per second over the last minute.
	Load     *Load    `json:"load,omitempty"`
	Failures *float64 `json:"failures,omitempty"`
	// Convergence is how long changes of the last hour took.
	Convergence *Convergence `json:"convergence,omitempty"`
	// Series is the last hour. The event stream has its newest Point in its place.
	Series       *Series            `json:"series,omitempty"`
	Point        *Point             `json:"point,omitempty"`
	Certificates CertificatesStatus `json:"certificates"`
	// Scaling is absent where Relay scales no apps.
	Scaling *ScalingStatus `json:"scaling,omitempty"`
	// Probes is absent where nothing is asked from outside.
	Probes *ProbesStatus `json:"probes,omitempty"`
	// Worst are the first groups of problems, MoreGroups counts the others.
	Worst      []Group `json:"worst"`
	MoreGroups int     `json:"moreGroups,omitempty"`
}

// ProbesStatus sums up what was found by asking from outside.
type ProbesStatus struct {
	// Place is where it is asked from.
	Place string `json:"place"`
	// Asked counts those that were asked: not those that sleep. Failing are those that failed the last time.
	Asked   int `json:"asked"`
	Failing int `json:"failing"`
	// Worst are the first few of those that fail.
	Worst []Probe `json:"worst,omitempty"`
}

// Counts are the sums of the first screen.
type Counts struct {
	Apps         int `json:"apps"`
	Domains      int `json:"domains"`
	Endpoints    int `json:"endpoints"`
	Certificates int `json:"certificates"`
	// Envoys are those that are connected.
	Envoys   int `json:"envoys"`
	Problems int `json:"problems"`
	// Failing are the problems that cost requests now, or keep changes from Envoys.
	Failing int `json:"failing"`
	// WithoutTask and WithoutCertificate are domains, InNoFleet are apps that want domains.
	WithoutTask        int `json:"withoutTask"`
	WithoutCertificate int `json:"withoutCertificate"`
	InNoFleet          int `json:"inNoFleet"`
	// LeftOut are domains that apps in a fleet name in vain.
	LeftOut int `json:"leftOut"`
	// Stopped are the domains of apps that are scaled to 0.
	Stopped int `json:"stopped"`
	// Asleep are those of apps that start with the next request.
	Asleep int `json:"asleep"`
}

// Source is a source of apps or certificates.
type Source struct {
	// Name is the address or path that is read, without credentials.
	Name string `json:"name"`
	// Kind is what it is, such as "marathon", "file", "vault" or "dir".
	Kind      string `json:"kind"`
	Connected bool   `json:"connected"`
	// LastSync is when it was last read completely; absent if never.
	LastSync time.Time `json:"lastSync,omitzero"`
	// LastError is what went wrong since; absent if nothing did.
	LastError string `json:"lastError,omitempty"`
	// Items counts the apps or certificates it gave.
	Items int `json:"items"`
}

// FleetStatus is how far the Envoys of a fleet are.
type FleetStatus struct {
	Name string `json:"name"`
	// Revision counts the changes published to this fleet.
	Revision uint64 `json:"revision"`
	// Envoys are those that are connected: UpToDate, Behind and Rejecting together.
	Envoys    int `json:"envoys"`
	UpToDate  int `json:"upToDate"`
	Behind    int `json:"behind"`
	Rejecting int `json:"rejecting"`
	// Disconnected are Envoys that were connected within the last hour, and are not any more:
	// the first few.
	Disconnected []EnvoySince `json:"disconnected,omitempty"`
	// Late are the first few Envoys that have not answered what they were sent for a while.
	Late []EnvoySince `json:"late,omitempty"`
	// Rejected is the first resource that each of the first few Envoys rejects.
	Rejected []Rejected `json:"rejected,omitempty"`
	// Reporting is how many Envoys report their load; NotReported are the first few that do
	// not, or not any more, those first of which a report is due. Both are absent where load is not taken in.
	Reporting   *int         `json:"reporting,omitempty"`
	NotReported []EnvoySince `json:"notReported,omitempty"`
	Load        *Load        `json:"load,omitempty"`
	// Failures are per second, over the last minute.
	Failures *float64 `json:"failures,omitempty"`
}

// EnvoySince is an Envoy, and since when something holds of it; absent if always.
type EnvoySince struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since,omitzero"`
	// Connected is since when it is connected, where that says whether a report of it is due.
	Connected time.Time `json:"connected,omitzero"`
}

// ReportDue reports whether a report of its load should have come since the Envoy connected.
func (e EnvoySince) ReportDue(now time.Time) bool { return now.Sub(e.Connected) >= ReportDue }

// Convergence is how long changes took until all Envoys had them, in seconds.
type Convergence struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Changes is how many there were.
	Changes int `json:"changes"`
}

// Series is the last hour in steps, the oldest first. All lists have the same length.
type Series struct {
	// Start is the beginning of the first step.
	Start time.Time `json:"start"`
	// Step is in seconds.
	Step int `json:"step"`
	// Requests, Errors and Failures are per second, of all fleets.
	Requests Values `json:"requests"`
	Errors   Values `json:"errors"`
	Failures Values `json:"failures"`
	// Changes is how many there were in the step; P50 and P99 how long they took, in seconds.
	Changes Values `json:"changes"`
	P50     Values `json:"p50"`
	P99     Values `json:"p99"`
}

// Point is the newest step of a Series that has ended.
type Point struct {
	// Time is the beginning of the step.
	Time     time.Time `json:"time"`
	Requests Value     `json:"requests"`
	Errors   Value     `json:"errors"`
	Failures Value     `json:"failures"`
	Changes  Value     `json:"changes"`
	P50      Value     `json:"p50"`
	P99      Value     `json:"p99"`
}

// CertificatesStatus sums up the certificates.
type CertificatesStatus struct {
	Total   int `json:"total"`
	Unused  int `json:"unused"`
	Expired int `json:"expired"`
	// Soon are those in use that expire in less than 21 days.
	Soon int `json:"soon"`
	// Uncovered are the domains without a certificate for which one is wanted.
	Uncovered int `json:"uncovered"`
	// Next is the one in use that expires first.
	Next *NextCertificate `json:"next,omitempty"`
}

// NextCertificate is the certificate that expires first.
type NextCertificate struct {
	Name     string    `json:"name"`
	NotAfter time.Time `json:"notAfter"`
}
