package routing

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"relay/credentials"
	"relay/sources"
)

// Rule is what happens to the requests of a domain whose path has a prefix.
type Rule struct {
	// Domain is the one whose requests it takes, exact or a wildcard.
	Domain string
	Path   sources.Path
	// Redirect has plain HTTP redirected to HTTPS.
	Redirect bool
	// HTTP says how requests are handled, as the first claim asks for it.
	HTTP sources.HTTP
	// Targets share the requests.
	Targets []Target
	// Claim and Order are those of the first claim.
	Claim Claim
	Order int
	// Tailed has Envoys report the requests that the rule takes.
	Tailed bool
	// Credentials are those that HTTP names, by their names, as they are now; none for one that is not there, which
	// lets nobody in.
	Credentials map[string]*credentials.Credential
	// References are the ports of other apps that HTTP names. One that is missing cannot be used.
	References map[sources.AppRef]Reference
}

// MaxWeight is the largest share of requests: Envoy adds them up in 32 bits.
const MaxWeight = 10_000

// Target is a cluster and its share of a rule's requests.
type Target struct {
	Cluster string
	Weight  uint32
	// Maintenance and Crashed are those of the claim.
	Maintenance, Crashed bool
	// Gated has its share wait until Relay lets it through, as the app sleeps or is about to.
	Gated bool
	// Separates has the requests of clients that do not count go to an IgnoredCluster.
	Separates bool
	// Queued has its share wait until Relay names the instance that takes it.
	Queued bool
}

// Loss is a rule that no request reaches, because of the rule To.
type Loss struct{ Rule, To Rule }

// RulesOf returns what becomes of the requests for a domain, given the claims on it in
// order. Rules are tried in the order returned: first the largest Order, then the lowest
// app id, then the lowest port. The health of apps does not count, so every replica
// decides alike. A rule that no request could reach is a loss.
func RulesOf(claims []Claim) (rules []Rule, losses []Loss) {
	seen := prefixes{exact: make(map[string]int), folded: make(map[string]int), matched: make(map[sources.Path][]int)}
	for _, c := range Candidates(claims) {
		i, covered := seen.covering(c, rules)
		switch {
		case !covered:
			seen.add(c, len(rules))
			rules = append(rules, c)
		case rules[i].asks(c) && rules[i].shares(c):
			rules[i].Targets = append(rules[i].Targets, c.Targets...)
		case CompareClaims(rules[i].Claim, c.Claim) != 0:
			losses = append(losses, Loss{c, rules[i]})
		}
	}
	for i, r := range rules {
		rules[i].Targets = withoutMaintenance(r.Targets)
	}
	return rules, losses
}

// Candidates returns a rule for each path of each claim, in the order in which they would
// be tried.
func Candidates(claims []Claim) []Rule {
	var all []Rule
	for _, c := range claims {
		if !c.Route {
			continue
		}
		r := Rule{Claim: c, Redirect: c.Redirect}
		if c.HTTP != nil {
			r.HTTP, r.Order = *c.HTTP, c.HTTP.Order
		}
		share := uint32(1)
		if r.HTTP.ClusterWeight != nil {
			share = min(*r.HTTP.ClusterWeight, MaxWeight)
		}
		r.Targets = []Target{{Cluster: c.Cluster(), Weight: share, Maintenance: c.Maintenance, Crashed: c.Crashed, Gated: c.Gated, Separates: c.Separates, Queued: c.Queued}}
		paths := r.HTTP.Paths
		if paths == nil {
			paths = []sources.Path{{Prefix: "/"}}
		}
		for _, path := range paths {
			one := r
			one.Path = path
			one.Targets = slices.Clone(r.Targets)
			all = append(all, one)
		}
	}
	slices.SortStableFunc(all, func(a, b Rule) int { return cmp.Compare(b.Order, a.Order) })
	return all
}

// shares reports whether a later rule gets a share of the requests of this one. Both must
// be restricted alike: the restrictions of the first hold for all requests. Where people sign on, both must be of one
// tenant, too: the first one decides which credentials its names mean, and which headers the instances of both get.
// So must those that name a service: anybody may call his own alike.
func (r Rule) shares(later Rule) bool {
	return r.wantsShare(later) && sameAccess(r.HTTP, later.HTTP) && (r.HTTP.SignOn == nil && r.HTTP.Service == "" || sameTenant(r.Claim.App, later.Claim.App))
}

// sameTenant reports whether what is routed under two names is known to be of one tenant. Anybody may call a deployment as he
// likes.
func sameTenant(a, b string) bool {
	return a == b || strings.HasPrefix(a, "/") && strings.HasPrefix(b, "/") && sources.TopFolder(a) == sources.TopFolder(b)
}

// asks reports whether both rules ask for the same requests.
func (r Rule) asks(other Rule) bool {
	return r.Path == other.Path && sameMatch(r.HTTP.Match, other.HTTP.Match)
}

func (r Rule) wantsShare(later Rule) bool {
	return r.Order == later.Order && r.HTTP.ClusterWeight != nil && later.HTTP.ClusterWeight != nil && r.HTTP.Service == later.HTTP.Service &&
		(r.HTTP.Service == "" || !r.has(later.Claim.App))
}

// has reports whether an app takes a share of the requests.
func (r Rule) has(app string) bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool {
		id, _ := SplitClusterName(t.Cluster)
		return id == app
	})
}

// ByInstances has the apps that serve something together share its requests as their instances do: instances says how
// many of a port take new requests. Without any the first app has them all.
func ByInstances(rules []Rule, instances func(cluster string) int) {
	for _, r := range rules {
		if r.HTTP.Service == "" || len(r.Targets) < 2 {
			continue
		}
		for j := range r.Targets {
			t := &r.Targets[j]
			t.Weight = uint32(min(uint64(t.Weight)*uint64(instances(t.Cluster)), MaxWeight))
		}
	}
}

func sameAccess(a, b sources.HTTP) bool {
	return a.Closed == b.Closed && reflect.DeepEqual(a.BasicAuth, b.BasicAuth) && slices.Equal(a.AllowedNetworks, b.AllowedNetworks) &&
		reflect.DeepEqual(a.SignOn, b.SignOn)
}

// String says what is lost, to whom, and why.
func (l Loss) String() string {
	what, first := "the domain", l.To.Claim
	if l.Rule.Path.Prefix != "/" {
		what = "the path " + l.Rule.Path.Prefix
	}
	lost := fmt.Sprintf("port %d does not get %s: port %d of %s has ", l.Rule.Claim.Port, what, first.Port, first.App)
	switch {
	case !l.To.asks(l.Rule):
		return lost + l.To.Path.Prefix + ", which takes these requests before (the largest HAPROXY_n_BACKEND_WEIGHT is asked first)"
	case l.To.Order != l.Rule.Order:
		return lost + "it (the largest HAPROXY_n_BACKEND_WEIGHT wins)"
	case l.To.wantsShare(l.Rule) && sameAccess(l.To.HTTP, l.Rule.HTTP) && l.To.HTTP.Service != "":
		return lost + "it, and is in another top-level folder, so that the services are two, though both are called " + strconv.Quote(l.To.HTTP.Service)
	case l.To.wantsShare(l.Rule) && sameAccess(l.To.HTTP, l.Rule.HTTP):
		return lost + "it, is in another top-level folder, and people sign on there, so that they cannot share it"
	case l.To.wantsShare(l.Rule):
		return lost + "it, with another password or other networks, so that they cannot share it"
	}
	return lost + "it (the lowest app id wins, then the lowest port)"
}
