package api

import "time"

// ProbeTargets is the answer of /api/v1/probes/targets: what may be asked, and through which Envoys.
type ProbeTargets struct {
	Fleets []ProbeFleet `json:"fleets"`
	// Domains are those with RELAY_{n}_PROBE, and, with sample=N, N of each fleet, chosen by epoch.
	Domains []ProbeDomain `json:"domains"`
	// Services are TCP services with RELAY_{n}_PROBE.
	Services []ProbeService `json:"services"`
	// Reading tells that Relay was started lately and has not read all apps and certificates: not all domains and services are here.
	Reading bool `json:"reading,omitempty"`
	// Omitted counts domains and services that are not here, as there are too many.
	Omitted int `json:"omitted,omitempty"`
}

// The bounds of ProbeTargets.
const (
	// MaxProbed is how many domains, and how many services, there are at most.
	MaxProbed = 10_000
	// ProbeEpochs is after how many epochs a sample is another one altogether: each has others in place of a part of it.
	ProbeEpochs = 16
)

// ProbeFleet is where the Envoys of a fleet listen.
type ProbeFleet struct {
	Name string `json:"name"`
	// HTTP and HTTPS are ports; absent if they do not listen.
	HTTP  uint16 `json:"http,omitempty"`
	HTTPS uint16 `json:"https,omitempty"`
	// Address is the one that they bind, if it is one; absent if they bind all.
	Address string `json:"address,omitempty"`
	// ClientCertificates tells that clients have to show a certificate by HTTPS.
	ClientCertificates bool `json:"clientCertificates,omitempty"`
	// ProxyProtocol tells that they expect its header.
	ProxyProtocol bool `json:"proxyProtocol,omitempty"`
	// Envoys are those that are connected, or were within the last hour: one that was stopped is asked too.
	Envoys []ProbeEnvoy `json:"envoys"`
}

// ProbeEnvoy is an Envoy, by the address from which it connects to Relay.
type ProbeEnvoy struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	// Disconnected is when it left; absent while it is connected.
	Disconnected time.Time `json:"disconnected,omitzero"`
}

// ProbeDomain is a domain to ask for.
type ProbeDomain struct {
	Name   string   `json:"name"`
	Fleets []string `json:"fleets"`
	App    string   `json:"app"`
	Port   int      `json:"port"`
	Owner  string   `json:"owner,omitempty"`
	// HTTPS tells that it has a certificate where the fleet listens for HTTPS.
	HTTPS bool `json:"https,omitempty"`
	// Status is that of the domain: what sleeps or is stopped is not asked.
	Status DomainStatus `json:"status"`
	// Probe is the value of the label; absent of a domain that was chosen by chance.
	Probe string `json:"probe,omitempty"`
	// Sleeps tells that the app may sleep: what does not say that it is a probe would wake it, or keep it awake.
	Sleeps bool `json:"sleeps,omitempty"`
	// Path is one that is routed to the app, of a domain that was chosen by chance; / if absent.
	Path string `json:"path,omitempty"`
	// Skip says why it is not asked now.
	Skip string `json:"skip,omitempty"`
}

// ProbeService is a TCP service to ask; without Probe, one that virtual devices do not ask, since Skip says why.
type ProbeService struct {
	App    string   `json:"app"`
	Port   int      `json:"port"`
	Owner  string   `json:"owner,omitempty"`
	Fleets []string `json:"fleets"`
	// ServicePort is where the Envoys listen; absent if it is the port for HTTPS, by the server name.
	ServicePort uint16 `json:"servicePort,omitempty"`
	// Address is the one that they bind, if it is one.
	Address string `json:"address,omitempty"`
	// ProxyProtocol tells that connections begin with its header.
	ProxyProtocol bool `json:"proxyProtocol,omitempty"`
	// ServerName is one of its names; absent if clients need not name one. TLS tells that Envoy ends TLS.
	ServerName string       `json:"serverName,omitempty"`
	TLS        bool         `json:"tls,omitempty"`
	Status     DomainStatus `json:"status"`
	Probe      string       `json:"probe,omitempty"`
	// Skip says why it is not asked now.
	Skip string `json:"skip,omitempty"`
}

// Targets is a group of targets, as Prometheus takes it by http_sd
// (https://prometheus.io/docs/prometheus/latest/http_sd/).
type Targets struct {
	Targets []string `json:"targets"`
	// Labels are those of all of them. Prometheus drops those that begin with __meta_ after relabelling.
	Labels map[string]string `json:"labels"`
}

