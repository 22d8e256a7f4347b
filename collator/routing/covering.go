package routing

import (
	"reflect"
	"strings"

	"relay/sources"
)

// prefixes finds the rule that takes all requests of another one.
type prefixes struct {
	exact, folded map[string]int
	// matched has the rules that take no more than a part of what the path says: one takes all requests
	// of another only if both ask for the same.
	matched map[sources.Path][]int
}

func sameMatch(a, b []sources.Match) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

func (p prefixes) add(r Rule, rule int) {
	switch path := r.Path; {
	case len(r.HTTP.Match) > 0 || path.Whole():
		p.matched[path] = append(p.matched[path], rule)
	case path.IgnoreCase:
		p.folded[strings.ToLower(path.Prefix)] = rule
	default:
		p.exact[path.Prefix] = rule
	}
}

// covering returns the first rule that takes all requests of another: its prefix begins the path, or
// it asks for the same.
func (p prefixes) covering(r Rule, rules []Rule) (rule int, ok bool) {
	path := r.Path
	lower := strings.ToLower(path.Prefix)
	consider := func(i int, found bool) {
		if found && (!ok || i < rule) {
			rule, ok = i, true
		}
	}
	for n := 1; n <= len(path.Prefix); n++ {
		i, found := p.exact[path.Prefix[:n]]
		// A prefix for which case counts does not cover a path for which it does not,
		// unless the prefix has no letters.
		consider(i, found && (!path.IgnoreCase || strings.ToUpper(lower[:n]) == lower[:n]))
		i, found = p.folded[lower[:n]]
		consider(i, found)
	}
	for _, i := range p.matched[path] {
		consider(i, len(rules[i].HTTP.Match) == 0 || rules[i].asks(r))
	}
	return rule, ok
}
