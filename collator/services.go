package collator

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"relay/sources"
	"relay/xds"
)

// IsTCP reports whether a port is no HTTP service, whatever the fleet.
func IsTCP(port sources.Port) bool { return port.TCP != nil && !port.TCP.Implicit }

// Service is an app port that is served by TCP, with all that its listener or
// filter chain depends on.
type Service struct {
	AppPort
	// Listen is the port that Envoy opens for it; 0 is none.
	Listen      uint16
	Address     netip.Addr
	AcceptProxy bool
	// Names are the server names by which clients of the https listener ask for
	// it.
	Names []string
	// Closed tells that it keeps its place, and nobody is let in.
	Closed          bool
	Networks        []netip.Prefix // that are let in; all when empty
	BySource        bool
	IdleTimeout     time.Duration
	ConnectAttempts uint32
}

// CompareServices orders services by app id, then by port.
func CompareServices(a, b Service) int { return a.Compare(b.AppPort) }

// ServicesOf returns what the fleet serves of an app by TCP, and what it does
// not.
func (f *Fleet) ServicesOf(id string, app *sources.App) (services []Service, problems []sources.Problem) {
	for i := range PortCount(app) {
		port := app.Ports[i]
		if port.TCP == nil || !f.Routes(id, app, i) || port.TCP.Implicit && f.TCP != TCPAll {
			continue
		}
		s, reasons := f.serviceOf(port)
		s.AppPort = AppPort{id, i}
		for _, reason := range reasons {
			problems = append(problems, sources.Problem{Subject: fmt.Sprintf("port %d", i), Reason: reason})
		}
		if s.Listen != 0 || len(s.Names) > 0 {
			services = append(services, s)
		}
	}
	return services, problems
}

func (f *Fleet) serviceOf(port sources.Port) (s Service, problems []string) {
	if f.TCP == TCPNone {
		return s, []string{"is a TCP service, of which the fleet opens none (tcp: off)"}
	}
	s = Service{
		Listen: port.TCP.Port, Address: port.TCP.Address, AcceptProxy: port.TCP.AcceptProxy,
		IdleTimeout: f.Options.StreamIdleTimeout, ConnectAttempts: f.Options.Retries + 1,
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
		s.Names = port.Domains
	}
	if h := port.HTTP; h != nil {
		s.Networks = h.AllowedNetworks
		s.BySource = h.Hash != nil && h.Hash.By == sources.HashSourceIP
		if h.IdleTimeout != nil {
			s.IdleTimeout = *h.IdleTimeout
		}
		if h.NumRetries != nil {
			s.ConnectAttempts = *h.NumRetries + 1
		}
	}
	if reason := f.closes(port); reason != "" {
		s.Closed = true
		problems = append(problems, "is not opened: "+reason)
	}
	return s, problems
}

// closes says which restriction cannot be kept by TCP.
func (f *Fleet) closes(port sources.Port) string {
	u := port.Upstream
	switch {
	case port.HTTP != nil && port.HTTP.Closed:
		return "it would be open to everyone otherwise"
	case port.HTTP != nil && port.HTTP.BasicAuth != nil:
		return "nobody can be asked for a password in tcp mode"
	case f.CannotVerify(port):
		return "its instances ask for TLS with verification, and the fleet has no authorities to verify them with (--upstream-ca)"
	case u != nil && u.TLS != nil && u.TLS.Verify && u.TLS.SNI == "":
		return "its instances ask for TLS with verification, and in tcp mode only RELAY_n_TLS_SNI tells which name to expect"
	}
	return ""
}

// reserved reports whether a port is not for apps.
func (f *Fleet) reserved(port uint16) bool {
	return port != 0 && (port == f.HTTP.Port() || port == f.HTTPS.Port() || port == f.HTTPSPublicPort || slices.Contains(f.ReservedPorts, port))
}

// ServiceIndex knows who wants each TCP port and, of the https listener, each
// server name. Each list is sorted: the first service counts.
type ServiceIndex struct {
	Ports map[uint16][]Service
	Names map[string][]Service
}

func NewServiceIndex() ServiceIndex {
	return ServiceIndex{Ports: make(map[uint16][]Service), Names: make(map[string][]Service)}
}

// fleetServices are the TCP services of a fleet, and what changed among them
// since their problems were reported.
type fleetServices struct {
	ServiceIndex
	changedPorts map[uint16]struct{}
	namesChanged bool
}

func newFleetServices() *fleetServices {
	return &fleetServices{ServiceIndex: NewServiceIndex(), changedPorts: make(map[uint16]struct{}), namesChanged: true}
}

// updateServices marks the listeners that an app changes.
func (f *fleetState) updateServices(id string, before, after *sources.App) {
	was, _ := f.ServicesOf(id, before)
	is, problems := f.ServicesOf(id, after)
	f.c.problems.set(owner{TCPProblem, f.Name, id}, problemsOf(id, problems)...)
	if reflect.DeepEqual(was, is) {
		return
	}
	for _, s := range was {
		f.services.Remove(s)
	}
	for _, s := range is {
		f.services.Add(s)
	}
	for _, s := range slices.Concat(was, is) {
		if s.Listen != 0 {
			f.mark(xds.Listener, TCPListener(s.Listen))
			f.services.changedPorts[s.Listen] = struct{}{}
		}
		if len(s.Names) > 0 {
			f.mark(xds.Listener, HTTPSListener)
			f.services.namesChanged = true
		}
		for _, name := range s.Names {
			f.doubt(name)
		}
	}
}

