// Package sources defines what a source of applications (Marathon, a YAML
// file) has to say about them. A source maps whatever it reads to App values
// and hands them to a Sink; it knows nothing of Envoy.
package sources

import (
	"fmt"
	"net/netip"

	"relay/internal/problem"
)

// App is one application as Relay routes it. An App handed to a Sink is never
// modified again: a change is a new App with the same ID.
type App struct {
	// ID is the same at each read, and begins with a slash, as the ids of Marathon: "/shop/web".
	ID string
	// Version is the source's version of the definition, for people to read.
	Version string
	// Ports holds the declared ports. The position is the port index, the n of
	// HAPROXY_{n}_* labels; a port that no fleet serves is there all the same.
	Ports []Port
	// Deployment is set when the app is routed together with others.
	Deployment *Deployment `json:",omitempty"`
	// Stopped is set when the source wants no task of the app: "instances": 0 in Marathon.
	Stopped bool `json:",omitempty"`
	// Scaling is set if Relay may change the number of instances, and Orchestration what the source
	// says of those then. Orchestration is also set where nobody may, if a task has failed.
	Scaling       *Scaling       `json:",omitempty"`
	Orchestration *Orchestration `json:",omitempty"`
	// Wanted is how many instances there shall be, of an app that is routed alone and has a port whose
	// requests are hashed. 0 if that is not known.
	Wanted int `json:",omitempty"`
	// Maintenance answers all requests with a page that says so.
	Maintenance bool `json:",omitempty"`
	// Owner is who is told when the app fails; it may be empty.
	Owner string `json:",omitempty"`
	// Gated has Envoys ask Relay before each request, as the app sleeps, or is about to. It is no
	// matter of the source: scaling sets it.
	Gated bool `json:"-"`
	// Problems lists what was ignored in the definition, and why.
	Problems []problem.Problem
	// Notes say what is not obvious about tasks, ordered by Task. They are no problems.
	Notes []Note `json:",omitempty"`
	// Labels are those of the definition, for people to read. Files have fields in their place.
	// They are not saved.
	Labels Labels `json:"-"`
	// Unrouted are domains that the definition names and that no port has: the first
	// MaxUnrouted.
	Unrouted []Unrouted `json:",omitempty"`
}

// Unrouted is a domain that an app names in vain. Whoever looks for it finds the app.
type Unrouted struct {
	// Domain is as hostname.Domain writes it, or if it is none, as it was written.
	Domain string
	// Reason says what names it, and why it is not routed.
	Reason string
	// Meant is set if the definition says that it is not to be routed.
	Meant bool `json:",omitempty"`
}

// Note is something to know about a task, which serves or not.
type Note struct {
	Task string
	// Text goes on after the task's id, such as "is judged by its own version".
	Text string
}

// Port is one declared port of an App.
type Port struct {
	// Name is the declared port name; it may be empty.
	Name string
	// Groups is the value of HAPROXY_GROUP: marathon-lb says group where Relay says
	// fleet. The fleets with these names route the port.
	Groups []string
	// Domains are the normalised domains served by this port (HAPROXY_n_VHOST):
	// see hostname.Domain. A domain may start with "*.".
	Domains []string
	// ACMEDomains are the domains whose /.well-known/acme-challenge/ path goes
	// to marathon-acme on plain HTTP (MARATHON_ACME_n_DOMAIN). When it is not
	// empty the same holds for Domains.
	ACMEDomains []string
	// RedirectToHTTPS answers plain HTTP requests with 301 to https.
	RedirectToHTTPS bool
	// HTTP and Upstream hold what is special about the port; nil is the default
	// of everything.
	HTTP     *HTTP     `json:",omitempty"`
	Upstream *Upstream `json:",omitempty"`
	// TCP is set when the port is no HTTP service. Domains are not routed then.
	TCP *TCP `json:",omitempty"`
	// Queue, when set, has requests wait while all instances are busy.
	Queue *Queue `json:",omitempty"`
	// Wake says how connections are held while the app sleeps, if the port is a TCP service.
	Wake WakeTCP `json:",omitempty"`
	// UsedBy are the apps that may use the port by naming it, beside those in the same top-level folder: ids,
	// folders as "/shop/*", or "*".
	UsedBy []string `json:",omitempty"`
	// Probe says how the port is asked from outside, as probelabel.Parse reads it; it may be empty.
	Probe string `json:",omitempty"`
	// Endpoints are the addresses in rotation (or draining), ordered by Task.
	Endpoints []Endpoint
	// Excluded are tasks that are not in rotation, and why, ordered by Task.
	Excluded []Excluded
}

// Hashed reports whether it is chosen by a hash which instance of the port is asked.
func (p *Port) Hashed() bool {
	return p.HTTP != nil && p.HTTP.Hash != nil || p.TCP != nil && p.TCP.Redis != nil
}

// Health says how an endpoint may be used.
type Health uint8

const (
	// Healthy endpoints take requests.
	Healthy Health = iota
	// Degraded endpoints take requests only when too few healthy ones remain.
	Degraded
	// Draining endpoints keep what they have and take nothing new. Where requests are routed, they
	// take some if no other is left; a TCP service has its clients try again.
	Draining
)

// String returns the name in lower case, as the admin JSON shows it.
func (h Health) String() string {
	switch h {
	case Healthy:
		return "healthy"
	case Degraded:
		return "degraded"
	case Draining:
		return "draining"
	}
	return "unknown"
}

// MarshalText makes Health readable in JSON.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Health) UnmarshalText(text []byte) error {
	for _, known := range []Health{Healthy, Degraded, Draining} {
		if known.String() == string(text) {
			*h = known
			return nil
		}
	}
	return fmt.Errorf("no health is called %.20q", text)
}

// Endpoint is one address of a Port.
type Endpoint struct {
	Address netip.AddrPort
	Health  Health
	// Task is the id of the task behind the address, for people to read.
	Task string
	// Region and Zone are the locality of the agent; both may be empty.
	Region, Zone string
	// Version is that of the definition by which the task was started, if the app has a newer one.
	Version string `json:",omitempty"`
	// Slot is the place of the instance among those of a port whose requests are hashed, from 1. An
	// instance that replaces another one gets its slot. 0 is none.
	Slot int `json:",omitempty"`
	// Shed is set while the endpoint has more connections than others. It is no matter of the source:
	// rebalancing sets it.
	Shed Shed `json:"-"`
}

// Shed says which connections to an endpoint are ended, so that their clients connect anew. The zero
// value ends none.
type Shed struct {
	// Percent is the share of them, chosen at random. While Before stays, a larger share has all of a
	// smaller one.
	Percent float64
	// Before are those that began earlier: seconds since 1970.
	Before int64
}

// Excluded is a task of a Port that gets no requests.
type Excluded struct {
	Task   string
	Reason string
}

// Sink takes what a source reads. Its methods may be called from one goroutine
// at a time per source; they return as soon as the change is noted, and never
// block on Envoy.
type Sink interface {
	// SyncApps replaces everything known by apps: the result of a complete,
	// successful read. An empty list is the truth, not a failure. The first
	// call tells that the source has synced.
	SyncApps(apps []*App)
	// UpdateApps sets the apps given and removes the ids given: the result of
	// re-reading single apps.
	UpdateApps(set []*App, removed []string)
}
