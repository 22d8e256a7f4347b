package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
)

// IsTCP reports whether a port is no HTTP service, whatever the fleet.
func IsTCP(port sources.Port) bool { return port.TCP != nil && !port.TCP.Implicit }

// Service is an app port that is served by TCP, with all that its listener or filter
// chain depends on.
type Service struct {
	AppPort
	// Listen is the port that Envoy opens for it; 0 is none.
	Listen uint16
	// Address is what the port is opened on; that of the http listener if it is not
	// valid.
	Address netip.Addr
	// AcceptProxy is set if connections begin with a header of the PROXY protocol.
	AcceptProxy bool
	// TLS, if set, has Envoy end the TLS of connections to Listen. ServerNames are those for which
	// clients are shown a certificate of its own, sorted.
	TLS         *sources.ServiceTLS
	ServerNames []string
	// Names are the server names whose TLS the https listener passes through.
	Names []string
	// Closed is set if nobody is let in. The service keeps its port and names all the
	// same: no other service gets them.
	Closed bool
	// Networks are those whose clients are let in; all when empty.
	Networks []netip.Prefix
	// BySource has the instance picked by the client's address.
	BySource    bool
	IdleTimeout time.Duration
	// Retries is how often a connection that failed is tried on another instance.
	Retries uint32
	// Wake says how connections wait while the app sleeps. It is not said here whether it does, so
	// that nothing of a listener changes when it falls asleep or wakes.
	Wake sources.WakeTCP
	// Paced has Relay asked before a connection goes on. The rates are not said here, so that nothing of
	// a listener changes with them.
	Paced bool
	// Holds has connections wait while there is no instance. How long is not said here, and neither
	// whether there is one, so that nothing of a listener changes with that.
	Holds bool
	// MaxConnectionAge ends connections that are so old; 0 none.
	MaxConnectionAge time.Duration
	// OneByOne is set if connections are let in one after the other, so that each is given to the
	// instance that has the fewest by then. It is for services that say something of connections that
	// stay: the listeners of others are what they were before there was that.
	OneByOne bool
	// Redis, when set, has Envoys answer clients of Redis.
	Redis *sources.Redis
	// Rebalances is set if connections may be ended to even them out. How many is said with each
	// endpoint, so that nothing of a listener changes then.
	Rebalances bool
}

// CompareServices orders services by app id, then by port.
func CompareServices(a, b Service) int { return a.Compare(b.AppPort) }

// ServicesOf returns what the fleet serves of an app by TCP. The problems say what the app
// asks for and does not get. The app may be nil.
func (f *Fleet) ServicesOf(id string, app *sources.App) (services []Service, problems []problem.Problem) {
	for i := range PortCount(app) {
		port := app.Ports[i]
		if port.TCP == nil || !f.Routes(id, app, i) || port.TCP.Implicit && f.TCP != TCPAll {
			continue
		}
		s, reasons := f.serviceOf(port)
		s.AppPort = AppPort{id, i}
		for _, reason := range reasons {
			problems = append(problems, problem.Problem{Subject: fmt.Sprintf("port %d", i), Reason: reason})
		}
		if s.Listen != 0 || len(s.Names) > 0 {
			services = append(services, s)
		}
	}
	return services, problems
}

