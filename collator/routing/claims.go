package routing

import (
	"slices"

	"relay/sources"
)

// Claim is what an app port wants of a domain.
type Claim struct {
	AppPort
	// Route asks for the requests of the domain.
	Route bool
	// ACME asks for ACME challenges of the domain to be answered.
	ACME bool
	// Redirect asks for plain HTTP to be redirected to HTTPS.
	Redirect bool
	// Gated has requests wait until Relay lets them through.
	Gated bool
	// Separates has requests of clients that do not count go to an IgnoredCluster.
	Separates bool
	// Queued has requests wait while all instances are busy.
	Queued bool
	// HTTP says how requests are handled; nil is the default.
	HTTP *sources.HTTP
	// Maintenance is set if the app takes no requests for now, and Crashed if its tasks fail.
	Maintenance, Crashed bool
}

// CompareClaims orders claims by app id, then by port.
func CompareClaims(a, b Claim) int { return a.Compare(b.AppPort) }

// Equal reports whether two claims ask for the same.
func (c Claim) Equal(other Claim) bool {
	equal := c.HTTP.Equal(other.HTTP)
	c.HTTP, other.HTTP = nil, nil
	return equal && c == other
}

// ClaimsOf returns the claims of those ports of an app that the fleet routes, by domain,
// each list ordered by port. The app may be nil.
func (f *Fleet) ClaimsOf(app *sources.App) map[string][]Claim {
	if app == nil {
		return nil
	}
	wanted := make(map[string][]Claim)
	crashed := Crashed(app)
	for i, port := range app.Ports {
		if !slices.Contains(port.Groups, f.Name) {
			continue
		}
		h := port.HTTP
		if f.CannotVerify(port) {
			closed := sources.HTTP{Closed: true}
			if h != nil {
				closed.Paths, closed.Match, closed.Order = h.Paths, h.Match, h.Order
			}
			h = &closed
		}
		for _, domain := range port.Domains {
			if IsTCP(port) {
				// Not routed; but the app may ask for a certificate of its own.
				if len(port.ACMEDomains) > 0 {
					wanted[domain] = append(wanted[domain], Claim{AppPort: AppPort{app.ID, i}, ACME: true})
				}
				continue
			}
			wanted[domain] = append(wanted[domain], Claim{
				AppPort: AppPort{app.ID, i}, Route: true, Gated: f.gates(app), Separates: f.Separates(app, i), Queued: f.Queues(port),
				ACME: len(port.ACMEDomains) > 0, Redirect: port.RedirectToHTTPS || f.TLS.RequiresCertificates(), HTTP: h,
				Maintenance: app.Maintenance, Crashed: crashed,
			})
		}
		for _, domain := range port.ACMEDomains {
			if _, routed := slices.BinarySearch(port.Domains, domain); !routed {
				wanted[domain] = append(wanted[domain], Claim{AppPort: AppPort{app.ID, i}, ACME: true})
			}
		}
	}
	return wanted
}

// WithoutRoutes returns the claims, of which those that are left out ask at most for ACME
// challenges.
func WithoutRoutes(claims []Claim, leftOut func(Claim) bool) []Claim {
	rest := slices.Clone(claims)
	for i := range rest {
		rest[i].Route = rest[i].Route && !leftOut(rest[i])
	}
	return rest
}
