package collator

import (
	"fmt"
	"slices"

	"relay/sources"
	"relay/xds"
)

// DomainView is what a fleet does with the requests for a domain.
type DomainView struct {
	Fleet string `json:"fleet"`
	// Host is what was asked about; Domain is the claimed domain that answers for
	// it, which is another when a wildcard domain does. Its scope, the resource
	// that holds the routes, has the same name.
	Host   string `json:"host"`
	Domain string `json:"domain"`
	// Rules are all claims, in the order in which they are tried.
	Rules []RuleView `json:"rules,omitempty"`
	// ACMECluster takes ACME challenges on plain HTTP; empty for none.
	ACMECluster string    `json:"acmeCluster,omitempty"`
	HTTPS       HTTPSView `json:"https"`
	// Notes say what is easily overlooked.
	Notes []string `json:"notes,omitempty"`
}

// Outcome is what becomes of a claim.
type Outcome string

// The outcomes.
const (
	Serves Outcome = "serves"
	Loses  Outcome = "loses"
)

// RuleView is what an app port asks for: the requests whose path has a prefix.
type RuleView struct {
	App        string `json:"app"`
	Port       int    `json:"port"`
	Path       string `json:"path"`
	IgnoreCase bool   `json:"ignoreCase,omitempty"`
	// Order is HAPROXY_n_BACKEND_WEIGHT: the largest is tried first.
	Order   int     `json:"order"`
	Outcome Outcome `json:"outcome"`
	// Reason is why.
	Reason string `json:"reason"`
	// Targets are the clusters that take the requests, and their shares. A rule
	// that serves may hold those of others with a RELAY_n_CLUSTER_WEIGHT.
	Targets []TargetView `json:"targets,omitempty"`
	// Handling says in words what happens to requests beside being forwarded.
	Handling []string `json:"handling,omitempty"`
}

// TargetView is a cluster and its share of the requests.
type TargetView struct {
	Cluster string `json:"cluster"`
	Weight  uint32 `json:"weight"`
}

// domainView returns what a fleet does with a host, and the claims on it, of those
// on all names under which it may be found; nil when no app claims it there.
// passes is as in explainHTTPS.
func (c *Collator) domainView(on map[string][]claim, f *fleetState, host string, passes func(name string) bool) (*DomainView, []claim) {
	view, claims := viewDomain(on, f, host)
	if view == nil {
		return nil, nil
	}
	if slices.ContainsFunc(claims, func(c claim) bool { return c.acme }) {
		view.ACMECluster = clusterName(f.acmeApp, 0)
	}
	known := c.certificatesSynced.Load()
	view.HTTPS = explainHTTPS(f.Fleet, host, *c.certificateViews.Load(), c.now(), known, passes)
	if rules, _ := rulesOf(claims); known && f.hasHTTPS() && len(view.HTTPS.Notes) > 0 && slices.ContainsFunc(rules, func(r rule) bool { return r.redirect }) {
		view.HTTPS.Notes = append(view.HTTPS.Notes, "clients of plain http are redirected to it all the same")
	}
	return view, claims
}

// viewDomain finds the domain that answers for a host: the host itself, or the
// wildcard domain with the longest name.
func viewDomain(claims map[string][]claim, f *fleetState, host string) (*DomainView, []claim) {
	wildcard := ""
	for _, name := range hostNames(host)[1:] {
		if len(claims[name]) > 0 && wildcard == "" {
			wildcard = name
		}
	}
	view := &DomainView{Fleet: f.Name, Host: host, Domain: host}
	if len(claims[host]) == 0 {
		// A wildcard domain that nobody claims is no host that could be asked for.
		if _, isWildcard := cutWildcard(host); isWildcard || wildcard == "" {
			return nil, nil
		}
		view.Domain = wildcard
	}
	answering, refused := f.scopes.usable(view.Domain, claims[view.Domain])
	view.Rules = append(ruleViews(f.Fleet, answering), refused...)
	view.Notes = domainNotes(view, wildcard)
	return view, answering
}

// hostNames returns the names under which a host may be found, be it claimed
// or covered by a certificate: its own, then wildcards, the longest first.
func hostNames(host string) []string {
	names := []string{host}
	parents(host, func(parent string) bool {
		if name := wildcardPrefix + parent; name != host {
			names = append(names, name)
		}
		return true
	})
	return names
}

