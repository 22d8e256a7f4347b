package collator

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// fleetState is what one fleet is made of: indexes over the apps, the names of
// resources to build, and the versions of those published. Each resource is a
// function of the state alone.
type fleetState struct {
	routing.Fleet
	c         *Collator
	publisher Publisher
	domains   *domainIndex
	services  *fleetServices

	certificatesKnown bool
	chains            []routing.TLSChain
	secrets           map[string]*certs.Certificate
	tlsSecrets        map[string]proto.Message // those that are no certificates
	// unresolved is set when the publisher's Resolver is not that of the chains.
	unresolved bool

	dirty map[xds.Key]struct{}
	// doubts are domains and server names that changed, for the certificates of
	// domains to be looked up again, with those of all that the name covers or not;
	// nil is all.
	doubts map[string]bool
	// told are the domains with a problem found by that.
	told      map[string]struct{}
	coverage  *fleetCoverage
	published map[xds.Key]string // versions
	// unsaid holds resources that are withheld, and those of a change that did not
	// end: what becomes of them must be published, be it that they do not exist.
	unsaid     map[xds.Key]struct{}
	references *references
	// failed holds resources with a problem, refused what is left out of shared
	// ones, and missing the names of clusters that failed and are not published.
	failed  map[xds.Key]struct{}
	refused map[xds.Key]map[part]error
	missing map[string]struct{}
}

func newFleetState(f routing.Fleet, publisher Publisher, c *Collator) *fleetState {
	s := &fleetState{
		Fleet: f, c: c, publisher: publisher,
		tlsSecrets: make(map[string]proto.Message),
		dirty:      make(map[xds.Key]struct{}),
		published:  make(map[xds.Key]string),
		unsaid:     make(map[xds.Key]struct{}),
		coverage:   newFleetCoverage(),

		references: newReferences(),
	}
	s.reset()
	return s
}

// reset forgets the index of the apps, and has everything built again.
func (f *fleetState) reset() {
	f.doubts, f.told = nil, make(map[string]struct{})
	f.failed, f.refused = make(map[xds.Key]struct{}), make(map[xds.Key]map[part]error)
	f.missing = make(map[string]struct{})
	f.services = newFleetServices()
	f.domains = newDomainIndex(func(scope string) { f.mark(xds.Scope, scope) })
	for key := range f.published {
		f.dirty[key] = struct{}{}
	}
	for key := range f.unsaid {
		f.dirty[key] = struct{}{}
	}
	for name := range f.secrets {
		f.mark(xds.Secret, name)
	}
	for name := range f.tlsSecrets {
		f.mark(xds.Secret, name)
	}
	f.unresolved = f.CertificatesOnDemand && f.certificatesKnown
	f.mark(xds.Listener, routing.HTTPListener)
	f.mark(xds.Listener, routing.HTTPSListener)
	f.mark(xds.ExtensionConfig, routing.HostsFilter)
	f.markCluster(routing.ClusterName(f.ACMEApp, 0))
}

func (f *fleetState) mark(t xds.Type, name string) {
	f.dirty[xds.Key{Type: t, Name: name}] = struct{}{}
}

func (f *fleetState) markCluster(name string) {
	f.mark(xds.Cluster, name)
	f.mark(xds.Endpoint, name)
}

// updateApp marks what differs between two forms of an app; nil is none.
func (f *fleetState) updateApp(id string, before, after *sources.App) {
	for port := range max(routing.PortCount(before), routing.PortCount(after)) {
		was, is := f.Routes(id, before, port), f.Routes(id, after, port)
		switch {
		case was != is, is && !routing.ConnectionsOf(before, port).Equal(routing.ConnectionsOf(after, port)):
			f.markCluster(routing.ClusterName(id, port))
		case is && !slices.Equal(routing.EndpointsOf(before, port), routing.EndpointsOf(after, port)):
			f.mark(xds.Endpoint, routing.ClusterName(id, port))
		}
	}
	if samePolicy(before, after) {
		return
	}
	wanted := f.ClaimsOf(after)
	for domain := range f.ClaimsOf(before) {
		if _, still := wanted[domain]; !still {
			f.replaceClaims(domain, id, nil)
		}
	}
	for domain, claims := range wanted {
		f.replaceClaims(domain, id, claims)
	}
	f.c.problems.set(owner{HTTPSProblem, f.Name, id}, f.httpsProblems(after)...)
	f.updateServices(id, before, after)
}

func (f *fleetState) replaceClaims(domain, app string, claims []routing.Claim) {
	if f.domains.replace(domain, app, claims) {
		f.doubtDomain(domain)
		if len(f.services.Names[domain]) > 0 {
			f.doubt(domain)
			f.services.namesChanged = true // who gets its TLS connections may have changed
			f.mark(xds.Listener, routing.HTTPSListener)
		}
	}
}

