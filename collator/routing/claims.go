package routing

import (
	"slices"

	"relay/sources"
)

// Claim is what an app port wants of a domain.
type Claim struct {
	AppPort
	// Route asks for the domain's requests: only one claim gets them.
	Route bool
	// ACME asks for its ACME challenges to be answered.
	ACME     bool
	Redirect bool
	// HTTP is the port's; nil is the default of everything.
	HTTP *sources.HTTP
}

// CompareClaims orders claims by app id, then by port.
func CompareClaims(a, b Claim) int { return a.Compare(b.AppPort) }

// Equal reports whether two claims ask for the same.
func (c Claim) Equal(other Claim) bool {
	equal := c.HTTP.Equal(other.HTTP)
	c.HTTP, other.HTTP = nil, nil
	return equal && c == other
}

// ClaimsOf returns what the ports of a mapped app that a fleet routes want, by
// domain and ordered by port.
func (f *Fleet) ClaimsOf(app *sources.App) map[string][]Claim {
	if app == nil {
		return nil
	}
	wanted := make(map[string][]Claim)
	for i, port := range app.Ports {
		if !slices.Contains(port.Groups, f.Name) {
			continue
		}
		h := port.HTTP
		if f.CannotVerify(port) {
			closed := sources.HTTP{Closed: true}
			if h != nil {
				closed.Paths, closed.Order = h.Paths, h.Order
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
				AppPort: AppPort{app.ID, i}, Route: true,
				ACME: len(port.ACMEDomains) > 0, Redirect: port.RedirectToHTTPS || f.TLS.RequiresCertificates(), HTTP: h,
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

// WithoutRoutes returns the claims; of those for which refused holds only what
// they want of ACME.
func WithoutRoutes(claims []Claim, refused func(Claim) bool) []Claim {
	kept := slices.Clone(claims)
	for i := range kept {
		kept[i].Route = kept[i].Route && !refused(kept[i])
	}
	return kept
}
