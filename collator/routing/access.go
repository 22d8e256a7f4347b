package routing

import (
	"slices"

	"relay/sources"
)

// rootPath is the path of a rule that takes every request of its domain.
const rootPath = "/"

// DividedByPath reports whether the path of a request for a domain decides which rule takes
// it, if any does.
func DividedByPath(rules []Rule) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool {
		return r.Path.Prefix != rootPath || r.Path.Whole() ||
			slices.ContainsFunc(r.HTTP.Match, func(m sources.Match) bool { return len(m.NotPaths) > 0 })
	})
}

// Restricted reports whether a rule keeps some requests out.
func (r Rule) Restricted() bool {
	return r.HTTP.Closed || r.HTTP.BasicAuth != nil || len(r.HTTP.AllowedNetworks) > 0 || r.HTTP.SignOn != nil
}

// HasGuard reports whether requests to a path of the rule are handled in a way that must not be got around by another
// spelling of the path.
func (r Rule) HasGuard() bool { return r.Restricted() || r.HTTP.RequestLimits != nil }

// Guarded reports whether a rule has to take also paths that only an app takes for those of
// the rule, such as //admin for /admin: one of the later rules of the domain would let them
// in otherwise.
func (r Rule) Guarded(later []Rule) bool {
	return r.HasGuard() && (r.Path.Prefix != rootPath || r.Path.Whole()) &&
		slices.ContainsFunc(later, func(l Rule) bool {
			return !sameAccess(r.HTTP, l.HTTP) || !r.HTTP.RequestLimits.Equal(l.HTTP.RequestLimits)
		})
}
