package collator

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/sources"
	"relay/xds"
)

// fleetState is what one fleet is made of: indexes over the apps, the names of
// resources to build, and the versions of those published. Each resource is a
// function of the state alone.
type fleetState struct {
	Fleet
	c         *Collator
	publisher Publisher
	acmeApp   string
	scopes    scopeBuilder
	domains   *domainIndex
	services  *serviceIndex

	certificatesKnown bool
	chains            []tlsChain
	secrets           map[string]*certs.Certificate
	others            map[string]*tlsv3.Secret // those that are no certificates
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

func newFleetState(f Fleet, acmeApp string, publisher Publisher, c *Collator) *fleetState {
	s := &fleetState{
		Fleet: f, c: c, publisher: publisher, acmeApp: acmeApp,
		scopes:    scopeBuilder{options: f.Options, httpsPort: f.httpsPort()},
		others:    make(map[string]*tlsv3.Secret),
		dirty:     make(map[xds.Key]struct{}),
		published: make(map[xds.Key]string),
		unsaid:    make(map[xds.Key]struct{}),
		coverage:  newFleetCoverage(),

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
	f.services = newServiceIndex()
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
	for name := range f.others {
		f.mark(xds.Secret, name)
	}
	f.unresolved = f.CertificatesOnDemand && f.certificatesKnown
	f.mark(xds.Listener, httpListener)
	f.mark(xds.Listener, httpsListener)
	f.mark(xds.ExtensionConfig, hostsFilter)
	f.markCluster(clusterName(f.acmeApp, 0))
}

func (f *fleetState) mark(t xds.Type, name string) {
	f.dirty[xds.Key{Type: t, Name: name}] = struct{}{}
}

func (f *fleetState) markCluster(name string) {
	f.mark(xds.Cluster, name)
	f.mark(xds.Endpoint, name)
}

// routes reports whether the fleet has a cluster for an app port; app is nil
// when there is no such app. That of the ACME app is always there, so that no
// scope depends on whether the app runs.
func (f *fleetState) routes(id string, app *sources.App, port int) bool {
	if id == f.acmeApp && port == 0 {
		return true
	}
	return app != nil && port >= 0 && port < len(app.Ports) && slices.Contains(app.Ports[port].Groups, f.Name)
}

func endpointsOf(app *sources.App, port int) []sources.Endpoint {
	if app == nil || port >= len(app.Ports) {
		return nil
	}
	return app.Ports[port].Endpoints
}

// updateApp marks what differs between two forms of an app; nil is none.
func (f *fleetState) updateApp(id string, before, after *sources.App) {
	for port := range max(portCount(before), portCount(after)) {
		was, is := f.routes(id, before, port), f.routes(id, after, port)
		switch {
		case was != is, is && !connectionsOf(before, port).equal(connectionsOf(after, port)):
			f.markCluster(clusterName(id, port))
		case is && !slices.Equal(endpointsOf(before, port), endpointsOf(after, port)):
			f.mark(xds.Endpoint, clusterName(id, port))
		}
	}
	if samePolicy(before, after) {
		return
	}
	wanted := claimsOf(after, f.Fleet)
	for domain := range claimsOf(before, f.Fleet) {
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

func portCount(app *sources.App) int {
	if app == nil {
		return 0
	}
	return len(app.Ports)
}

func (f *fleetState) replaceClaims(domain, app string, claims []claim) {
	if f.domains.replace(domain, app, claims) {
		f.doubtDomain(domain)
		if len(f.services.names[domain]) > 0 {
			f.doubt(domain)
			f.services.named = true // who gets its TLS connections may have changed
			f.mark(xds.Listener, httpsListener)
		}
	}
}

// httpsProblems says which wishes for TLS the fleet cannot fulfil.
func (f *fleetState) httpsProblems(app *sources.App) (problems []Problem) {
	if app == nil {
		return nil
	}
	for i, port := range app.Ports {
		if !f.routes(app.ID, app, i) {
			continue
		}
		report := func(reason string) {
			problems = append(problems, Problem{App: app.ID, Subject: fmt.Sprintf("port %d", i), Reason: reason})
		}
		if port.RedirectToHTTPS && !isTCP(port) && !f.hasHTTPS() {
			report("asks for a redirect to https, but the fleet has no https listener: plain http is served")
		}
		if port.HTTP != nil && port.HTTP.HSTS && !f.hasHTTPS() {
			report("asks for HSTS, but the fleet has no https listener: it has no effect")
		}
		if f.cannotVerify(port) && !isTCP(port) {
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
		_, losses := rulesOf(claims)
		problems = lossProblems(domain, losses)
	}
	f.c.problems.set(owner{ClashProblem, f.Name, domain}, problems...)
}

// lossProblems says who lost what, of each port no more than anybody would read.
func lossProblems(domain string, losses []loss) (problems []Problem) {
	lost := make(map[part]int)
	for _, l := range losses {
		p := part{app: l.rule.claim.app, port: l.rule.claim.port}
		if lost[p]++; lost[p] <= maxLosses {
			problems = append(problems, Problem{App: p.app, Subject: domain, Reason: l.String()})
		}
	}
	for p, n := range lost {
		if over := n - maxLosses; over > 0 {
			problems = append(problems, Problem{App: p.app, Subject: domain, Reason: fmt.Sprintf("port %d does not get %d paths more", p.port, over)})
		}
	}
	return problems
}

// setCertificates marks the secrets that differ, and the https listener.
func (f *fleetState) setCertificates(chains []tlsChain, secrets map[string]*certs.Certificate) {
	known := f.certificatesKnown
	f.certificatesKnown = true
	if !f.hasHTTPS() {
		return
	}
	chains, secrets = f.ownChains(chains, secrets)
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
	if slices.EqualFunc(f.chains, chains, tlsChain.equal) && known {
		return
	}
	f.chains, f.unresolved = chains, f.CertificatesOnDemand
	f.services.named = true // names passed through may be among theirs
	f.mark(xds.Listener, httpsListener)
}

func sameContent(a, b *certs.Certificate) bool {
	return a == b || a != nil && b != nil && bytes.Equal(a.Chain, b.Chain) && bytes.Equal(a.Key, b.Key)
}

// build makes the resource with the given key from the state; nil when there
// is none.
func (f *fleetState) build(key xds.Key) (proto.Message, error) {
	switch key.Type {
	case xds.Cluster, xds.Endpoint:
		id, port := splitClusterName(key.Name)
		app := f.c.routed(id)
		switch {
		case !f.routes(id, app, port):
			return nil, nil
		case key.Type == xds.Cluster:
			return buildCluster(key.Name, connectionsOf(app, port), f.Fleet)
		}
		return buildEndpoints(key.Name, endpointsOf(app, port)), nil
	case xds.Secret:
		return f.buildSecret(key.Name)
	case xds.Listener:
		return f.buildListener(key.Name)
	case xds.Scope:
		return f.buildScope(key.Name)
	case xds.ExtensionConfig:
		return buildHosts()
	}
	return nil, fmt.Errorf("no resource of type %s is built", key.Type)
}

func (f *fleetState) buildListener(name string) (proto.Message, error) {
	switch {
	case name == httpListener:
		return buildHTTPListener(f.Fleet)
	case name == httpsListener:
		return f.buildHTTPS(f.CertificatesOnDemand)
	default:
		if s, ok := f.services.opened(name); ok {
			return buildTCPListener(f.Fleet, s)
		}
	}
	return nil, nil
}

func (f *fleetState) buildHTTPS(onDemand bool) (proto.Message, error) {
	chains, passed := f.httpsParts()
	switch {
	case !f.hasHTTPS() || len(chains)+len(passed) == 0:
		return nil, nil
	case onDemand:
		return buildOnDemandListener(f.Fleet, chains, passed)
	}
	return buildHTTPSListener(f.Fleet, chains, passed)
}

func (f *fleetState) buildScope(name string) (proto.Message, error) {
	switch {
	case name == wildcardsScope && len(f.domains.zones) > 0:
		return buildWildcards(slices.Sorted(maps.Keys(f.domains.zones))), nil
	case len(f.domains.claims[name]) > 0:
		return f.scopes.buildScope(f.routesOf(name))
	}
	return nil, nil
}

func (f *fleetState) routesOf(domain string) domainRoutes {
	claims := f.claimsOn(domain)
	routes := domainRoutes{domain: domain}
	routes.rules, _ = rulesOf(claims)
	if slices.ContainsFunc(claims, func(c claim) bool { return c.acme }) {
		routes.acmeCluster = clusterName(f.acmeApp, 0)
	}
	return routes
}
