package collator

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

// CannotVerify reports whether a port asks to verify certificates that nothing
// is there to verify with.
func (f *Fleet) CannotVerify(port sources.Port) bool {
	return port.Upstream != nil && port.Upstream.TLS != nil && port.Upstream.TLS.Verify && len(f.UpstreamCA) == 0
}

// domainIndex knows who claims each domain of a fleet. Each has a scope of its
// own; one more leads from the hosts under a wildcard domain to that of the
// wildcard domain.
type domainIndex struct {
	claims map[string][]Claim // by domain, sorted
	// under holds the domains below each parent domain, wildcard domains included.
	under map[string]map[string]struct{}
	// zones are the wildcard domains, without the "*.".
	zones map[string]struct{}
	// touch is told each scope that has to be built again.
	touch func(scope string)
}

func newDomainIndex(touch func(scope string)) *domainIndex {
	return &domainIndex{
		claims: make(map[string][]Claim), under: make(map[string]map[string]struct{}),
		zones: make(map[string]struct{}), touch: touch,
	}
}

// replace makes the claims of one app on one domain what is given. It reports
// whether anything changed.
func (x *domainIndex) replace(domain, app string, wanted []Claim) bool {
	before := x.claims[domain]
	from, _ := slices.BinarySearchFunc(before, Claim{AppPort: AppPort{app, -1}}, CompareClaims)
	to := from
	for to < len(before) && before[to].App == app {
		to++
	}
	if slices.EqualFunc(before[from:to], wanted, Claim.Equal) {
		return false
	}
	after := slices.Replace(before, from, to, wanted...)
	if len(after) > 0 {
		x.claims[domain] = after
	} else {
		delete(x.claims, domain)
	}
	if zone, ok := CutWildcard(domain); ok {
		x.setZone(zone, len(after) > 0)
	}
	x.file(domain, len(after) > 0)
	x.touch(domain)
	return true
}

// file records a domain under each of its parents, or forgets it.
func (x *domainIndex) file(domain string, exists bool) {
	Parents(domain, func(parent string) bool {
		set := x.under[parent]
		switch {
		case exists && set == nil:
			x.under[parent] = map[string]struct{}{domain: {}}
		case exists:
			set[domain] = struct{}{}
		default:
			delete(set, domain)
			if len(set) == 0 {
				delete(x.under, parent)
			}
		}
		return true
	})
}

// setZone records that a wildcard domain exists or not.
func (x *domainIndex) setZone(zone string, exists bool) {
	if _, existed := x.zones[zone]; existed == exists {
		return
	}
	if exists {
		x.zones[zone] = struct{}{}
	} else {
		delete(x.zones, zone)
	}
	x.touch(WildcardsScope)
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
