package collator

import (
	"fmt"
	"maps"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"relay/xds"
)

// part is one of those that a shared resource is made of: what an app port has
// in it, or a certificate.
type part struct {
	app    string
	port   int
	secret string
}

func (p part) String() string {
	if p.secret != "" {
		return "certificate " + p.secret
	}
	return fmt.Sprintf("port %d of %s", p.port, p.app)
}

// refuse finds parts for which a shared resource cannot be published, after that
// failed, and leaves them out. It reports whether there are any that were not left
// out before.
func (f *fleetState) refuse(key xds.Key) bool {
	var found map[part]error
	switch {
	case key.Type == xds.Scope:
		found = f.scopes.tryClaims(key.Name, f.claimsOn(key.Name))
	case key == httpsKey:
		// Those services too that come in when another is left out; and certificates,
		// of which there may be thousands, only if it was no service.
		if found = f.tryServices(f.services.wantingAny()); len(found) == 0 {
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
			f.c.report(ResourceProblem, f.Name, name(p), Problem{App: p.app, Subject: name(p)}, err)
			f.doubtPart(key, p)
		}
	}
}

// tryClaims returns the claims that cannot be part of a domain's scope.
func (b scopeBuilder) tryClaims(domain string, claims []claim) map[part]error {
	refused, key := make(map[part]error), xds.Key{Type: xds.Scope, Name: domain}
	for _, c := range claims {
		if !c.route {
			continue
		}
		if err := b.tryRules(key, candidates([]claim{c})); err != nil {
			refused[part{app: c.app, port: c.port}] = err
		}
	}
	return refused
}

// tryRules says why no scope can be made of rules.
func (b scopeBuilder) tryRules(key xds.Key, rules []rule) error {
	_, err := guarded(func() (xds.Resource, error) {
		scope, err := b.buildScope(domainRoutes{domain: key.Name, rules: rules})
		if err != nil {
			return xds.Resource{}, err
		}
		return newResource(key, scope)
	})
	return err
}

// tryServices returns the services that cannot be part of the https listener, but
// for those that are left out already.
func (f *fleetState) tryServices(services []service) map[part]error {
	refused := make(map[part]error)
	for _, s := range services {
		p := part{app: s.app, port: s.port}
		if f.refused[httpsKey][p] != nil {
			continue
		}
		if err := tryService(f.Fleet, s); err != nil {
			refused[p] = err
		}
	}
	return refused
}

// tryService says why a service cannot be passed through.
func tryService(f Fleet, s service) error {
	return tryChain(func(p *packer) *listenerv3.FilterChain { return passedChain(p, f, s) })
}

// tryChains is tryServices for certificates.
func (f *fleetState) tryChains(chains []tlsChain) map[part]error {
	refused := make(map[part]error)
	for _, chain := range chains {
		p := part{secret: chain.secret}
		if f.refused[httpsKey][p] != nil {
			continue
		}
		err := tryChain(func(p *packer) *listenerv3.FilterChain {
			return filterChain(p, f.Fleet, chain, &listenerv3.Filter{Name: "http_connection_manager"})
		})
		if err != nil {
			refused[p] = err
		}
	}
	return refused
}

// tryChain says why a filter chain cannot be part of any listener.
func tryChain(build func(*packer) *listenerv3.FilterChain) error {
	_, err := guarded(func() (struct{}, error) {
		var p packer
		p.pack(build(&p))
		return struct{}{}, p.err
	})
	return err
}

