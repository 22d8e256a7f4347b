// Package routing says what a fleet of Envoys does with the apps: which app port gets
// the requests of a domain, the connections to a TCP port, or the TLS of a server
// name, and which certificate answers for which name. It knows no message of Envoy, and
// keeps nothing: all of it is a function of apps, certificates and the options of a
// fleet.
package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"relay/certs"
	"relay/internal/failure"
	"relay/internal/ignored"
	"relay/sources"
)

// Fleet is the Envoys that all get the same resources.
type Fleet struct {
	// Name is what apps have in their label HAPROXY_GROUP, and the Envoys in
	// node.cluster.
	Name string
	// HTTP is what the http listener binds, and HTTPS the https listener; the
	// zero value of HTTPS means that the fleet has none.
	HTTP, HTTPS netip.AddrPort
	// HTTPSPublicPort is the port by which clients reach the fleet by HTTPS; 443 when 0. A
	// fleet without an https listener may have it too: if a trusted proxy ends the TLS.
	HTTPSPublicPort uint16
	// Proxies are those between clients and the Envoys.
	Proxies Proxies
	// Health is where Envoys tell a balancer whether they want requests; the zero value means
	// nowhere.
	Health netip.AddrPort
	// TLS is how the https listener meets clients.
	TLS DownstreamTLS
	// ACMEApp is the id of the app whose port 0 answers ACME challenges. A Collator sets
	// it to that of its Config.
	ACMEApp string
	// ClustersOnDemand lets each Envoy load a cluster when the first request
	// needs it: for very many apps, most of them idle. Its bootstrap must not
	// subscribe to clusters.
	ClustersOnDemand bool
	// ServerNames are those whose certificates the Envoys get, so that no Envoy has the
	// private keys of another fleet. Each is a domain, or a wildcard for all names below,
	// as hostname.Domain writes it. If it is empty they get all certificates.
	ServerNames []string
	// CertificatesOnDemand lets each Envoy load a certificate when the first client asks
	// for it: for thousands of certificates. Envoys that cannot do that get a filter chain
	// for each certificate.
	CertificatesOnDemand bool
	// UpstreamCA has the authorities, in PEM, by which the certificates of apps are verified.
	// Only apps that take TLS, and ask for this, are verified.
	UpstreamCA []byte
	// ExternalCA has the authorities, in PEM, by which hosts outside are verified that Envoys ask. UpstreamCA does not
	// count: any app may name a host, and would have Envoys ask those inside.
	ExternalCA []byte
	// ExternalHosts are those that Envoys may ask by plain HTTP, or by an IP address, for an app: "keys.internal:8080".
	// Other hosts they ask by HTTPS and by their name only.
	ExternalHosts []string
	// TCP says which TCP services are opened.
	TCP TCPServices
	// Scaling has the Envoys ask Relay before requests to apps that sleep, and to those whose
	// requests queue. It is in the listeners: they change with it.
	Scaling bool
	// ExtendedConnect has the Envoys take WebSockets by HTTP/2, so that a browser needs no
	// connection for each. It is in the listeners: they change with it.
	ExtendedConnect bool
	// AccessLog says where the Envoys write a line for each request.
	AccessLog AccessLog
	// RateLimitService is HOST:PORT of the service that counts requests for all Envoys; empty for none.
	RateLimitService string
	// Redis opens the ports of apps that speak Redis. A client that is let in can crash an Envoy of today by odd
	// commands.
	Redis bool
	// Faults allows apps to ask that some of their requests are slow, or fail.
	Faults bool
	// IgnoredClients do not count as use of an app that may sleep.
	IgnoredClients ignored.Clients
	// ErrorPages are shown in place of Envoy's plain ones. They are in the listeners: these change
	// with them.
	ErrorPages failure.Pages
	// ReservedPorts are not given to TCP services. Those of HTTP and HTTPS need not be
	// among them.
	ReservedPorts []uint16
	Options       Options
}

// TCPServices says which ports of apps a fleet opens as TCP services.
type TCPServices string

// The choices; the zero value is TCPLabelled.
const (
	// TCPLabelled opens those that ask for it.
	TCPLabelled TCPServices = "labels"
	// TCPAll opens the service ports of all ports that are not HTTP too.
	TCPAll TCPServices = "all"
	// TCPNone opens none.
	TCPNone TCPServices = "off"
)

// Options tune what Envoy does with connections and requests. Start from
// DefaultOptions: zero is a value of its own.
type Options struct {
	// StreamIdleTimeout ends requests and WebSockets on which nothing moved for
	// that long; 0 never does.
	StreamIdleTimeout time.Duration
	// ClientIdleTimeout closes connections of clients on which there is no request; 0
	// never does.
	ClientIdleTimeout time.Duration
	// RequestHeadersTimeout is how long a client may take to send the head of a
	// request; 0 is without limit.
	RequestHeadersTimeout time.Duration
	// ConnectTimeout is how long connecting to an endpoint may take.
	ConnectTimeout time.Duration
	// UpstreamIdleTimeout closes unused connections to endpoints; 0 never does.
	UpstreamIdleTimeout time.Duration
	// Retries is how often a request that cannot have reached the app is sent to
	// another endpoint.
	Retries uint32
}

