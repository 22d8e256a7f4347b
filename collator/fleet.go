package collator

import (
	"bytes"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/collator/history"
	"relay/collator/routing"
	"relay/internal/plural"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// fleetState is what one fleet is made of: indexes over the apps, the names of
// resources to build, and what was published. Each resource is a function of the
// state alone.
type fleetState struct {
	routing.Fleet
	c         *Collator
	publisher Publisher
	domains   *domainIndex
	services  *fleetServices
	// redisPasswords are by cluster.
	redisPasswords map[string]redisPasswords
	refusing       *refusing
	uses           *uses
	externals      *externals
	// asks are the clusters that are asked about the requests of each app, and askedBy the other way round. Others than the
	// loop read these, so the collator's mutex guards them.
	asks, askedBy map[string]map[string]struct{}

	certificatesKnown bool
	chains            []routing.TLSChain
	secrets           map[string]*certs.Certificate // by secret
	tlsSecrets        map[string]proto.Message      // those that are no certificates
	// selection says which certificates services show whose TLS Envoy ends; nil until it is known.
	selection *certs.Selection
	// resolverOutdated is set when the publisher's Resolver is not that of the chains.
	resolverOutdated bool

	// marked are the resources to build in this round.
	marked    map[xds.Key]struct{}
	published published
	failed    failures
	// scopeSecrets are those that the scope of a domain names, of those that have any.
	scopeSecrets map[string][]xds.Key
	// closed are the domains whose scopes let nobody in, by some path or by any.
	closed map[string]struct{}
	// tailed are the domains whose scopes have Envoys report requests.
	tailed map[string]struct{}

	coverage *fleetCoverage
	recheck  recheck
	// coverageReported are the domains of which reportCoverage found a problem.
	coverageReported map[string]struct{}
	// acmeReported is what reportACME has told.
	acmeReported acmeGap
	// started tells that something was published, and certificateParts what differs in
	// certificates since the last time.
	started          bool
	certificateParts []history.Part
}

func newFleetState(f routing.Fleet, publisher Publisher, c *Collator) *fleetState {
	for _, ca := range []*[]byte{&f.UpstreamCA, &f.ExternalCA} {
		if authorities, err := certs.ParseAuthorities(*ca); err == nil {
			*ca = certs.EncodePEM(authorities) // a private key beside them is sent to nobody
		}
	}
	s := &fleetState{
		Fleet: f, c: c, publisher: publisher,
		tlsSecrets: make(map[string]proto.Message),
		marked:     make(map[xds.Key]struct{}),
		published:  newPublished(),
		tailed:     make(map[string]struct{}),

		redisPasswords: make(map[string]redisPasswords),
		refusing:       newRefusing(),
		scopeSecrets:   make(map[string][]xds.Key),
		coverage:       newFleetCoverage(),
	}
	s.reset()
	return s
}

// reset forgets the index of the apps, and has everything built again.
func (f *fleetState) reset() {
	f.failed = newFailures()
	f.acmeReported, f.closed = acmeGap{}, make(map[string]struct{})
	f.recheck, f.coverageReported = recheck{all: true}, make(map[string]struct{})
	f.refusing.forgetApps(f.c.now())
	f.services, f.uses, f.externals = newFleetServices(), newUses(), newExternals()
	f.c.mu.Lock()
	f.asks, f.askedBy = make(map[string]map[string]struct{}), make(map[string]map[string]struct{})
	f.c.mu.Unlock()
	f.domains = newDomainIndex(func(scope string) { f.mark(xds.Scope, scope) })
	for key := range f.published.versions {
		f.marked[key] = struct{}{}
	}
	for key := range f.published.withheld {
		f.marked[key] = struct{}{}
	}
	for name := range f.secrets {
		f.mark(xds.Secret, name)
	}
	for name := range f.tlsSecrets {
		f.mark(xds.Secret, name)
	}
	f.resolverOutdated = f.CertificatesOnDemand && f.certificatesKnown
	f.mark(xds.Listener, routing.HTTPListener)
	f.mark(xds.Listener, routing.HTTPSListener)
	f.mark(xds.Listener, routing.HealthListener)
	f.mark(xds.ExtensionConfig, routing.HostsFilter)
	f.mark(xds.ExtensionConfig, routing.ScalingFilter)
	f.mark(xds.ExtensionConfig, routing.QueueFilter)
	f.markCluster(routing.ClusterName(f.ACMEApp, 0))
	f.mark(xds.Cluster, routing.RateLimitCluster)
}

// mark has a resource built in this round.
func (f *fleetState) mark(t xds.Type, name string) {
	f.marked[xds.Key{Type: t, Name: name}] = struct{}{}
}

// markCluster marks a cluster and its endpoints.
func (f *fleetState) markCluster(name string) {
	f.mark(xds.Cluster, name)
	f.mark(xds.Endpoint, name)
}

// updateApp marks the resources that a change of an app concerns. before is nil for a
// new app, after for a removed one.
func (f *fleetState) updateApp(id string, before, after *sources.App) {
	for port := range max(routing.PortCount(before), routing.PortCount(after)) {
		f.markIgnored(id, before, after, port)
		if routing.OIDCOf(httpOf(before, port)) != routing.OIDCOf(httpOf(after, port)) {
			f.markOIDC(id, before, port)
			f.markOIDC(id, after, port)
		}
		f.markMirror(id, before, after, port)
		was, is := f.hasCluster(id, before, port), f.hasCluster(id, after, port)
		switch {
		case was != is, f.Routes(id, before, port) != f.Routes(id, after, port) && f.refusing.has(routing.ClusterName(id, port)),
			is && !f.ConnectionsOf(before, port).Equal(f.ConnectionsOf(after, port)):
			f.markCluster(routing.ClusterName(id, port))
		case is && !slices.Equal(routing.EndpointsOf(before, port), routing.EndpointsOf(after, port)):
			f.mark(xds.Endpoint, routing.ClusterName(id, port))
		}
		f.markShares(before, after, port)
		mayWait, waits := f.HoldsConnections(id, before, port)
		if may, now := f.HoldsConnections(id, after, port); may != mayWait || now != waits {
			f.mark(xds.ExtensionConfig, routing.WakeFilter(routing.ClusterName(id, port)))
		}
		held, waited := f.HoldOf(id, before, port)
		if hold, now := f.HoldOf(id, after, port); hold != held || now != waited {
			f.mark(xds.ExtensionConfig, routing.HoldFilter(routing.ClusterName(id, port)))
			f.mark(xds.Endpoint, routing.ClusterName(id, port))
		}
		if f.PacesConnections(id, before, port) != f.PacesConnections(id, after, port) {
			f.mark(xds.ExtensionConfig, routing.AcceptFilter(routing.ClusterName(id, port)))
		}
	}
	if samePolicy(before, after) {
		return
	}
	f.updateUses(id, before, after)
	f.updateExternals(id, before, after)
	wanted := f.ClaimsOf(after)
	for domain := range f.ClaimsOf(before) {
		if _, still := wanted[domain]; !still {
			f.replaceClaims(domain, id, nil)
		}
	}
	for domain, claims := range wanted {
		f.replaceClaims(domain, id, claims)
	}
	f.c.problems.set(owner{problem.HTTPS, f.Name, inApp, id}, f.httpsProblems(after)...)
	f.updateServices(id, before, after)
}

// replaceClaims replaces what an app claims of a domain.
func (f *fleetState) replaceClaims(domain, app string, claims []routing.Claim) {
	if f.domains.replace(domain, app, claims) {
		f.c.doubt(domain)
		f.recheckDomain(domain)
		if len(f.services.Names[domain]) > 0 {
			f.recheckName(domain)
			f.services.namesChanged = true // who gets its TLS connections may have changed
			f.mark(xds.Listener, routing.HTTPSListener)
		}
	}
}

// httpsProblems says what an app asks for of TLS that the fleet cannot do.
func (f *fleetState) httpsProblems(app *sources.App) (problems []problem.Problem) {
	if app == nil {
		return nil
	}
	for i, port := range app.Ports {
		if !f.Routes(app.ID, app, i) {
			continue
		}
		report := func(severity problem.Severity, reason, action string) {
			problems = append(problems, problem.Problem{Subject: fmt.Sprintf("port %d", i), Severity: severity, Reason: reason, Action: action})
		}
		const listen = "have the fleet listen for https (--https), or take the label off the app"
		if port.RedirectToHTTPS && !routing.IsTCP(port) && !f.OffersHTTPS() {
			report(problem.Ignored, "asks for a redirect to https, but the fleet has no https listener: plain http is served"+f.httpsInFront(), listen)
		}
		if port.HTTP != nil && port.HTTP.HSTS && !f.OffersHTTPS() {
			report(problem.Ignored, "asks for HSTS, but the fleet has no https listener: it has no effect"+f.httpsInFront(), listen)
		}
		const faults = "let the fleet have them (--faults, or faults: true of the fleet), or take the label off the app"
		if h := port.HTTP; h != nil && h.Shaping != nil && h.Shaping.Fault != nil && !f.Faults && !routing.IsTCP(port) {
			problems = append(problems, problem.Problem{Subject: fmt.Sprintf("port %d, RELAY_%[1]d_FAULT", i), Severity: problem.Ignored, Reason: "has no effect, as the fleet allows no faults", Action: faults})
		}
		if f.CannotVerify(port) && !routing.IsTCP(port) {
			report(problem.Failing, "asks for TLS to its instances with verification, but the fleet has no authorities to verify them with "+
				"(--upstream-ca): every request is answered 403, because it might go to anybody; RELAY_n_TLS_VERIFY=false does without",
				"give --upstream-ca, or set RELAY_n_TLS_VERIFY=false")
		}
	}
	return problems
}

// httpsInFront says how to offer https without a listener for it, to those who may want that.
func (f *fleetState) httpsInFront() string {
	if !f.Proxies.Trusted() {
		return ""
	}
	return "; if a balancer in front of it takes https, say its port (--https-public-port)"
}

// reportClashes says which ports do not get a domain that they claim.
func (f *fleetState) reportClashes(scope xds.Key) {
	if scope.Type != xds.Scope {
		return
	}
	domain := scope.Name
	var problems []problem.Problem
	if claims := f.claimsOn(domain); len(claims) > 1 {
		_, losses := routing.RulesOf(claims)
		problems = lossProblems(domain, losses)
	}
	f.c.problems.set(owner{problem.Clash, f.Name, inDomain, domain}, problems...)
}

// lossProblems says which port lost what, of each port the first ones.
func lossProblems(domain string, losses []routing.Loss) (problems []problem.Problem) {
	lost := make(map[routing.AppPort]int)
	for _, l := range losses {
		p := l.Rule.Claim.AppPort
		if lost[p]++; lost[p] <= maxLosses {
			problems = append(problems, problem.Problem{App: p.App, Subject: domain, Domain: domain, Reason: l.String()})
		}
	}
	for p, n := range lost {
		if over := n - maxLosses; over > 0 {
			problems = append(problems, problem.Problem{App: p.App, Subject: domain, Domain: domain, Reason: fmt.Sprintf("port %d does not get %s more", p.Port, plural.Of(over, "path"))})
		}
	}
	return problems
}

// setCertificates takes the certificates that are served now. It marks the secrets that
// changed and, if the server names of some changed, the https listener.
func (f *fleetState) setCertificates(chains []routing.TLSChain, secrets map[string]*certs.Certificate) {
	known := f.certificatesKnown
	if f.certificatesKnown = true; !known {
		f.mark(xds.Listener, routing.HealthListener) // it was withheld: see withheld
	}
	if !f.HasHTTPS() {
		return
	}
	chains, secrets = f.OwnChains(chains, secrets)
	f.recordCertificates(f.secrets, secrets, known)
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
	f.chains, f.resolverOutdated = chains, f.CertificatesOnDemand
	f.services.namesChanged = true // names passed through may be among theirs
	f.mark(xds.Listener, routing.HTTPSListener)
}

func sameContent(a, b *certs.Certificate) bool {
	return a == b || a != nil && b != nil && bytes.Equal(a.Chain, b.Chain) && bytes.Equal(a.Key, b.Key)
}
