package explain

import (
	"fmt"
	"slices"

	"relay/collator"
	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/sources"
)

// Domain is what a fleet does with the requests for a domain.
type Domain struct {
	Fleet string `json:"fleet"`
	// Host is what was asked about. Domain is the domain that answers for it: the same, or
	// a wildcard domain above it. The scope, which has the routes, is named like Domain.
	Host   string `json:"host"`
	Domain string `json:"domain"`
	// Rules are all claims, in the order in which they are tried.
	Rules []Rule `json:"rules,omitempty"`
	// ACMECluster takes ACME challenges on plain HTTP; empty for none.
	ACMECluster string `json:"acmeCluster,omitempty"`
	HTTPS       HTTPS  `json:"https"`
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

// Rule is what an app port asks for: the requests whose path has a prefix.
type Rule struct {
	App        string `json:"app"`
	Port       int    `json:"port"`
	Path       string `json:"path"`
	IgnoreCase bool   `json:"ignoreCase,omitempty"`
	// Exact is set if the path is no prefix but the whole. Pattern, if there is one, is a regular
	// expression that it must fit.
	Exact   bool   `json:"exact,omitempty"`
	Pattern string `json:"pattern,omitempty"`
	// Order is that of HAPROXY_n_BACKEND_WEIGHT: the largest is tried first.
	Order   int     `json:"order"`
	Outcome Outcome `json:"outcome"`
	// Reason is why.
	Reason string `json:"reason"`
	// Targets are the clusters that take the requests, and their shares. By
	// RELAY_n_CLUSTER_WEIGHT a rule that serves has those of other apps, too.
	Targets []Target `json:"targets,omitempty"`
	// Handling says in words what happens to requests besides being forwarded.
	Handling []string `json:"handling,omitempty"`
	// AllowedNetworks are those of the clients that are let in; empty for all clients.
	AllowedNetworks []string `json:"allowedNetworks,omitempty"`
}

// Target is a cluster and its share of the requests.
type Target struct {
	Cluster string `json:"cluster"`
	Weight  uint32 `json:"weight"`
}

// view returns what a fleet does with a host, and the claims of which that is made; nil if
// no app claims the host there. on has the claims on the host and on the wildcards above
// it. passes is as in explainHTTPS.
func (x explainer) view(on map[string][]routing.Claim, f *routing.Fleet, host string, passes func(name string) bool) (*Domain, []routing.Claim) {
	view, claims := viewDomain(on, f, host, x.c.TakingNew)
	if view == nil {
		return nil, nil
	}
	if slices.ContainsFunc(claims, func(c routing.Claim) bool { return c.ACME }) {
		view.ACMECluster = routing.ClusterName(f.ACMEApp, 0)
	}
	known := x.CertificatesKnown
	view.HTTPS = explainHTTPS(f, host, x.Certificates, x.Time, known, passes)
	if rules, _ := routing.RulesOf(claims); known && f.HasHTTPS() && len(view.HTTPS.Notes) > 0 && slices.ContainsFunc(rules, func(r routing.Rule) bool { return r.Redirect }) {
		view.HTTPS.Notes = append(view.HTTPS.Notes, "clients of plain http are redirected to it all the same")
	}
	return view, claims
}

// viewDomain finds the domain that answers for a host: the host itself, or the longest
// wildcard domain above it. instances says how many of a cluster take new requests.
func viewDomain(claims map[string][]routing.Claim, f *routing.Fleet, host string, instances func(cluster string) int) (*Domain, []routing.Claim) {
	wildcard := ""
	for _, name := range hostname.Candidates(host)[1:] {
		if len(claims[name]) > 0 && wildcard == "" {
			wildcard = name
		}
	}
	view := &Domain{Fleet: f.Name, Host: host, Domain: host}
	if len(claims[host]) == 0 {
		// A wildcard domain that nobody claims is no host that could be asked for.
		if _, isWildcard := hostname.CutWildcard(host); isWildcard || wildcard == "" {
			return nil, nil
		}
		view.Domain = wildcard
	}
	answering, refused := usable(f, view.Domain, claims[view.Domain])
	view.Rules = append(ruleViews(f, answering, instances), refused...)
	view.Notes = domainNotes(view, wildcard)
	return view, answering
}

// usable returns the claims on a domain of which its scope is made, and views of
// those that are left out of it.
func usable(f *routing.Fleet, domain string, claims []routing.Claim) ([]routing.Claim, []Rule) {
	used, leftOut := collator.UsableClaims(f, domain, claims)
	var views []Rule
	for _, c := range claims {
		if err := leftOut[c.AppPort]; err != nil {
			for _, r := range routing.Candidates([]routing.Claim{c}) {
				views = append(views, ruleView(r, Loses, "it is left out of the domain: "+err.Error()))
			}
		}
	}
	return used, views
}

// nameSet returns all names by which apps can claim the hosts: see hostname.Candidates.
func nameSet(hosts ...string) map[string]struct{} {
	names := make(map[string]struct{})
	for _, host := range hosts {
		for _, name := range hostname.Candidates(host) {
			names[name] = struct{}{}
		}
	}
	return names
}

// claimsOn returns the claims on the names, each list sorted.
func claimsOn(apps []*sources.App, f *routing.Fleet, names map[string]struct{}) map[string][]routing.Claim {
	found := make(map[string][]routing.Claim)
	for _, app := range apps {
		if !mentions(app, names) {
			continue
		}
		for name, claims := range f.ClaimsOf(app) {
			if _, asked := names[name]; asked {
				found[name] = append(found[name], claims...)
			}
		}
	}
	for name := range found {
		slices.SortFunc(found[name], routing.CompareClaims)
	}
	return found
}

// mentions reports whether an app claims one of the names.
func mentions(app *sources.App, names map[string]struct{}) bool {
	named := func(domain string) bool {
		_, ok := names[domain]
		return ok
	}
	return slices.ContainsFunc(app.Ports, func(p sources.Port) bool {
		return slices.ContainsFunc(p.Domains, named) || slices.ContainsFunc(p.ACMEDomains, named)
	})
}

// ruleViews returns the rules that serve, in the order in which they are tried, and then
// those that lose.
func ruleViews(f *routing.Fleet, claims []routing.Claim, instances func(cluster string) int) []Rule {
	rules, losses := routing.RulesOf(claims)
	routing.ByInstances(rules, instances)
	var views []Rule
	for _, r := range rules {
		v := ruleView(r, Serves, winReason(r, losses))
		v.Handling = handlingWords(f, r)
		for _, network := range r.HTTP.AllowedNetworks {
			v.AllowedNetworks = append(v.AllowedNetworks, network.String())
		}
		for _, t := range r.Targets {
			v.Targets = append(v.Targets, Target{t.Cluster, t.Weight})
		}
		views = append(views, v)
	}
	for _, l := range losses {
		views = append(views, ruleView(l.Rule, Loses, l.String()))
	}
	return views
}

func ruleView(r routing.Rule, outcome Outcome, reason string) Rule {
	return Rule{
		App: r.Claim.App, Port: r.Claim.Port, Path: r.Path.Prefix, Exact: r.Path.Exact, Pattern: r.Path.Pattern, IgnoreCase: r.Path.IgnoreCase,
		Order: r.Order, Outcome: outcome, Reason: reason,
	}
}

// winReason says why a rule serves, and not those that lose to it.
func winReason(r routing.Rule, losses []routing.Loss) string {
	lost, larger := 0, false
	for _, l := range losses {
		if routing.CompareClaims(l.To.Claim, r.Claim) == 0 && l.To.Path == r.Path {
			lost++
			larger = larger || r.Order > l.Rule.Order
		}
	}
	switch {
	case len(r.Targets) > 1 && r.HTTP.Service != "":
		return fmt.Sprintf("%d apps share it by their instances, as all serve %q; the one with the lowest app id says how requests are handled", len(r.Targets), r.HTTP.Service)
	case len(r.Targets) > 1:
		return fmt.Sprintf("%d ports with a RELAY_n_CLUSTER_WEIGHT share it; the one with the lowest app id says how requests are handled", len(r.Targets))
	case lost == 0:
		return "no other port claims it"
	case larger:
		return "it has the largest HAPROXY_n_BACKEND_WEIGHT of those that claim it"
	}
	return "it has the lowest app id, then the lowest port, of those that claim it"
}

// domainNotes says what is easily overlooked. wildcard is the wildcard domain that would
// answer for the host if no app claimed it; empty for none.
func domainNotes(view *Domain, wildcard string) []string {
	var notes []string
	switch serving := slices.ContainsFunc(view.Rules, func(r Rule) bool { return r.Outcome == Serves }); {
	case !serving:
		notes = append(notes, "only ACME challenges are answered; everything else gets 404")
	case !slices.ContainsFunc(view.Rules, func(r Rule) bool { return r.Outcome == Serves && r.Path == "/" }):
		notes = append(notes, "paths that no rule has get 404")
	}
	if _, isWildcard := hostname.CutWildcard(view.Domain); wildcard != "" && !isWildcard {
		notes = append(notes, "the exact name counts before "+wildcard+", for all paths")
	}
	return notes
}
