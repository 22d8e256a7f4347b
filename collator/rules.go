package collator

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"relay/sources"
)

// rule is what happens to the requests of a domain whose path has a prefix.
type rule struct {
	path     sources.Path
	redirect bool // plain HTTP to HTTPS
	// http is how requests are handled, by the first claim's word.
	http    sources.HTTP
	targets []target
	// claim and order are of the first claim.
	claim claim
	order int
}

// target is a cluster and its share of a rule's requests.
type target struct {
	cluster string
	weight  uint32
}

// loss is a rule that no request reaches, because of another.
type loss struct{ rule, to rule }

// rulesOf returns what becomes of the requests of a domain, in the order in which
// rules are tried: that of the largest order first, then the lowest app id, then the
// lowest port, whatever the health of the apps, so that every replica decides
// alike. A rule that no request could reach is a loss instead.
func rulesOf(claims []claim) (rules []rule, losses []loss) {
	seen := prefixes{exact: make(map[string]int), folded: make(map[string]int)}
	for _, c := range candidates(claims) {
		i, covered := seen.covering(c.path)
		switch {
		case !covered:
			seen.add(c.path, len(rules))
			rules = append(rules, c)
		case rules[i].path == c.path && rules[i].shares(c):
			rules[i].targets = append(rules[i].targets, c.targets...)
		case compareClaims(rules[i].claim, c.claim) != 0:
			losses = append(losses, loss{c, rules[i]})
		}
	}
	return rules, losses
}

// candidates returns one rule for each path of each claim, in order.
func candidates(claims []claim) []rule {
	var all []rule
	for _, c := range claims {
		if !c.route {
			continue
		}
		r := rule{claim: c, redirect: c.redirect}
		if c.http != nil {
			r.http, r.order = *c.http, c.http.Order
		}
		share := uint32(1)
		if r.http.ClusterWeight != nil {
			share = min(*r.http.ClusterWeight, maxWeight)
		}
		r.targets = []target{{clusterName(c.app, c.port), share}}
		paths := r.http.Paths
		if paths == nil {
			paths = []sources.Path{{Prefix: "/"}}
		}
		for _, path := range paths {
			one := r
			one.path = path
			one.targets = slices.Clone(r.targets)
			all = append(all, one)
		}
	}
	slices.SortStableFunc(all, func(a, b rule) int { return cmp.Compare(b.order, a.order) })
	return all
}

// shares reports whether a later claim gets a share of the rule's requests. It
// must be as restricted: the rule's own restrictions hold for all of them.
func (r rule) shares(later rule) bool {
	return r.wantsShare(later) && sameAccess(r.http, later.http)
}

func (r rule) wantsShare(later rule) bool {
	return r.order == later.order && r.http.ClusterWeight != nil && later.http.ClusterWeight != nil
}

func sameAccess(a, b sources.HTTP) bool {
	return a.Closed == b.Closed && reflect.DeepEqual(a.BasicAuth, b.BasicAuth) && slices.Equal(a.AllowedNetworks, b.AllowedNetworks)
}

// String says what is lost, to whom, and why.
func (l loss) String() string {
	what, first := "the domain", l.to.claim
	if l.rule.path.Prefix != "/" {
		what = "the path " + l.rule.path.Prefix
	}
	lost := fmt.Sprintf("port %d does not get %s: port %d of %s has ", l.rule.claim.port, what, first.port, first.app)
	switch {
	case l.to.path != l.rule.path:
		return lost + l.to.path.Prefix + ", which takes these requests before (the largest HAPROXY_n_BACKEND_WEIGHT is asked first)"
	case l.to.order != l.rule.order:
		return lost + "it (the largest HAPROXY_n_BACKEND_WEIGHT wins)"
	case l.to.wantsShare(l.rule):
		return lost + "it, with another password or other networks, so that they cannot share it"
	}
	return lost + "it (the lowest app id wins, then the lowest port)"
}

// prefixes finds the rule that takes all requests of a path.
type prefixes struct{ exact, folded map[string]int }

func (p prefixes) add(path sources.Path, rule int) {
	if path.IgnoreCase {
		p.folded[strings.ToLower(path.Prefix)] = rule
	} else {
		p.exact[path.Prefix] = rule
	}
}

// covering returns the first rule whose prefix begins the path.
func (p prefixes) covering(path sources.Path) (rule int, ok bool) {
	lower := strings.ToLower(path.Prefix)
	consider := func(i int, found bool) {
		if found && (!ok || i < rule) {
			rule, ok = i, true
		}
	}
	for n := 1; n <= len(path.Prefix); n++ {
		i, found := p.exact[path.Prefix[:n]]
		// One that minds the case does not cover one that does not, unless it
		// has no letters.
		consider(i, found && (!path.IgnoreCase || strings.ToUpper(lower[:n]) == lower[:n]))
		i, found = p.folded[lower[:n]]
		consider(i, found)
	}
	return rule, ok
}
