package collator

import (
	"maps"
	"slices"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/xds"
)

// part is one of those that a shared resource is made of: what an app port has
// in it, or a certificate.
type part struct {
	routing.AppPort
	secret string
}

func (p part) String() string {
	if p.secret != "" {
		return "certificate " + p.secret
	}
	return p.AppPort.String()
}

// refuse finds parts for which a shared resource cannot be published, after that
// failed, and leaves them out. It reports whether there are any that were not left
// out before.
func (f *fleetState) refuse(key xds.Key) bool {
	var found map[part]error
	switch {
	case key.Type == xds.Scope:
		found = f.tryClaims(key.Name)
	case key == httpsKey:
		// Those services too that come in when another is left out; and certificates,
		// of which there may be thousands, only if it was no service.
		if found = f.tryServices(f.services.WantingNames()); len(found) == 0 {
			found = f.tryChains(f.chains)
		}
	}
	if len(found) == 0 {
		return false
	}
	if f.refused[key] == nil {
		f.refused[key] = make(map[part]error)
	}
	maps.Copy(f.refused[key], found)
	return true
}

// reportRefused says what is left out of a resource, where that has changed.
func (f *fleetState) reportRefused(key xds.Key, before map[part]error) {
	name := func(p part) string { return p.String() + " in " + quoted(key) }
	now := f.refused[key]
	for p := range before {
		if now[p] == nil {
			f.clearResourceProblem(name(p))
			f.doubtPart(key, p)
		}
	}
	for p, err := range now {
		if was := before[p]; was == nil || was.Error() != err.Error() {
			f.clearResourceProblem(name(p))
			f.c.report(ResourceProblem, f.Name, name(p), Problem{App: p.App, Subject: name(p)}, err)
			f.doubtPart(key, p)
		}
	}
}

// tryClaims returns the claims that cannot be part of the scope of a domain.
func (f *fleetState) tryClaims(domain string) map[part]error {
	refused := make(map[part]error)
	for port, err := range refusedClaims(&f.Fleet, domain, f.claimsOn(domain)) {
		refused[part{AppPort: port}] = err
	}
	return refused
}

// UsableClaims returns the claims of which the scope of a domain can be made, and why
// the others are left out of it.
func UsableClaims(f *routing.Fleet, domain string, claims []routing.Claim) (usable []routing.Claim, leftOut map[routing.AppPort]error) {
	rules, _ := routing.RulesOf(claims)
	if envoy.CheckRules(f, domain, rules) == nil {
		return claims, nil
	}
	leftOut = refusedClaims(f, domain, claims)
	return routing.WithoutRoutes(claims, func(c routing.Claim) bool { return leftOut[c.AppPort] != nil }), leftOut
}

// refusedClaims returns the claims that cannot be part of the scope of a domain,
// and why. Each is tried alone.
func refusedClaims(f *routing.Fleet, domain string, claims []routing.Claim) map[routing.AppPort]error {
	refused := make(map[routing.AppPort]error)
	for _, c := range claims {
		if !c.Route {
			continue
		}
		if err := envoy.CheckRules(f, domain, routing.Candidates([]routing.Claim{c})); err != nil {
			refused[c.AppPort] = err
		}
	}
	return refused
}

// RefusedService says why a service cannot be passed through by the https
// listener; nil if it can.
func RefusedService(f *routing.Fleet, s routing.Service) error { return envoy.CheckPassthrough(f, s) }

// tryServices returns the services that cannot be part of the https listener, but
// for those that are left out already.
func (f *fleetState) tryServices(services []routing.Service) map[part]error {
	refused := make(map[part]error)
	for _, s := range services {
		p := part{AppPort: s.AppPort}
		if f.refused[httpsKey][p] != nil {
			continue
		}
		if err := envoy.CheckPassthrough(&f.Fleet, s); err != nil {
			refused[p] = err
		}
	}
	return refused
}

// tryChains is tryServices for certificates.
func (f *fleetState) tryChains(chains []routing.TLSChain) map[part]error {
	refused := make(map[part]error)
	for _, chain := range chains {
		p := part{secret: chain.Secret}
		if f.refused[httpsKey][p] != nil {
			continue
		}
		if err := envoy.CheckChain(&f.Fleet, chain); err != nil {
			refused[p] = err
		}
	}
	return refused
}

