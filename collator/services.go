package collator

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/sources"
	"relay/xds"
)

// tcpPrefix begins the names of the listeners of TCP services.
const tcpPrefix = "tcp/"

func tcpListener(port uint16) string { return tcpPrefix + strconv.Itoa(int(port)) }

// isTCP reports whether a port is no HTTP service, whatever the fleet.
func isTCP(port sources.Port) bool { return port.TCP != nil && !port.TCP.Implicit }

// service is an app port that is served by TCP, with all that its listener or
// filter chain depends on.
type service struct {
	app  string
	port int
	// listen is the port that Envoy opens for it; 0 is none.
	listen      uint16
	address     netip.Addr
	acceptProxy bool
	// names are the server names by which clients of the https listener ask for
	// it.
	names []string
	// closed tells that it keeps its place, and nobody is let in.
	closed          bool
	networks        []netip.Prefix // that are let in; all when empty
	bySource        bool
	idleTimeout     time.Duration
	connectAttempts uint32
}

func (s service) String() string { return fmt.Sprintf("port %d of %s", s.port, s.app) }

func compareServices(a, b service) int {
	return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.port, b.port))
}

// servicesOf returns what the fleet serves of an app by TCP, and what it does
// not.
func (f *fleetState) servicesOf(id string, app *sources.App) (services []service, problems []Problem) {
	for i := range portCount(app) {
		port := app.Ports[i]
		if port.TCP == nil || !f.routes(id, app, i) || port.TCP.Implicit && f.TCP != TCPAll {
			continue
		}
		s, reasons := f.serviceOf(port)
		s.app, s.port = id, i
		for _, reason := range reasons {
			problems = append(problems, Problem{App: id, Subject: fmt.Sprintf("port %d", i), Reason: reason})
		}
		if s.listen != 0 || len(s.names) > 0 {
			services = append(services, s)
		}
	}
	return services, problems
}

func (f *fleetState) serviceOf(port sources.Port) (s service, problems []string) {
	if f.TCP == TCPNone {
		return s, []string{"is a TCP service, of which the fleet opens none (tcp: off)"}
	}
	s = service{
		listen: port.TCP.Port, address: port.TCP.Address, acceptProxy: port.TCP.AcceptProxy,
		idleTimeout: f.Options.StreamIdleTimeout, connectAttempts: f.Options.Retries + 1,
	}
	if f.reserved(s.listen) {
		problems = append(problems, fmt.Sprintf("asks for TCP port %d, which belongs to Envoy or Relay: it is not opened, choose another by HAPROXY_n_PORT (in a YAML file: servicePort)", s.listen))
		s.listen = 0
	}
	switch {
	case !port.TCP.Passthrough:
	case !f.hasHTTPS():
		problems = append(problems, "asks for TLS to be passed through, but the fleet has no https listener")
	default:
		s.names = port.Domains
	}
	if h := port.HTTP; h != nil {
		s.networks = h.AllowedNetworks
		s.bySource = h.Hash != nil && h.Hash.By == sources.HashSourceIP
		if h.IdleTimeout != nil {
			s.idleTimeout = *h.IdleTimeout
		}
		if h.NumRetries != nil {
			s.connectAttempts = *h.NumRetries + 1
		}
	}
	if reason := f.closes(port); reason != "" {
		s.closed = true
		problems = append(problems, "is not opened: "+reason)
	}
	return s, problems
}

// closes says which restriction cannot be kept by TCP.
func (f *fleetState) closes(port sources.Port) string {
	u := port.Upstream
	switch {
	case port.HTTP != nil && port.HTTP.Closed:
		return "it would be open to everyone otherwise"
	case port.HTTP != nil && port.HTTP.BasicAuth != nil:
		return "nobody can be asked for a password in tcp mode"
	case f.cannotVerify(port):
		return "its instances ask for TLS with verification, and the fleet has no authorities to verify them with (--upstream-ca)"
	case u != nil && u.TLS != nil && u.TLS.Verify && u.TLS.SNI == "":
		return "its instances ask for TLS with verification, and in tcp mode only RELAY_n_TLS_SNI tells which name to expect"
	}
	return ""
}

// reserved reports whether a port is not for apps.
func (f *fleetState) reserved(port uint16) bool {
	return port != 0 && (port == f.HTTP.Port() || port == f.HTTPS.Port() || port == f.HTTPSPublicPort || slices.Contains(f.ReservedPorts, port))
}

// serviceIndex knows who wants each TCP port and, of the https listener, each
// server name.
type serviceIndex struct {
	ports map[uint16][]service // sorted
	names map[string][]service
	// claimed are the ports whose services changed, for problems to be found;
	// named tells that those of names did.
	claimed map[uint16]struct{}
	named   bool
}

func newServiceIndex() *serviceIndex {
	return &serviceIndex{
		ports: make(map[uint16][]service), names: make(map[string][]service), claimed: make(map[uint16]struct{}), named: true,
	}
}

