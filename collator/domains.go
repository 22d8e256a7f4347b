package collator

import (
	"cmp"
	"slices"
	"strings"

	"relay/sources"
)

// claim is what an app port wants of a domain.
type claim struct {
	app  string
	port int
	// route asks for the domain's requests: only one claim gets them.
	route bool
	// acme asks for its ACME challenges to be answered.
	acme     bool
	redirect bool
	// http is the port's; nil is the default of everything.
	http *sources.HTTP
}

func compareClaims(a, b claim) int {
	return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.port, b.port))
}

func equalClaims(a, b claim) bool {
	equal := a.http.Equal(b.http)
	a.http, b.http = nil, nil
	return equal && a == b
}

// claimsOf returns what the ports of a mapped app that a fleet routes want, by
// domain and ordered by port.
func claimsOf(app *sources.App, f Fleet) map[string][]claim {
	if app == nil {
		return nil
	}
	wanted := make(map[string][]claim)
	for i, port := range app.Ports {
		if !slices.Contains(port.Groups, f.Name) {
			continue
		}
		h := port.HTTP
		if f.cannotVerify(port) {
			closed := sources.HTTP{Closed: true}
			if h != nil {
				closed.Paths, closed.Order = h.Paths, h.Order
			}
			h = &closed
		}
		for _, domain := range port.Domains {
			if isTCP(port) {
				// Not routed; but the app may ask for a certificate of its own.
				if len(port.ACMEDomains) > 0 {
					wanted[domain] = append(wanted[domain], claim{app: app.ID, port: i, acme: true})
				}
				continue
			}
			wanted[domain] = append(wanted[domain], claim{
				app: app.ID, port: i, route: true,
				acme: len(port.ACMEDomains) > 0, redirect: port.RedirectToHTTPS || f.TLS.requiresCertificates(), http: h,
			})
		}
		for _, domain := range port.ACMEDomains {
			if _, routed := slices.BinarySearch(port.Domains, domain); !routed {
				wanted[domain] = append(wanted[domain], claim{app: app.ID, port: i, acme: true})
			}
		}
	}
	return wanted
}

// cannotVerify reports whether a port asks to verify certificates that nothing
// is there to verify with.
func (f Fleet) cannotVerify(port sources.Port) bool {
	return port.Upstream != nil && port.Upstream.TLS != nil && port.Upstream.TLS.Verify && len(f.UpstreamCA) == 0
}

// domainIndex knows who claims each domain of a fleet. Each has a scope of its
// own; one more leads from the hosts under a wildcard domain to that of the
// wildcard domain.
type domainIndex struct {
	claims map[string][]claim // by domain, sorted
	// under holds the domains below each parent domain, wildcard domains included.
	under map[string]map[string]struct{}
	// zones are the wildcard domains, without the "*.".
	zones map[string]struct{}
	// touch is told each scope that has to be built again.
	touch func(scope string)
}

func newDomainIndex(touch func(scope string)) *domainIndex {
	return &domainIndex{
		claims: make(map[string][]claim), under: make(map[string]map[string]struct{}),
		zones: make(map[string]struct{}), touch: touch,
	}
}

// cutWildcard returns the zone of a wildcard domain.
func cutWildcard(domain string) (zone string, ok bool) {
	return strings.CutPrefix(domain, wildcardPrefix)
}

// parents calls f with each parent domain, from the longest to the shortest,
// until f returns false.
func parents(domain string, f func(parent string) bool) {
	for {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok || !f(parent) {
			return
		}
		domain = parent
	}
}

// replace makes the claims of one app on one domain what is given. It reports
// whether anything changed.
func (x *domainIndex) replace(domain, app string, wanted []claim) bool {
	before := x.claims[domain]
	from, _ := slices.BinarySearchFunc(before, claim{app: app, port: -1}, compareClaims)
	to := from
	for to < len(before) && before[to].app == app {
		to++
	}
	if slices.EqualFunc(before[from:to], wanted, equalClaims) {
		return false
	}
	after := slices.Replace(before, from, to, wanted...)
	if len(after) > 0 {
		x.claims[domain] = after
	} else {
		delete(x.claims, domain)
	}
	if zone, ok := cutWildcard(domain); ok {
		x.setZone(zone, len(after) > 0)
	}
	x.file(domain, len(after) > 0)
	x.touch(domain)
	return true
}

// file records a domain under each of its parents, or forgets it.
func (x *domainIndex) file(domain string, exists bool) {
	parents(domain, func(parent string) bool {
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
	x.touch(wildcardsScope)
}
