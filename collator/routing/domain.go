package routing

import (
	"slices"
)

// DomainRoutes returns what a fleet does with the requests for a domain, on
// which there are these claims.
func (f *Fleet) DomainRoutes(domain string, claims []Claim) DomainRoutes {
	routes := DomainRoutes{Domain: domain}
	routes.Rules, _ = RulesOf(claims)
	if slices.ContainsFunc(claims, func(c Claim) bool { return c.ACME }) {
		routes.ACMECluster = ClusterName(f.ACMEApp, 0)
	}
	return routes
}

// DomainRoutes is what a domain does.
type DomainRoutes struct {
	Domain string
	// Rules are tried in order; what none takes gets 404.
	Rules []Rule
	// ACMECluster takes ACME challenges on plain HTTP; empty for none.
	ACMECluster string
}
