package collator

import (
	"maps"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/xds"
)

// leaveOut looks for parts of a shared resource that keep it from being published, and
// leaves them out. It reports whether there are any that were not left out before.
func (f *fleetState) leaveOut(key xds.Key) bool {
	var found map[part]error
	switch {
	case key.Type == xds.Scope:
		found = f.failingClaims(key.Name)
	case key == httpsKey:
		// All services that want a name are tried, for when one is left out, the next
		// takes its place. Certificates, of which there may be thousands, are tried only
		// if no service is at fault.
		if found = f.failingServices(f.services.WantingNames()); len(found) == 0 {
			found = f.failingChains(f.chains)
		}
	}
	if len(found) == 0 {
		return false
	}
	if f.failed.parts[key] == nil {
		f.failed.parts[key] = make(map[part]error)
	}
	maps.Copy(f.failed.parts[key], found)
	return true
}

// reportLeftOut says what is left out of a resource, where that has changed.
func (f *fleetState) reportLeftOut(key xds.Key, before map[part]error) {
	name := func(p part) string { return p.String() + " in " + quoted(key) }
	now := f.failed.parts[key]
	for p := range before {
		if now[p] == nil {
			f.clearResourceProblem(name(p))
			f.recheckPart(key, p)
		}
	}
	for p, err := range now {
		if was := before[p]; was == nil || was.Error() != err.Error() {
			f.clearResourceProblem(name(p))
			f.c.report(owner{problem.Resource, f.Name, inResource, name(p)}, problem.Problem{App: p.App, Subject: name(p)}, err, "")
			f.recheckPart(key, p)
		}
	}
}

// failingClaims returns the claims that cannot be part of the scope of a domain.
func (f *fleetState) failingClaims(domain string) map[part]error {
	failing := make(map[part]error)
	for port, err := range failingClaims(&f.Fleet, domain, f.claimsOn(domain)) {
		failing[part{AppPort: port}] = err
	}
	return failing
}

// UsableClaims returns the claims of which the scope of a domain can be made, and why
// the others are left out of it.
func UsableClaims(f *routing.Fleet, domain string, claims []routing.Claim) (usable []routing.Claim, leftOut map[routing.AppPort]error) {
	rules, _ := routing.RulesOf(claims)
	if envoy.CheckRules(f, domain, rules) == nil {
		return claims, nil
	}
	leftOut = failingClaims(f, domain, claims)
	return routing.WithoutRoutes(claims, func(c routing.Claim) bool { return leftOut[c.AppPort] != nil }), leftOut
}

// failingClaims returns the claims that cannot be part of the scope of a domain,
// and why. Each is tried alone.
func failingClaims(f *routing.Fleet, domain string, claims []routing.Claim) map[routing.AppPort]error {
	failing := make(map[routing.AppPort]error)
	for _, c := range claims {
		if !c.Route {
			continue
		}
		if err := envoy.CheckRules(f, domain, routing.Candidates([]routing.Claim{c})); err != nil {
			failing[c.AppPort] = err
		}
	}
	return failing
}

// UnusableService says why a service cannot be passed through by the https
// listener; nil if it can.
func UnusableService(f *routing.Fleet, s routing.Service) error { return envoy.CheckPassthrough(f, s) }

// failingServices returns the services that cannot be part of the https listener, but
// for those that are left out already.
func (f *fleetState) failingServices(services []routing.Service) map[part]error {
	failing := make(map[part]error)
	for _, s := range services {
		p := part{AppPort: s.AppPort}
		if f.failed.parts[httpsKey][p] != nil {
			continue
		}
		if err := envoy.CheckPassthrough(&f.Fleet, s); err != nil {
			failing[p] = err
		}
	}
	return failing
}

// failingChains returns the certificates that cannot be part of the https listener, but
// for those that are left out already.
func (f *fleetState) failingChains(chains []routing.TLSChain) map[part]error {
	failing := make(map[part]error)
	for _, chain := range chains {
		for _, secret := range chain.Secrets() {
			p := part{secret: secret}
			if f.failed.parts[httpsKey][p] != nil {
				continue
			}
			chain.Pair = routing.Pair{Secret: secret}
			if err := envoy.CheckChain(&f.Fleet, chain); err != nil {
				failing[p] = err
			}
		}
	}
	return failing
}

// recheckPart has the certificates of the domains looked up that a part of a resource
// concerns.
func (f *fleetState) recheckPart(key xds.Key, p part) {
	if key.Type == xds.Scope {
		f.recheckDomain(key.Name)
		return
	}
	if app := f.c.routed(p.App); app != nil && p.Port < len(app.Ports) {
		for _, domain := range app.Ports[p.Port].Domains {
			f.recheckName(domain)
		}
	}
}

// markUsersOf marks what leads to a cluster that did not exist: it was left out there.
func (f *fleetState) markUsersOf(cluster string) {
	id, port := routing.SplitClusterName(cluster)
	app := f.c.routed(id)
	if app == nil || port < 0 || port >= len(app.Ports) {
		return
	}
	for _, domain := range app.Ports[port].Domains {
		if len(f.domains.claims[domain]) > 0 {
			f.mark(xds.Scope, domain)
			f.recheckDomain(domain)
		}
		if len(f.services.Names[domain]) > 0 {
			f.mark(xds.Listener, routing.HTTPSListener)
			f.services.namesChanged = true
		}
	}
}

// claimsOn returns the claims on a domain. Those that are left out of its scope ask at
// most for ACME challenges.
func (f *fleetState) claimsOn(domain string) []routing.Claim {
	claims, key := f.domains.claims[domain], xds.Key{Type: xds.Scope, Name: domain}
	if !f.failed.leavesOutAny(key) {
		return claims
	}
	return routing.WithoutRoutes(claims, func(c routing.Claim) bool { return f.failed.leavesOut(key, part{AppPort: c.AppPort}) })
}