// doubtPart has the certificates looked up of the domains that a part of a
// resource concerns.
func (f *fleetState) doubtPart(key xds.Key, p part) {
	if key.Type == xds.Scope {
		f.doubtDomain(key.Name)
		return
	}
	if app := f.c.routed(p.App); app != nil && p.Port < len(app.Ports) {
		for _, domain := range app.Ports[p.Port].Domains {
			f.doubt(domain)
		}
	}
}

// refuses reports whether a part is left out of a resource: because it cannot be
// built, or because its cluster cannot.
func (f *fleetState) refuses(key xds.Key, p part) bool {
	if _, ok := f.refused[key][p]; ok {
		return true
	}
	if len(f.missing) == 0 || p.App == "" {
		return false
	}
	_, ok := f.missing[p.Cluster()]
	return ok
}

// refusesAny reports whether parts may be left out of a resource.
func (f *fleetState) refusesAny(key xds.Key) bool { return len(f.refused[key])+len(f.missing) > 0 }

// markUsers marks what leaves out an app port until its cluster is there.
func (f *fleetState) markUsers(cluster string) {
	id, port := routing.SplitClusterName(cluster)
	app := f.c.routed(id)
	if app == nil || port < 0 || port >= len(app.Ports) {
		return
	}
	for _, domain := range app.Ports[port].Domains {
		if len(f.domains.claims[domain]) > 0 {
			f.mark(xds.Scope, domain)
			f.doubtDomain(domain)
		}
		if len(f.services.Names[domain]) > 0 {
			f.mark(xds.Listener, routing.HTTPSListener)
			f.services.namesChanged = true
		}
	}
}

// claimsOn returns the claims on a domain, without the routes of those that are
// left out.
func (f *fleetState) claimsOn(domain string) []routing.Claim {
	claims, key := f.domains.claims[domain], xds.Key{Type: xds.Scope, Name: domain}
	if !f.refusesAny(key) {
		return claims
	}
	return routing.WithoutRoutes(claims, func(c routing.Claim) bool { return f.refuses(key, part{AppPort: c.AppPort}) })
}

// httpsParts returns what the https listener is made of, without what is left
// out: the certificates with the names that are left to them, and the services.
func (f *fleetState) httpsParts() ([]routing.TLSChain, []routing.Service) {
	passed := f.passedThrough()
	chains := routing.WithoutNames(f.chains, passed)
	if f.refusesAny(httpsKey) {
		chains = slices.DeleteFunc(slices.Clone(chains), func(c routing.TLSChain) bool { return f.refuses(httpsKey, part{secret: c.Secret}) })
	}
	return routing.WithoutYielding(chains), passed
}

// passing returns the service that gets the TLS connections for a name: of those
// that want them the one with the lowest app id, then the lowest port. An app
// with a lower id that has the name in HTTP mode keeps them, and so do the
// certificates if the service is closed.
func (f *fleetState) passing(name string) (routing.Service, bool) {
	wanting := f.wantingTLS(name)
	if len(wanting) == 0 || wanting[0].Closed {
		return routing.Service{}, false
	}
	_, held := routing.HTTPHolder(f.domains.claims[name], wanting[0])
	return wanting[0], !held
}

// wantingTLS returns the services that want the TLS connections for a name, in
// order, without those that are left out.
func (f *fleetState) wantingTLS(name string) []routing.Service {
	wanting := f.services.Names[name]
	if len(wanting) == 0 || !f.refusesAny(httpsKey) {
		return wanting
	}
	return slices.DeleteFunc(slices.Clone(wanting), func(s routing.Service) bool {
		return f.refuses(httpsKey, part{AppPort: s.AppPort})
	})
}

// passedThrough returns the services behind the https listener, each with the
// names that it got.
func (f *fleetState) passedThrough() []routing.Service {
	byCluster := make(map[string]routing.Service)
	for _, name := range slices.Sorted(maps.Keys(f.services.Names)) {
		s, ok := f.passing(name)
		if !ok {
			continue
		}
		cluster := s.Cluster()
		s.Names = append(byCluster[cluster].Names, name)
		byCluster[cluster] = s
	}
	return slices.SortedFunc(maps.Values(byCluster), routing.CompareServices)
}