// DefaultOptions returns what suits most fleets.
func DefaultOptions() Options {
	return Options{
		StreamIdleTimeout: time.Hour,
		// Longer than browsers keep connections, and than balancers before Envoy do: who
		// closes last loses no request.
		ClientIdleTimeout:     15 * time.Minute,
		RequestHeadersTimeout: 15 * time.Second,
		ConnectTimeout:        3 * time.Second,
		// Below the keep-alive of common app servers (Node.js and many others
		// close after 5 s), so that Envoy never sends a request on a connection
		// which the app is closing.
		UpstreamIdleTimeout: 4 * time.Second,
		Retries:             2,
	}
}

// HasHTTPS reports whether the fleet has an https listener.
func (f *Fleet) HasHTTPS() bool { return f.HTTPS.IsValid() }

// Check returns what makes the fleet unusable.
func (f *Fleet) Check() error {
	switch o := f.Options; {
	case f.Name == "":
		return errors.New("has no name: give it the name that apps have in HAPROXY_GROUP")
	case !f.HTTP.IsValid():
		return errors.New("has no address for http: give one, such as http: 0.0.0.0:80")
	case o.ConnectTimeout <= 0:
		return fmt.Errorf("connect timeout is %s: it must be positive", o.ConnectTimeout)
	case !slices.Contains([]TCPServices{"", TCPLabelled, TCPAll, TCPNone}, f.TCP):
		return fmt.Errorf("opens %q TCP services: use labels, all or off", f.TCP)
	case min(o.StreamIdleTimeout, o.ClientIdleTimeout, o.RequestHeadersTimeout, o.UpstreamIdleTimeout) < 0:
		return errors.New("has a negative timeout")
	}
	if len(f.UpstreamCA) > 0 {
		if _, err := certs.ParseAuthorities(f.UpstreamCA); err != nil {
			return fmt.Errorf("has authorities for connections to apps that Envoy cannot use: %w", err)
		}
	}
	if len(f.ExternalCA) > 0 {
		if _, err := certs.ParseAuthorities(f.ExternalCA); err != nil {
			return fmt.Errorf("has authorities of hosts outside that Envoy cannot use: %w", err)
		}
	}
	return errors.Join(f.CheckAddresses(), f.checkTLS(), f.Proxies.Check(), f.checkExternal(), f.checkRateLimits())
}

// Routes reports whether the fleet has a cluster for an app port. app is nil if there is
// no app with the id. The cluster of the ACME app is always there, so that no scope
// depends on whether the app runs.
func (f *Fleet) Routes(id string, app *sources.App, port int) bool {
	if id == f.ACMEApp && port == 0 {
		return true
	}
	return app != nil && port >= 0 && port < len(app.Ports) && slices.Contains(app.Ports[port].Groups, f.Name)
}

// HasCluster reports whether the Envoys of the fleet have the cluster of an app port now: a port
// that it routes. An app that sleeps has none, so that Envoys keep nothing of it but its scopes.
// It has one while its instances end, and as soon as one has started. Listeners name the clusters
// of TCP services, so these stay.
func (f *Fleet) HasCluster(id string, app *sources.App, port int) bool {
	if !f.Routes(id, app, port) {
		return false
	}
	acme := id == f.ACMEApp && port == 0
	return acme || !f.gates(app) || len(app.Ports[port].Endpoints) > 0 || IsTCP(app.Ports[port])
}

// gates reports whether requests to an app wait until Relay lets them through.
func (f *Fleet) gates(app *sources.App) bool { return f.Scaling && app.Gated }

// Queues reports whether Envoys ask Relay which instance takes a request to a port. Sessions that
// stay with an instance, and balancing by a hash, choose without Relay.
func (f *Fleet) Queues(port sources.Port) bool {
	h := port.HTTP
	return f.Scaling && port.Queue != nil && !IsTCP(port) && (h == nil || !h.KeepsClients() && h.Hash == nil)
}

// HoldsConnections reports whether connections to a port of an app may have to wait, and whether they
// do now.
func (f *Fleet) HoldsConnections(id string, app *sources.App, port int) (may, now bool) {
	// The cluster of the ACME app is routed though there may be no such app, or port.
	may = f.Scaling && port < PortCount(app) && f.Routes(id, app, port) && app.Ports[port].TCP != nil && app.Ports[port].Wake != sources.WakeTCPNever
	return may, may && f.gates(app)
}

// PacesConnections reports whether Relay is asked before a connection to a port of an app goes on.
func (f *Fleet) PacesConnections(id string, app *sources.App, port int) bool {
	return port < PortCount(app) && f.Routes(id, app, port) && paced(app.Ports[port])
}

// PortCount is the number of ports of an app, which may be nil.
func PortCount(app *sources.App) int {
	if app == nil {
		return 0
	}
	return len(app.Ports)
}
