package admin

import "time"

// State is what the process shows of itself. Its methods are called from many
// goroutines at once, return at once, and return values that are not modified
// afterwards. No view has room for a private key or a token.
type State interface {
	// NotReady says why Envoys are not served yet, one reason an entry; none
	// when they are.
	NotReady() []string
	Counts() Counts
	Sources() []SourceView
	Fleets() []FleetView
	Apps() []AppView
	// App returns the app with the given absolute id, such as "/shop/web".
	App(id string) (AppView, bool)
	Certificates() []CertificateView
	// Uncovered are the domains without a certificate, those first that should
	// have one; known is false until apps and certificates have been read.
	Uncovered() (domains []UncoveredView, known bool)
	Problems() []ProblemView
	// Explain says how a domain or an app is routed, and why, as a value for
	// JSON; known is false when nothing is known of it.
	Explain(subject string) (answer any, known bool)
}

// Counts are the sums shown at the top of the status page.
type Counts struct {
	Apps      int `json:"apps"`
	Domains   int `json:"domains"`
	Endpoints int `json:"endpoints"`
}

// SourceView is a source of apps or certificates.
type SourceView struct {
	// Name tells the source from others of its kind: an address or a path,
	// without credentials.
	Name string `json:"name"`
	// Kind is what it is, such as "marathon", "file", "vault" or "dir".
	Kind      string `json:"kind"`
	Connected bool   `json:"connected"`
	// LastSync is when it was last read completely; zero if never.
	LastSync time.Time `json:"lastSync,omitzero"`
	// LastError is what went wrong since; empty if nothing did.
	LastError string `json:"lastError,omitempty"`
	// Items counts the apps or certificates it gave.
	Items int `json:"items"`
}

// FleetView is the Envoys of one group and what they are to be sent.
type FleetView struct {
	Name string `json:"name"`
	// Revision counts the changes published to this fleet.
	Revision uint64 `json:"revision"`
	// Resources counts the resources by type, such as "clusters".
	Resources map[string]int `json:"resources"`
	Envoys    []EnvoyView    `json:"envoys"`
}

// EnvoyView is one Envoy with an open stream.
type EnvoyView struct {
	// ID is the node id that the Envoy gave.
	ID string `json:"id"`
	// Version is that of the Envoy build.
	Version string `json:"version"`
	// Address is where the stream comes from.
	Address   string    `json:"address"`
	Connected time.Time `json:"connected"`
	// CertificateExpires is when the certificate expires that the Envoy showed; nil
	// if it showed none.
	CertificateExpires *time.Time `json:"certificateExpires,omitempty"`
	Types              []TypeView `json:"types,omitempty"`
}

// TypeView is how far an Envoy has come with one resource type. Revisions are
// those of the fleet.
type TypeView struct {
	// Type is the resource type, such as "clusters".
	Type string `json:"type"`
	// Sent is the revision up to which the Envoy was sent everything.
	Sent uint64 `json:"sent"`
	// Acked is the revision up to which it acknowledged everything.
	Acked uint64 `json:"acked"`
	// Lacks are resources that it does not have as they are, since it or others of
	// its version rejected them; Lacking counts them, where not all are listed.
	Lacks   []LackView `json:"lacks,omitempty"`
	Lacking int        `json:"lacking,omitempty"`
	// Behind counts the resources it has yet to be sent or to acknowledge.
	Behind int `json:"behind"`
	// InFlight is set while a response waits for its answer.
	InFlight bool `json:"inFlight"`
}

// LackView is a resource that an Envoy does not have as it is.
type LackView struct {
	Name string `json:"name"`
	// By is who rejected it: "this Envoy", or "others of its version".
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	// Error is the reason in the words of Envoy.
	Error string `json:"error"`
	// Retry is when the Envoy is offered it again; nil if it is not until it changes.
	Retry *time.Time `json:"retry,omitempty"`
	// Older tells that the Envoy has an older version of it, and not none.
	Older bool `json:"older"`
}

// AppView is one app as it is routed.
type AppView struct {
	ID      string     `json:"id"`
	Version string     `json:"version"`
	Ports   []PortView `json:"ports"`
}

// PortView is one declared port of an app.
type PortView struct {
	Index int    `json:"index"`
	Name  string `json:"name,omitempty"`
	// Groups are the fleets that route the port.
	Groups    []string       `json:"groups,omitempty"`
	Domains   []string       `json:"domains,omitempty"`
	Endpoints []EndpointView `json:"endpoints,omitempty"`
	Excluded  []ExcludedView `json:"excluded,omitempty"`
}

// EndpointView is an address in rotation.
type EndpointView struct {
	Address string `json:"address"`
	// Health is "healthy", "degraded" or "draining".
	Health string `json:"health"`
	Task   string `json:"task,omitempty"`
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
}

// ExcludedView is a task that gets no requests, and why.
type ExcludedView struct {
	Task   string `json:"task"`
	Reason string `json:"reason"`
}

// CertificateView is a certificate without its key.
type CertificateView struct {
	// Source is "vault" or "dir".
	Source      string    `json:"source"`
	Name        string    `json:"name"`
	ServerNames []string  `json:"serverNames,omitempty"`
	NotAfter    time.Time `json:"notAfter"`
	// DaysLeft is set by this package from NotAfter: whole days, rounded down,
	// so negative from the moment of expiry.
	DaysLeft int `json:"daysLeft"`
	// Fingerprint is the SHA-256 of the leaf in hex.
	Fingerprint string `json:"fingerprint"`
	// ServedFor are the server names it is served for: fewer than ServerNames
	// where another certificate is preferred.
	ServedFor []string `json:"servedFor,omitempty"`
	// Default tells that it answers clients without a known server name.
	Default bool `json:"default,omitempty"`
	// Domains are the routed domains that it is served with, and DomainCount is
	// their number.
	Domains     []string `json:"domains,omitempty"`
	DomainCount int      `json:"domainCount"`
	// Unused tells that it is no domain's and not the default one; false until that
	// is known.
	Unused bool `json:"unused"`
}

// UncoveredView is a domain that a fleet routes, whose https clients refuse what
// they are shown.
type UncoveredView struct {
	Fleet  string `json:"fleet"`
	Domain string `json:"domain"`
	// Wanted tells that plain HTTP is redirected to https, or that an app asks for
	// HSTS or a certificate.
	Wanted bool   `json:"wanted"`
	Reason string `json:"reason"`
}

// ProblemView is one thing that is ignored or does not work, and why.
type ProblemView struct {
	Kind ProblemKind `json:"kind"`
	// Subject is the app id, certificate name, node id or source name.
	Subject string `json:"subject"`
	// Item is the part concerned, such as a label; it may be empty.
	Item   string `json:"item,omitempty"`
	Reason string `json:"reason"`
}

// ProblemKind is the kind of thing that has a problem.
type ProblemKind string

// The kinds of problems.
const (
	ProblemApp         ProblemKind = "app"
	ProblemCertificate ProblemKind = "certificate"
	ProblemEnvoy       ProblemKind = "envoy"
	ProblemSource      ProblemKind = "source"
)
