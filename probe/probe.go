// Package probe asks through the edge as users and devices would: through each Envoy, for the domains
// and services that are chosen. It knows nothing of Marathon or Envoy: targets come from what a Relay says of
// its fleets (probe/discover), results go to metrics, to the API and to the history.
package probe

import (
	"context"
	"time"
)

// Kind says how a target is asked.
type Kind string

// The kinds. All but the last two are those of Prometheus' blackbox_exporter.
const (
	HTTP Kind = "http"
	TCP  Kind = "tcp"
	GRPC Kind = "grpc"
	DNS  Kind = "dns"
	// WebSocket opens one, and expects to get back what it sends.
	WebSocket Kind = "websocket"
	// Device is a virtual device: it connects as one, talks to its agent, and is talked to.
	Device Kind = "device"
)

// UserAgent is how probes say who they are, with a version behind it. Requests with it wake no app that sleeps and keep
// none awake.
const UserAgent = "Relay-Probe"

// Agent is the header User-Agent of probes.
const Agent = UserAgent + "/1"

// Header is in each request of a probe. Its value is the name of the place that asks.
const Header = "X-Relay-Probe"

// Target is one thing that is asked through one Envoy.
type Target struct {
	// ID names the target, and stays the same while it is asked for: FLEET/ENVOY/NAME.
	ID string
	// Name is that of the domain, of the service (its app and port) or of a device in the settings.
	Name string
	Kind Kind
	// Fleet and Envoy say through which Envoy (node.cluster and node.id).
	Fleet, Envoy string
	// Address is where to connect, HOST:PORT. It is apart from the server name and the host that are asked for.
	Address string
	// HTTPSAddress is where the Envoy takes HTTPS, for devices, whose Address is that of a TCP service. If it is empty, or the
	// URL that is asked for has a port, it is the host of Address and the port of the URL. HTTPSProxyProtocol tells that the
	// Envoy expects the header of the PROXY protocol there.
	HTTPSAddress       string
	HTTPSProxyProtocol bool
	// TLS tells to connect by TLS; ServerName is what is asked for and expected in the certificate.
	TLS        bool
	ServerName string
	// ProxyProtocol tells that the Envoy expects a header of the PROXY protocol first.
	ProxyProtocol bool
	// Domain is the host that is asked for. App, Port and Owner say whose it is; they may be empty.
	Domain string
	App    string
	Port   int
	Owner  string
	// Sampled tells that the target was chosen by chance, and will be replaced by another one.
	Sampled bool
	// Skip, unless it is empty, says why nothing is asked now.
	Skip string
	// Ask is what to ask, and what to expect.
	Ask Ask
}

// Ask is what to ask of a target, and what to expect. The zero value asks for / by HTTP and takes any answer
// that an app gave, whatever its status: it was reached.
type Ask struct {
	// Method and Path are those of HTTP and WebSockets; GET and / if empty. Path of a gRPC target is the name of its service.
	Method, Path string
	// Status are those that are expected; StatusClass, from 1 to 5, expects all of a class.
	Status      []int
	StatusClass int
	// Contains is a text that the answer has to have.
	Contains string
	// Within is how long the whole may take; the settings say how long if it is 0.
	Within time.Duration
	// Module names a module of the settings, which says all of this.
	Module string
}

// Step is a part of a probe. Those that follow a failed step are not made.
type Step struct {
	// Name is a word such as "connect", "tls", "device to agent".
	Name     string
	Duration time.Duration
	// Limit is how long it may take; 0 if only the whole is limited.
	Limit time.Duration
	OK    bool
	// Seen says what was seen of a step that failed, for people: a status, a code of x-relay-error, a certificate.
	Seen string
}

// Result is what a probe found.
type Result struct {
	Target   Target
	Time     time.Time // at which it began
	Duration time.Duration
	OK       bool
	// Answered tells that the Envoy did its part, whether or not the rest did: it is not down. OK says so too, but of a
	// connection by TCP on which nothing was said.
	Answered bool
	// Late tells of one that failed that only its time was too long: all else was as expected.
	Late bool
	// Skipped says why nothing was asked, such as "the app sleeps"; then the rest says nothing.
	Skipped string
	Steps   []Step
	// Phases are the seconds of an HTTP request, by the names that blackbox_exporter gives them: resolve, connect,
	// tls, processing, transfer.
	Phases map[string]float64
	// Status is that of the answer, Code that of x-relay-error, RequestID that of x-request-id.
	Status    int
	Code      string
	RequestID string
	// CertificateExpires is when the first certificate of the chain expires.
	CertificateExpires time.Time
	// Reason says what was wrong, for people.
	Reason string
}

// Prober asks one target. It ends when the context does.
type Prober interface {
	Probe(ctx context.Context, t Target) Result
}