// httpsProblems says which wishes for TLS the fleet cannot fulfil.
func (f *fleetState) httpsProblems(app *sources.App) (problems []Problem) {
	if app == nil {
		return nil
	}
	for i, port := range app.Ports {
		if !f.Routes(app.ID, app, i) {
			continue
		}
		report := func(reason string) {
			problems = append(problems, Problem{App: app.ID, Subject: fmt.Sprintf("port %d", i), Reason: reason})
		}
		if port.RedirectToHTTPS && !routing.IsTCP(port) && !f.HasHTTPS() {
			report("asks for a redirect to https, but the fleet has no https listener: plain http is served")
		}
		if port.HTTP != nil && port.HTTP.HSTS && !f.HasHTTPS() {
			report("asks for HSTS, but the fleet has no https listener: it has no effect")
		}
		if f.CannotVerify(port) && !routing.IsTCP(port) {
			report("asks for TLS to its instances with verification, but the fleet has no authorities to verify them with " +
				"(--upstream-ca): every request is answered 403, because it might go to anybody; RELAY_n_TLS_VERIFY=false does without")
		}
	}
	return problems
}

// reportClashes says which ports do not get a domain they want.
func (f *fleetState) reportClashes(scope xds.Key) {
	if scope.Type != xds.Scope {
		return
	}
	domain := scope.Name
	var problems []Problem
	if claims := f.claimsOn(domain); len(claims) > 1 {
		_, losses := routing.RulesOf(claims)
		problems = lossProblems(domain, losses)
	}
	f.c.problems.set(owner{ClashProblem, f.Name, domain}, problems...)
}

// lossProblems says who lost what, of each port no more than anybody would read.
func lossProblems(domain string, losses []routing.Loss) (problems []Problem) {
	lost := make(map[routing.AppPort]int)
	for _, l := range losses {
		p := l.Rule.Claim.AppPort
		if lost[p]++; lost[p] <= maxLosses {
			problems = append(problems, Problem{App: p.App, Subject: domain, Reason: l.String()})
		}
	}
	for p, n := range lost {
		if over := n - maxLosses; over > 0 {
			problems = append(problems, Problem{App: p.App, Subject: domain, Reason: fmt.Sprintf("port %d does not get %d paths more", p.Port, over)})
		}
	}
	return problems
}

// setCertificates marks the secrets that differ, and the https listener.
func (f *fleetState) setCertificates(chains []routing.TLSChain, secrets map[string]*certs.Certificate) {
	known := f.certificatesKnown
	f.certificatesKnown = true
	if !f.HasHTTPS() {
		return
	}
	chains, secrets = f.OwnChains(chains, secrets)
	for name := range f.secrets {
		if secrets[name] == nil {
			f.mark(xds.Secret, name)
		}
	}
	for name, certificate := range secrets {
		if !sameContent(f.secrets[name], certificate) {
			f.mark(xds.Secret, name)
		}
	}
	f.secrets = secrets
	if slices.EqualFunc(f.chains, chains, routing.TLSChain.Equal) && known {
		return
	}
	f.chains, f.unresolved = chains, f.CertificatesOnDemand
	f.services.namesChanged = true // names passed through may be among theirs
	f.mark(xds.Listener, routing.HTTPSListener)
}

func sameContent(a, b *certs.Certificate) bool {
	return a == b || a != nil && b != nil && bytes.Equal(a.Chain, b.Chain) && bytes.Equal(a.Key, b.Key)
}

// build makes the resource with the given key from the state; nil when there
// is none.
func (f *fleetState) build(key xds.Key) (proto.Message, error) {
	switch key.Type {
	case xds.Cluster, xds.Endpoint:
		id, port := routing.SplitClusterName(key.Name)
		app := f.c.routed(id)
		switch {
		case !f.Routes(id, app, port):
			return nil, nil
		case key.Type == xds.Cluster:
			return envoy.Cluster(key.Name, routing.ConnectionsOf(app, port), &f.Fleet)
		}
		return envoy.Endpoints(key.Name, routing.EndpointsOf(app, port)), nil
	case xds.Secret:
		return f.buildSecret(key.Name)
	case xds.Listener:
		return f.buildListener(key.Name)
	case xds.Scope:
		return f.buildScope(key.Name)
	case xds.ExtensionConfig:
		return envoy.HostsFilter()
	}
	return nil, fmt.Errorf("no resource of type %s is built", key.Type)
}

func (f *fleetState) buildListener(name string) (proto.Message, error) {
	switch {
	case name == routing.HTTPListener:
		return envoy.HTTPListener(&f.Fleet)
	case name == routing.HTTPSListener:
		return f.buildHTTPS(f.CertificatesOnDemand)
	default:
		if s, ok := f.services.Opened(name); ok {
			return envoy.TCPListener(&f.Fleet, s)
		}
	}
	return nil, nil
}

func (f *fleetState) buildHTTPS(onDemand bool) (proto.Message, error) {
	chains, passed := f.httpsParts()
	switch {
	case !f.HasHTTPS() || len(chains)+len(passed) == 0:
		return nil, nil
	case onDemand:
		return envoy.HTTPSListenerOnDemand(&f.Fleet, chains, passed)
	}
	return envoy.HTTPSListener(&f.Fleet, chains, passed)
}

func (f *fleetState) buildScope(name string) (proto.Message, error) {
	switch {
	case name == routing.WildcardsScope && len(f.domains.zones) > 0:
		return envoy.WildcardsScope(slices.Sorted(maps.Keys(f.domains.zones))), nil
	case len(f.domains.claims[name]) > 0:
		return envoy.Scope(&f.Fleet, f.DomainRoutes(name, f.claimsOn(name)))
	}
	return nil, nil
}
