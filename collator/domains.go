package collator

import (
	"slices"

	"relay/collator/routing"
	"relay/internal/hostname"
)

// domainIndex knows which app ports claim each domain of a fleet. Each domain has a
// scope of its own. One more scope, routing.WildcardsScope, lists the wildcard domains.
type domainIndex struct {
	claims map[string][]routing.Claim // by domain, sorted
	// under has the domains below each parent domain, wildcard domains included.
	under map[string]map[string]struct{}
	// passed are the names whose TLS a service wants passed through. They have scopes, too.
	passed map[string]struct{}
	// wildcardParents has "shop.test" where an app claims "*.shop.test", or wants its TLS.
	wildcardParents map[string]struct{}
	// acme is how many domains are claimed for ACME challenges.
	acme int
	// touch is called with each scope that has to be built again.
	touch func(scope string)
}

func newDomainIndex(touch func(scope string)) *domainIndex {
	return &domainIndex{
		claims: make(map[string][]routing.Claim), under: make(map[string]map[string]struct{}),
		passed: make(map[string]struct{}), wildcardParents: make(map[string]struct{}), touch: touch,
	}
}

// replace replaces the claims of one app on one domain, and reports whether anything
// changed.
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
	if slices.ContainsFunc(before, wantsACME) {
		x.acme--
	}
	after := slices.Replace(before, from, to, wanted...)
	if slices.ContainsFunc(after, wantsACME) {
		x.acme++
	}
	if len(after) > 0 {
		x.claims[domain] = after
	} else {
		delete(x.claims, domain)
	}
	x.file(domain, len(after) > 0)
	x.changed(domain)
	return true
}

// setPassed notes whether a service wants the TLS for a name passed through.
func (x *domainIndex) setPassed(name string, wanted bool) {
	if wanted {
		x.passed[name] = struct{}{}
	} else {
		delete(x.passed, name)
	}
	x.changed(name)
}

// exists reports whether a domain has a scope.
func (x *domainIndex) exists(domain string) bool {
	_, passed := x.passed[domain]
	return passed || len(x.claims[domain]) > 0
}

// changed has the scope of a domain built again, and that of all wildcard domains if one
// came or went.
func (x *domainIndex) changed(domain string) {
	if parent, ok := hostname.CutWildcard(domain); ok {
		x.setWildcard(parent, x.exists(domain))
	}
	x.touch(domain)
}

// file adds a domain to those below each of its parents, or removes it.
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

// setWildcard notes whether the wildcard domain of a parent has a scope.
func (x *domainIndex) setWildcard(parent string, exists bool) {
	if _, existed := x.wildcardParents[parent]; existed == exists {
		return
	}
	if exists {
		x.wildcardParents[parent] = struct{}{}
	} else {
		delete(x.wildcardParents, parent)
	}
	x.touch(routing.WildcardsScope)
}