func (x ServiceIndex) Remove(s Service) {
	same := func(o Service) bool { return o.AppPort == s.AppPort }
	drop(x.Ports, s.Listen, same)
	for _, name := range s.Names {
		drop(x.Names, name, same)
	}
}

func drop[K comparable](index map[K][]Service, key K, which func(Service) bool) {
	index[key] = slices.DeleteFunc(slices.Clone(index[key]), which)
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

func (x ServiceIndex) Add(s Service) {
	if s.Listen != 0 {
		x.Ports[s.Listen] = slices.SortedFunc(slices.Values(append(x.Ports[s.Listen], s)), CompareServices)
	}
	for _, name := range s.Names {
		x.Names[name] = slices.SortedFunc(slices.Values(append(x.Names[name], s)), CompareServices)
	}
}

// WantingNames returns the services that want the TLS connections for some name.
func (x ServiceIndex) WantingNames() []Service {
	all := make(map[AppPort]Service)
	for _, wanting := range x.Names {
		for _, s := range wanting {
			all[s.AppPort] = s
		}
	}
	return slices.SortedFunc(maps.Values(all), CompareServices)
}

// Opened returns the service behind a listener.
func (x ServiceIndex) Opened(listener string) (Service, bool) {
	port, ok := TCPPort(listener)
	if !ok || len(x.Ports[port]) == 0 {
		return Service{}, false
	}
	s := x.Ports[port][0]
	return s, !s.Closed
}

// WithoutNames takes the names that are passed through from certificates.
func WithoutNames(chains []TLSChain, passed []Service) []TLSChain {
	taken := make(map[string]bool)
	for _, s := range passed {
		for _, name := range s.Names {
			taken[name] = true
		}
	}
	var left []TLSChain
	for _, chain := range chains {
		names := slices.DeleteFunc(slices.Clone(chain.ServerNames), func(name string) bool { return taken[name] })
		if len(names) == 0 && len(chain.ServerNames) > 0 {
			continue
		}
		chain.ServerNames = names
		left = append(left, chain)
	}
	return left
}

// reportServices says who does not get a port or server name, and which
// certificates are not used.
func (f *fleetState) reportServices() {
	x := f.services
	for port := range x.changedPorts {
		f.c.problems.set(owner{ClashProblem, f.Name, TCPListener(port)}, clashes(fmt.Sprintf("TCP port %d", port), x.Ports[port])...)
	}
	x.changedPorts = make(map[uint16]struct{})
	if !x.namesChanged {
		return
	}
	x.namesChanged = false
	f.reportHTTPS()
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(x.Names)) {
		problems = append(problems, f.nameClashes(name)...)
	}
	for _, chain := range f.chains {
		for _, name := range chain.ServerNames {
			if s, ok := f.passing(name); ok {
				problems = append(problems, Problem{App: s.App, Subject: name, Reason: fmt.Sprintf(
					"TLS is passed through to port %d: the certificate %s is not used for the name", s.Port, chain.Secret)})
			}
		}
	}
	f.c.problems.set(owner{TCPProblem, f.Name, "listener https"}, problems...)
}

// reportHTTPS says when the https listener has no certificate.
func (f *fleetState) reportHTTPS() {
	var problems []Problem
	if f.HasHTTPS() && f.certificatesKnown && len(f.chains) == 0 {
		reason := "the fleet does not listen on " + f.HTTPS.String()
		if len(f.passedThrough()) > 0 {
			reason = f.HTTPS.String() + " is only for names that are passed through"
		}
		problems = []Problem{{Subject: "listener https", Reason: "there is no certificate: " + reason}}
	}
	// An app id begins with a slash: the name is no app's.
	f.c.problems.set(owner{HTTPSProblem, f.Name, "listener https"}, problems...)
}

// nameClashes says who does not get the TLS connections for a name.
func (f *fleetState) nameClashes(name string) (problems []Problem) {
	subject, wanting, claims := "TLS for "+name, f.wantingTLS(name), f.domains.claims[name]
	if len(wanting) == 0 {
		return nil
	}
	if holder, held := HTTPHolder(claims, wanting[0]); held {
		for _, s := range wanting {
			problems = append(problems, Problem{App: s.App, Subject: subject, Reason: fmt.Sprintf("port %d does not get it: %s", s.Port, holdsName(holder))})
		}
		return problems
	}
	problems = clashes(subject, wanting)
	for _, c := range claims {
		if s := wanting[0]; c.Route && c.App != s.App && !s.Closed {
			problems = append(problems, Problem{App: c.App, Subject: subject, Reason: fmt.Sprintf(
				"port %d gets its requests by plain HTTP only: TLS is passed through to %s (the lowest app id wins)", c.Port, s)})
		}
	}
	return problems
}

// holdsName says why a name is not passed through.
func holdsName(c Claim) string {
	return fmt.Sprintf("%s has the domain in HTTP mode (the lowest app id wins)", c.AppPort)
}

func clashes(subject string, services []Service) (problems []Problem) {
	for i, s := range services {
		if i > 0 {
			problems = append(problems, Problem{App: s.App, Subject: subject, Reason: fmt.Sprintf(
				"port %d does not get it: %s has it (the lowest app id wins, then the lowest port)", s.Port, services[0])})
		}
	}
	return problems
}

// HTTPHolder returns the claim by which another app keeps its domain from being
// passed through.
func HTTPHolder(claims []Claim, s Service) (Claim, bool) {
	i := slices.IndexFunc(claims, func(c Claim) bool { return c.Route })
	if i < 0 || claims[i].App >= s.App {
		return Claim{}, false
	}
	return claims[i], true
}