// Probes is the answer of /api/v1/probes, those that fail first. Relay and `relay probe` give it.
type Probes struct {
	// Place is where it is asked from.
	Place string `json:"place"`
	// Time is when the answer was made, Interval how often targets are asked, in seconds.
	Time     time.Time `json:"time"`
	Interval float64   `json:"interval"`
	// SampleInterval is how often those are asked that were chosen by chance, in seconds. An older Relay does not say it.
	SampleInterval float64 `json:"sampleInterval,omitempty"`
	// OK, Failing and Skipped count all, not only those of the page.
	OK      int     `json:"ok"`
	Failing int     `json:"failing"`
	Skipped int     `json:"skipped"`
	Probes  []Probe `json:"probes"`
	Page
}

// Probe is a target, and what was found last.
type Probe struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Fleet  string `json:"fleet"`
	Envoy  string `json:"envoy"`
	Domain string `json:"domain,omitempty"`
	App    string `json:"app,omitempty"`
	Port   int    `json:"port,omitempty"`
	Owner  string `json:"owner,omitempty"`
	// Sampled tells that it was chosen by chance.
	Sampled bool `json:"sampled,omitempty"`
	// Interval is how often it is asked, in seconds, if that is another than of most: it was chosen by chance, or its app has
	// very many.
	Interval float64 `json:"interval,omitempty"`
	Success  bool    `json:"success"`
	// Late tells that it failed only because it took longer than it should.
	Late bool `json:"late,omitempty"`
	// Skipped says why nothing was asked.
	Skipped string    `json:"skipped,omitempty"`
	Time    time.Time `json:"time"`
	// Since is when it began to succeed or to fail.
	Since time.Time `json:"since"`
	// Duration is in seconds.
	Duration float64     `json:"duration"`
	Steps    []ProbeStep `json:"steps,omitempty"`
	Status   int         `json:"status,omitempty"`
	// Code is one of those of docs/errors.md.
	Code      string `json:"code,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// Explain is where Relay says how the domain or app is routed: a path of its admin endpoint.
	Explain string `json:"explain,omitempty"`
}

// ProbeStep is a part of a probe.
type ProbeStep struct {
	Name string `json:"name"`
	// Duration and Limit are in seconds.
	Duration float64 `json:"duration"`
	Limit    float64 `json:"limit,omitempty"`
	OK       bool    `json:"ok"`
	Seen     string  `json:"seen,omitempty"`
}

// Incidents is the answer of /api/v1/incidents, the newest first.
type Incidents struct {
	Incidents []Incident `json:"incidents"`
}

// The states of incidents and maintenance.
const (
	IncidentInvestigating = "investigating"
	IncidentIdentified    = "identified"
	IncidentMonitoring    = "monitoring"
	IncidentResolved      = "resolved"
	MaintenanceScheduled  = "scheduled"
	MaintenanceUnderWay   = "under way"
	MaintenanceCompleted  = "completed"
)

// Incident is what people write about something that does not work, or about maintenance. All of it is public.
type Incident struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Services are names of the status page.
	Services []string `json:"services,omitempty"`
	// Maintenance has a Begin and an End that were announced.
	Maintenance bool      `json:"maintenance,omitempty"`
	State       string    `json:"state"`
	Begin       time.Time `json:"begin"`
	// End is absent while it lasts; of maintenance it is when it will end.
	End time.Time `json:"end,omitzero"`
	// AnnouncedEnd is that of maintenance which may have ended before.
	AnnouncedEnd time.Time        `json:"announcedEnd,omitzero"`
	Updates      []IncidentUpdate `json:"updates"`
}

// IncidentChange is the answer to a change of an incident.
type IncidentChange struct {
	// Incident is how it is now.
	Incident Incident `json:"incident"`
	// Unsaved says why the change is lost with the next restart of this Relay; absent if it is not.
	Unsaved string `json:"unsaved,omitempty"`
	// Error says why nothing was changed.
	Error string `json:"error,omitempty"`
}

// IncidentUpdate is what somebody wrote, the newest first.
type IncidentUpdate struct {
	Time  time.Time `json:"time"`
	State string    `json:"state"`
	Text  string    `json:"text"`
}
