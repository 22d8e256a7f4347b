package routing

import (
	"slices"
)

// DomainRoutes returns what the fleet does with the requests for a domain, given all
// claims on it.
func (f *Fleet) DomainRoutes(domain string, claims []Claim) DomainRoutes {
	routes := DomainRoutes{Domain: domain}
	routes.Rules, _ = RulesOf(claims)
	for i := range routes.Rules {
		routes.Rules[i].Domain = domain
	}
	if slices.ContainsFunc(claims, func(c Claim) bool { return c.ACME }) {
		routes.ACMECluster = ClusterName(f.ACMEApp, 0)
	}
	return routes
}

// DomainRoutes says what becomes of the requests for a domain.
type DomainRoutes struct {
	Domain string
	// Rules are tried in order. What no rule takes gets 404.
	Rules []Rule
	// Passed is set if TLS for the domain is passed through. Then a request by https came
	// on a connection for another name.
	Passed bool
	// ACMECluster takes ACME challenges by plain HTTP; empty for none.
	ACMECluster string
	// Tailed has Envoys report every request for the domain.
	Tailed bool
}
