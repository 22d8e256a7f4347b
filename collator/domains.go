package collator

import (
	"slices"

	"relay/collator/routing"
	"relay/internal/hostname"
)

// domainIndex knows who claims each domain of a fleet. Each has a scope of its
// own; one more leads from the hosts under a wildcard domain to that of the
// wildcard domain.
type domainIndex struct {
	claims map[string][]routing.Claim // by domain, sorted
	// under holds the domains below each parent domain, wildcard domains included.
	under map[string]map[string]struct{}
	// zones are the wildcard domains, without the "*.".
	zones map[string]struct{}
	// touch is told each scope that has to be built again.
	touch func(scope string)
}

func newDomainIndex(touch func(scope string)) *domainIndex {
	return &domainIndex{
		claims: make(map[string][]routing.Claim), under: make(map[string]map[string]struct{}),
		zones: make(map[string]struct{}), touch: touch,
	}
}

// replace makes the claims of one app on one domain what is given. It reports
// whether anything changed.
func (x *domainIndex) replace(domain, app string, wanted []routing.Claim) bool {
	before := x.claims[domain]
	from, _ := slices.BinarySearchFunc(before, routing.Claim{AppPort: routing.AppPort{App: app, Port: -1}}, routing.CompareClaims)
	to := from
	for to < len(before) && before[to].App == app {
		to++
	}
	if slices.EqualFunc(before[from:to], wanted, routing.Claim.Equal) {
		return false
	}
	after := slices.Replace(before, from, to, wanted...)
	if len(after) > 0 {
		x.claims[domain] = after
	} else {
		delete(x.claims, domain)
	}
	if zone, ok := hostname.CutWildcard(domain); ok {
		x.setZone(zone, len(after) > 0)
	}
	x.file(domain, len(after) > 0)
	x.touch(domain)
	return true
}

// file records a domain under each of its parents, or forgets it.
func (x *domainIndex) file(domain string, exists bool) {
	for parent := range hostname.Parents(domain) {
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
	}
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
	x.touch(routing.WildcardsScope)
}
