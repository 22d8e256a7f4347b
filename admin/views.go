package admin

import (
	"io"
	"time"

	"relay/admin/api"
	"relay/collator"
	"relay/internal/problem"
	"relay/xds"
)

// Views are what people see of the running program. Its methods are called from many
// goroutines at once, return at once, and return values that are not modified
// afterwards. No view has a private key or a token.
type Views interface {
	// NotReady says why Envoys are not served yet, one reason an entry; none
	// when they are.
	NotReady() []string
	Counts() Counts
	Sources() []SourceView
	Fleets() []FleetView
	// Refused says which Envoys were refused within the last hour, and why.
	Refused() []string
	// AppEntries and DomainEntries are ordered by name.
	AppEntries() []*collator.AppEntry
	DomainEntries() []*collator.DomainEntry
	// DomainStatus says whether a domain is served, and DomainCertificate by which certificate:
	// its source, a slash and its name, empty for none.
	DomainStatus(*collator.DomainEntry) api.DomainStatus
	DomainCertificate(*collator.DomainEntry) string
	// App returns the app with the given absolute id, such as "/shop/web".
	App(id string) (collator.AppView, bool)
	Certificates() []collator.CertificateView
	// CertificatesInShort are the same without their domains: they cost little.
	CertificatesInShort() []collator.CertificateView
	// Authorities are those of clients.
	Authorities() []collator.AuthorityView
	// Uncovered are the domains without a certificate, those first that should
	// have one; known is false until apps and certificates have been read.
	Uncovered() (domains []collator.UncoveredDomain, known bool)
	// Problems are complete, and the worst are first.
	Problems() []problem.Problem
	// Served counts the domains that are not served, and the apps that are in no fleet. Its
	// text is one sentence.
	Served() collator.Served
	// Disconnected are the Envoys that were connected within the last hour, and are not now.
	Disconnected() []api.Envoy
	// Unreachable says why Envoys could not connect to instances lately, by cluster and address.
	Unreachable() map[string]map[string]string
	// Diffs are what the last change of an app did in each fleet, the newest first.
	Diffs(app string) ([]api.Diff, error)
	// WriteDump writes what the Envoys of a fleet are offered: resources of a type, or "", and of a
	// name, or "". If there is no such fleet it writes nothing, and the error says so.
	WriteDump(w io.Writer, fleet, typeName, name string) error
	// InEnvoy says by which field or filter of Envoy a label does what it asks for; empty if Relay does not
	// know the label. The ports are the names of those of the app.
	InEnvoy(label string, ports []string) string
	// Outlines says in short what each of some resources of a fleet has Envoys do for an app, of which these
	// are the clusters and domains; nil for those that there are not.
	Outlines(fleet string, resources []xds.Key, names []string) [][]string
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
	// Name is the address or path that is read, without credentials.
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

// FleetView is the Envoys of one fleet and what they are to be sent.
type FleetView struct {
	Name string `json:"name"`
	// Revision counts the changes published to this fleet.
	Revision uint64 `json:"revision"`
	// Resources counts the resources by type, such as "clusters".
	Resources map[string]int     `json:"resources"`
	Envoys    []xds.StreamStatus `json:"envoys"`
}