// doubtPart has the certificates looked up of the domains that a part of a
// resource concerns.
func (f *fleetState) doubtPart(key xds.Key, p part) {
	if key.Type == xds.Scope {
		f.doubtDomain(key.Name)
		return
	}
	if app := f.c.routed(p.app); app != nil && p.port < len(app.Ports) {
		for _, domain := range app.Ports[p.port].Domains {
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
	if len(f.missing) == 0 || p.app == "" {
		return false
	}
	_, ok := f.missing[clusterName(p.app, p.port)]
	return ok
}

// refusesAny reports whether parts may be left out of a resource.
func (f *fleetState) refusesAny(key xds.Key) bool { return len(f.refused[key])+len(f.missing) > 0 }

// markUsers marks what leaves out an app port until its cluster is there.
func (f *fleetState) markUsers(cluster string) {
	id, port := splitClusterName(cluster)
	app := f.c.routed(id)
	if app == nil || port < 0 || port >= len(app.Ports) {
		return
	}
	for _, domain := range app.Ports[port].Domains {
		if len(f.domains.claims[domain]) > 0 {
			f.mark(xds.Scope, domain)
			f.doubtDomain(domain)
		}
		if len(f.services.names[domain]) > 0 {
			f.mark(xds.Listener, httpsListener)
			f.services.named = true
		}
	}
}

// claimsOn returns the claims on a domain, without the routes of those that are
// left out.
func (f *fleetState) claimsOn(domain string) []claim {
	claims, key := f.domains.claims[domain], xds.Key{Type: xds.Scope, Name: domain}
	if !f.refusesAny(key) {
		return claims
	}
	return withoutRoutes(claims, func(c claim) bool { return f.refuses(key, part{app: c.app, port: c.port}) })
}

// withoutRoutes returns the claims; of those for which refused holds only what
// they want of ACME.
func withoutRoutes(claims []claim, refused func(claim) bool) []claim {
	kept := slices.Clone(claims)
	for i := range kept {
		kept[i].route = kept[i].route && !refused(kept[i])
	}
	return kept
}

// httpsParts returns what the https listener is made of, without what is left
// out: the certificates with the names that are left to them, and the services.
func (f *fleetState) httpsParts() ([]tlsChain, []service) {
	passed := f.passedThrough()
	chains := withoutNames(f.chains, passed)
	if f.refusesAny(httpsKey) {
		chains = slices.DeleteFunc(slices.Clone(chains), func(c tlsChain) bool { return f.refuses(httpsKey, part{secret: c.secret}) })
	}
	return withoutYielding(chains), passed
}

// passing returns the service that gets the TLS connections for a name: of those
// that want them the one with the lowest app id, then the lowest port. An app
// with a lower id that has the name in HTTP mode keeps them, and so do the
// certificates if the service is closed.
func (f *fleetState) passing(name string) (service, bool) {
	wanting := f.wantingTLS(name)
	if len(wanting) == 0 || wanting[0].closed {
		return service{}, false
	}
	_, held := holderBefore(f.domains.claims[name], wanting[0])
	return wanting[0], !held
}

// wantingTLS returns the services that want the TLS connections for a name, in
// order, without those that are left out.
func (f *fleetState) wantingTLS(name string) []service {
	wanting := f.services.names[name]
	if len(wanting) == 0 || !f.refusesAny(httpsKey) {
		return wanting
	}
	return slices.DeleteFunc(slices.Clone(wanting), func(s service) bool {
		return f.refuses(httpsKey, part{app: s.app, port: s.port})
	})
}

// holderBefore returns the claim by which another app keeps its domain from being
// passed through.
func holderBefore(claims []claim, s service) (claim, bool) {
	i := slices.IndexFunc(claims, func(c claim) bool { return c.route })
	if i < 0 || claims[i].app >= s.app {
		return claim{}, false
	}
	return claims[i], true
}

// passedThrough returns the services behind the https listener, each with the
// names that it got.
func (f *fleetState) passedThrough() []service {
	byCluster := make(map[string]service)
	for _, name := range slices.Sorted(maps.Keys(f.services.names)) {
		s, ok := f.passing(name)
		if !ok {
			continue
		}
		cluster := clusterName(s.app, s.port)
		s.names = append(byCluster[cluster].names, name)
		byCluster[cluster] = s
	}
	return slices.SortedFunc(maps.Values(byCluster), compareServices)
}