// updateServices marks the listeners that an app changes.
func (f *fleetState) updateServices(id string, before, after *sources.App) {
	was, _ := f.servicesOf(id, before)
	is, problems := f.servicesOf(id, after)
	f.c.problems.set(owner{TCPProblem, f.Name, id}, problems...)
	if reflect.DeepEqual(was, is) {
		return
	}
	for _, s := range was {
		f.services.remove(s)
	}
	for _, s := range is {
		f.services.add(s)
	}
	for _, s := range slices.Concat(was, is) {
		if s.listen != 0 {
			f.mark(xds.Listener, tcpListener(s.listen))
			f.services.claimed[s.listen] = struct{}{}
		}
		if len(s.names) > 0 {
			f.mark(xds.Listener, httpsListener)
			f.services.named = true
		}
		for _, name := range s.names {
			f.doubt(name)
		}
	}
}

func (x *serviceIndex) remove(s service) {
	same := func(o service) bool { return compareServices(o, s) == 0 }
	drop(x.ports, s.listen, same)
	for _, name := range s.names {
		drop(x.names, name, same)
	}
}

func drop[K comparable](index map[K][]service, key K, which func(service) bool) {
	index[key] = slices.DeleteFunc(slices.Clone(index[key]), which)
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

func (x *serviceIndex) add(s service) {
	if s.listen != 0 {
		x.ports[s.listen] = slices.SortedFunc(slices.Values(append(x.ports[s.listen], s)), compareServices)
	}
	for _, name := range s.names {
		x.names[name] = slices.SortedFunc(slices.Values(append(x.names[name], s)), compareServices)
	}
}

// wantingAny returns the services that want the TLS connections for some name.
func (x *serviceIndex) wantingAny() []service {
	all := make(map[part]service)
	for _, wanting := range x.names {
		for _, s := range wanting {
			all[part{app: s.app, port: s.port}] = s
		}
	}
	return slices.SortedFunc(maps.Values(all), compareServices)
}

// opened returns the service behind a listener.
func (x *serviceIndex) opened(listener string) (service, bool) {
	port, _ := strings.CutPrefix(listener, tcpPrefix)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(x.ports[uint16(n)]) == 0 {
		return service{}, false
	}
	s := x.ports[uint16(n)][0]
	return s, !s.closed
}

// withoutNames takes the names that are passed through from certificates.
func withoutNames(chains []tlsChain, passed []service) []tlsChain {
	taken := make(map[string]bool)
	for _, s := range passed {
		for _, name := range s.names {
			taken[name] = true
		}
	}
	var left []tlsChain
	for _, chain := range chains {
		names := slices.DeleteFunc(slices.Clone(chain.serverNames), func(name string) bool { return taken[name] })
		if len(names) == 0 && len(chain.serverNames) > 0 {
			continue
		}
		chain.serverNames = names
		left = append(left, chain)
	}
	return left
}

// reportServices says who does not get a port or server name, and which
// certificates are not used.
func (f *fleetState) reportServices() {
	x := f.services
	for port := range x.claimed {
		f.c.problems.set(owner{ClashProblem, f.Name, tcpListener(port)}, clashes(fmt.Sprintf("TCP port %d", port), x.ports[port])...)
	}
	x.claimed = make(map[uint16]struct{})
	if !x.named {
		return
	}
	x.named = false
	f.reportHTTPS()
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(x.names)) {
		problems = append(problems, f.nameClashes(name)...)
	}
	for _, chain := range f.chains {
		for _, name := range chain.serverNames {
			if s, ok := f.passing(name); ok {
				problems = append(problems, Problem{App: s.app, Subject: name, Reason: fmt.Sprintf(
					"TLS is passed through to port %d: the certificate %s is not used for the name", s.port, chain.secret)})
			}
		}
	}
	f.c.problems.set(owner{TCPProblem, f.Name, "listener https"}, problems...)
}

// reportHTTPS says when the https listener has no certificate.
func (f *fleetState) reportHTTPS() {
	var problems []Problem
	if f.hasHTTPS() && f.certificatesKnown && len(f.chains) == 0 {
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
	if holder, held := holderBefore(claims, wanting[0]); held {
		for _, s := range wanting {
			problems = append(problems, Problem{App: s.app, Subject: subject, Reason: fmt.Sprintf("port %d does not get it: %s", s.port, holdsName(holder))})
		}
		return problems
	}
	problems = clashes(subject, wanting)
	for _, c := range claims {
		if s := wanting[0]; c.route && c.app != s.app && !s.closed {
			problems = append(problems, Problem{App: c.app, Subject: subject, Reason: fmt.Sprintf(
				"port %d gets its requests by plain HTTP only: TLS is passed through to %s (the lowest app id wins)", c.port, s)})
		}
	}
	return problems
}

// holdsName says why a name is not passed through.
func holdsName(c claim) string {
	return fmt.Sprintf("port %d of %s has the domain in HTTP mode (the lowest app id wins)", c.port, c.app)
}

func clashes(subject string, services []service) (problems []Problem) {
	for i, s := range services {
		if i > 0 {
			problems = append(problems, Problem{App: s.app, Subject: subject, Reason: fmt.Sprintf(
				"port %d does not get it: %s has it (the lowest app id wins, then the lowest port)", s.port, services[0])})
		}
	}
	return problems
}