// serviceOf returns the service of a port, and why the port gets less than it asks for.
func (f *Fleet) serviceOf(port sources.Port) (s Service, problems []string) {
	if f.TCP == TCPNone {
		return s, []string{"is a TCP service, of which the fleet opens none (tcp: off)"}
	}
	s = Service{
		Listen: port.TCP.Port, Address: port.TCP.Address, AcceptProxy: port.TCP.AcceptProxy,
		IdleTimeout: f.Options.StreamIdleTimeout, Retries: f.Options.Retries,
		MaxConnectionAge: port.TCP.MaxConnectionAge, Rebalances: port.TCP.Rebalance > 0, OneByOne: lasting(port.TCP), Paced: paced(port), Holds: port.TCP.Hold > 0 && port.TCP.Redis == nil,
		Redis: port.TCP.Redis,
	}
	if f.Scaling {
		s.Wake = port.Wake
	}
	if f.reserved(s.Listen) {
		problems = append(problems, fmt.Sprintf("asks for TCP port %d, which belongs to Envoy or Relay: it is not opened, choose another by HAPROXY_n_PORT (in a YAML file: servicePort)", s.Listen))
		s.Listen = 0
	}
	switch {
	case !port.TCP.Passthrough:
	case !f.HasHTTPS():
		problems = append(problems, "asks for TLS to be passed through, but the fleet has no https listener")
	default:
		s.Names = withoutAddresses(port.Domains)
	}
	if port.TCP.ServiceTLS != nil {
		s.TLS, s.ServerNames = port.TCP.ServiceTLS, withoutAddresses(port.Domains)
	}
	if h := port.HTTP; h != nil {
		s.Networks = h.AllowedNetworks
		s.BySource = h.Hash != nil && h.Hash.By == sources.HashSourceIP
		if h.IdleTimeout != nil {
			s.IdleTimeout = *h.IdleTimeout
		}
		if h.NumRetries != nil {
			s.Retries = *h.NumRetries
		}
	}
	if reason := f.closes(port); reason != "" {
		s.Closed = true
		problems = append(problems, "is not opened: "+reason)
	}
	return s, problems
}

// withoutAddresses leaves out what no client asks for by TLS.
func withoutAddresses(domains []string) []string {
	if !slices.ContainsFunc(domains, hostname.IsAddress) {
		return domains
	}
	return slices.DeleteFunc(slices.Clone(domains), hostname.IsAddress)
}

// lasting reports whether an app says of connections that they stay for long.
func lasting(tcp *sources.TCP) bool {
	return tcp.ServiceTLS != nil || tcp.MaxConnectionAge > 0 || tcp.Rebalance > 0 || tcp.AcceptRate > 0 || tcp.AddressRate > 0
}

// paced reports whether there is a limit of how often connections to a port begin.
func paced(port sources.Port) bool {
	return port.TCP != nil && (port.TCP.AcceptRate > 0 || port.TCP.AddressRate > 0)
}

// closes says which restriction of a port cannot be kept by TCP; empty if there is none.
func (f *Fleet) closes(port sources.Port) string {
	u := port.Upstream
	switch {
	case port.TCP.Redis != nil && !f.Redis:
		return "it speaks Redis, which the fleet lets no app do (--redis; docs/caches.md says what that means)"
	case port.TCP.Redis != nil && f.ClustersOnDemand:
		return "it speaks Redis, and Envoys load the clusters of the fleet on demand, which they cannot for Redis (clusters: on-demand)"
	case port.HTTP != nil && port.HTTP.Closed:
		return "it would be open to everyone otherwise"
	case port.HTTP != nil && port.HTTP.BasicAuth != nil:
		return "nobody can be asked for a password in tcp mode"
	case port.HTTP != nil && port.HTTP.SignOn != nil:
		return "nobody can sign on in tcp mode"
	case f.CannotVerify(port):
		return "its instances ask for TLS with verification, and the fleet has no authorities to verify them with (--upstream-ca)"
	case u != nil && u.TLS != nil && u.TLS.Verify && u.TLS.SNI == "":
		return "its instances ask for TLS with verification, and in tcp mode only RELAY_n_TLS_SNI tells which name to expect"
	}
	return ""
}

// reserved reports whether a port is not for apps.
func (f *Fleet) reserved(port uint16) bool {
	return port != 0 && (port == f.HTTP.Port() || port == f.HTTPS.Port() || port == f.HTTPSPublicPort || port == f.Health.Port() || slices.Contains(f.ReservedPorts, port))
}
