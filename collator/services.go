package collator

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// fleetServices are the TCP services of a fleet, and what changed since reportServices.
type fleetServices struct {
	routing.ServiceIndex
	// changedPorts are those whose services changed.
	changedPorts map[uint16]struct{}
	// namesChanged is set if other services or certificates may get the TLS connections
	// for some server name.
	namesChanged bool
	// tlsPorts are those of services whose TLS Envoy ends, and tlsChanged those of which something
	// changed since reportServiceTLS.
	tlsPorts, tlsChanged map[uint16]struct{}
}

func newFleetServices() *fleetServices {
	return &fleetServices{ServiceIndex: routing.NewServiceIndex(), changedPorts: make(map[uint16]struct{}), namesChanged: true,
		tlsPorts: make(map[uint16]struct{}), tlsChanged: map[uint16]struct{}{0: {}}} // which certificates are shown may have changed, whatever port it was on
}

// updateServices marks the listeners that an app changes.
func (f *fleetState) updateServices(id string, before, after *sources.App) {
	was, _ := f.ServicesOf(id, before)
	is, problems := f.ServicesOf(id, after)
	f.c.problems.set(owner{problem.TCP, f.Name, inApp, id}, problems...)
	if reflect.DeepEqual(was, is) {
		return
	}
	f.refusing.note(id, clustersOfCaches(is), f.c.now(), f.markCluster)
	had := make(map[uint16][]routing.Service)
	for _, s := range slices.Concat(was, is) {
		had[s.Listen] = f.services.Ports[s.Listen]
	}
	for _, s := range was {
		f.services.Remove(s)
		if !slices.ContainsFunc(is, func(now routing.Service) bool { return now.AppPort == s.AppPort && now.Redis != nil }) {
			delete(f.redisPasswords, s.Cluster())
		}
	}
	for _, s := range is {
		f.services.Add(s)
	}
	for _, s := range slices.Concat(was, is) {
		if s.Listen != 0 {
			f.mark(xds.Listener, routing.TCPListener(s.Listen))
			f.services.changedPorts[s.Listen] = struct{}{}
			f.markServiceTLS(s.Listen, had[s.Listen])
		}
		if len(s.Names) > 0 {
			f.mark(xds.Listener, routing.HTTPSListener)
			f.services.namesChanged = true
		}
		for _, name := range s.Names {
			f.recheckName(name)
			f.c.doubt(name)
			f.domains.setPassed(name, len(f.services.Names[name]) > 0)
		}
	}
}

// reportServices says which services do not get a port or server name, and which
// certificates are not used as their name is passed through.
func (f *fleetState) reportServices() {
	x := f.services
	for port := range x.changedPorts {
		f.c.problems.set(owner{problem.Clash, f.Name, inListener, routing.TCPListener(port)}, clashes(fmt.Sprintf("TCP port %d", port), x.Ports[port])...)
	}
	x.changedPorts = make(map[uint16]struct{})
	if !x.namesChanged {
		return
	}
	x.namesChanged = false
	f.reportHTTPS()
	var problems []problem.Problem
	for _, name := range slices.Sorted(maps.Keys(x.Names)) {
		problems = append(problems, f.nameClashes(name)...)
	}
	for _, chain := range f.chains {
		for _, name := range chain.ServerNames {
			if s, ok := f.passedTo(name); ok {
				problems = append(problems, problem.Problem{App: s.App, Subject: name, Domain: name, Severity: problem.Ignored, Action: "remove the certificate, or pass through no TLS for the name", Reason: fmt.Sprintf(
					"TLS is passed through to port %d: the certificate %s is not used for the name", s.Port, strings.Join(chain.Secrets(), " and "))})
			}
		}
	}
	f.c.problems.set(owner{problem.TCP, f.Name, inListener, routing.HTTPSListener}, problems...)
}

// reportHTTPS says when the https listener has no certificate.
func (f *fleetState) reportHTTPS() {
	var problems []problem.Problem
	if f.HasHTTPS() && f.certificatesKnown && len(f.chains) == 0 {
		reason := "the fleet does not listen on " + f.HTTPS.String()
		if len(f.passedServices()) > 0 {
			reason = f.HTTPS.String() + " is only for names that are passed through"
		}
		problems = []problem.Problem{{Subject: "listener https", Reason: "there is no certificate: " + reason}}
	}
	f.c.problems.set(owner{problem.HTTPS, f.Name, inListener, routing.HTTPSListener}, problems...)
}

// nameClashes says which apps do not get the TLS connections for a server name.
func (f *fleetState) nameClashes(name string) (problems []problem.Problem) {
	subject, wanting, claims := "TLS for "+name, f.wantingTLS(name), f.domains.claims[name]
	if len(wanting) == 0 {
		return nil
	}
	if winner, lost := routing.WinningHTTPClaim(claims, wanting[0]); lost {
		for _, s := range wanting {
			problems = append(problems, problem.Problem{App: s.App, Subject: subject, Domain: name, Reason: fmt.Sprintf("port %d does not get it: %s", s.Port, routing.NotPassedReason(winner))})
		}
		return problems
	}
	problems = clashes(subject, wanting)
	for i := range problems {
		problems[i].Domain = name
	}
	for _, c := range claims {
		if s := wanting[0]; c.Route && c.App != s.App && !s.Closed {
			problems = append(problems, problem.Problem{App: c.App, Subject: subject, Domain: name, Reason: fmt.Sprintf(
				"port %d gets its requests by plain HTTP only: TLS is passed through to %s (the lowest app id wins)", c.Port, s)})
		}
	}
	return problems
}

// clashes says which of the services that want the same thing do not get it: all but
// the first.
func clashes(subject string, services []routing.Service) (problems []problem.Problem) {
	for i, s := range services {
		if i > 0 {
			problems = append(problems, problem.Problem{App: s.App, Subject: subject, Reason: fmt.Sprintf(
				"port %d does not get it: %s has it (the lowest app id wins, then the lowest port)", s.Port, services[0])})
		}
	}
	return problems
}
