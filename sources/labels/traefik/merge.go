package traefik

import (
	"reflect"
	"slices"
	"strings"

	"relay/sources"
)

// merged puts together routes that differ in one thing only.
func merged(routes []route) []route {
	routes = join(routes, func(a, b route) bool {
		a.domains, b.domains = nil, nil
		return reflect.DeepEqual(a, b)
	}, func(to *route, from route) {
		to.domains = append(slices.Clone(to.domains), from.domains...)
		slices.Sort(to.domains)
		to.domains = slices.Compact(to.domains)
	})
	routes = join(routes, func(a, b route) bool {
		a.paths, b.paths = nil, nil
		return reflect.DeepEqual(a, b)
	}, func(to *route, from route) {
		if to.paths == nil || from.paths == nil {
			to.paths = nil
			return
		}
		to.paths = append(slices.Clone(to.paths), from.paths...)
		slices.SortFunc(to.paths, func(a, b sources.Path) int { return strings.Compare(a.Prefix+a.Pattern, b.Prefix+b.Pattern) })
		to.paths = slices.Compact(to.paths)
	})
	return join(routes, func(a, b route) bool {
		a.match, b.match = nil, nil
		return reflect.DeepEqual(a, b)
	}, func(to *route, from route) {
		if to.match == nil || from.match == nil {
			to.match = nil
			return
		}
		to.match = append(slices.Clone(to.match), from.match...)
	})
}

func join(routes []route, alike func(a, b route) bool, add func(to *route, from route)) (all []route) {
	for _, r := range routes {
		if i := slices.IndexFunc(all, func(other route) bool { return alike(r, other) }); i >= 0 {
			add(&all[i], r)
			continue
		}
		all = append(all, r)
	}
	return all
}