// usable returns the claims on a domain of which its scope is made, and views of
// those that are left out of it (see refuse).
func (b scopeBuilder) usable(domain string, claims []claim) ([]claim, []RuleView) {
	rules, _ := rulesOf(claims)
	if b.tryRules(xds.Key{Type: xds.Scope, Name: domain}, rules) == nil {
		return claims, nil
	}
	refused := b.tryClaims(domain, claims)
	var views []RuleView
	for _, c := range claims {
		if err := refused[part{app: c.app, port: c.port}]; err != nil {
			for _, r := range candidates([]claim{c}) {
				views = append(views, ruleView(r, Loses, "it is left out of the domain: "+err.Error()))
			}
		}
	}
	return withoutRoutes(claims, func(c claim) bool { return refused[part{app: c.app, port: c.port}] != nil }), views
}

// nameSet returns all names under which hosts may be found.
func nameSet(hosts ...string) map[string]struct{} {
	names := make(map[string]struct{})
	for _, host := range hosts {
		for _, name := range hostNames(host) {
			names[name] = struct{}{}
		}
	}
	return names
}

// claimsOn returns the claims on the names, each list sorted.
func claimsOn(apps []*sources.App, f Fleet, names map[string]struct{}) map[string][]claim {
	found := make(map[string][]claim)
	for _, app := range apps {
		if !mentions(app, names) {
			continue
		}
		for name, claims := range claimsOf(app, f) {
			if _, asked := names[name]; asked {
				found[name] = append(found[name], claims...)
			}
		}
	}
	for name := range found {
		slices.SortFunc(found[name], compareClaims)
	}
	return found
}

func mentions(app *sources.App, names map[string]struct{}) bool {
	named := func(domain string) bool {
		_, ok := names[domain]
		return ok
	}
	return slices.ContainsFunc(app.Ports, func(p sources.Port) bool {
		return slices.ContainsFunc(p.Domains, named) || slices.ContainsFunc(p.ACMEDomains, named)
	})
}

// ruleViews returns what serves, in the order in which it is tried, and then
// what loses.
func ruleViews(f Fleet, claims []claim) []RuleView {
	rules, losses := rulesOf(claims)
	var views []RuleView
	for _, r := range rules {
		v := ruleView(r, Serves, winReason(r, losses))
		v.Handling = f.handlingWords(r)
		for _, t := range r.targets {
			v.Targets = append(v.Targets, TargetView{t.cluster, t.weight})
		}
		views = append(views, v)
	}
	for _, l := range losses {
		views = append(views, ruleView(l.rule, Loses, l.String()))
	}
	return views
}

func ruleView(r rule, outcome Outcome, reason string) RuleView {
	return RuleView{
		App: r.claim.app, Port: r.claim.port, Path: r.path.Prefix, IgnoreCase: r.path.IgnoreCase,
		Order: r.order, Outcome: outcome, Reason: reason,
	}
}

// winReason says why a rule is before those that it takes everything from.
func winReason(r rule, losses []loss) string {
	lost, larger := 0, false
	for _, l := range losses {
		if compareClaims(l.to.claim, r.claim) == 0 && l.to.path == r.path {
			lost++
			larger = larger || r.order > l.rule.order
		}
	}
	switch {
	case len(r.targets) > 1:
		return fmt.Sprintf("%d ports with a RELAY_n_CLUSTER_WEIGHT share it; the one with the lowest app id says how requests are handled", len(r.targets))
	case lost == 0:
		return "no other port claims it"
	case larger:
		return "it has the largest HAPROXY_n_BACKEND_WEIGHT of those that claim it"
	}
	return "it has the lowest app id, then the lowest port, of those that claim it"
}

// domainNotes is given the wildcard domain that would answer for the host if no
// port claimed it; "" for none.
func domainNotes(view *DomainView, wildcard string) []string {
	var notes []string
	switch serving := slices.ContainsFunc(view.Rules, func(r RuleView) bool { return r.Outcome == Serves }); {
	case !serving:
		notes = append(notes, "only ACME challenges are answered; everything else gets 404")
	case !slices.ContainsFunc(view.Rules, func(r RuleView) bool { return r.Outcome == Serves && r.Path == "/" }):
		notes = append(notes, "paths that no rule has get 404")
	}
	if _, isWildcard := cutWildcard(view.Domain); wildcard != "" && !isWildcard {
		notes = append(notes, "the exact name counts before "+wildcard+", for all paths")
	}
	return notes
}
