package compare

import (
	"fmt"
	"slices"
	"strings"

	"relay/collator"
	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
)

// relaySide is what a fleet of Relay does, as the collator has it.
type relaySide struct {
	fleet    *routing.Fleet
	snapshot collator.Snapshot
	apps     map[string]collator.AppView // by the id in Marathon
	routed   map[string]*sources.App     // by the id under which fleets route it
	rules    map[string][]routing.Rule   // by domain
	losses   map[string][]routing.Loss
	leftOut  map[string]map[routing.AppPort]error
	services routing.ServiceIndex
	// uncovered says why clients of HTTPS have no certificate for a domain.
	uncovered map[string]string
}

func newRelaySide(c *collator.Collator, fleet *routing.Fleet) *relaySide {
	side := &relaySide{
		fleet: fleet, snapshot: c.Snapshot(), apps: make(map[string]collator.AppView), routed: make(map[string]*sources.App),
		rules: make(map[string][]routing.Rule), losses: make(map[string][]routing.Loss), leftOut: make(map[string]map[routing.AppPort]error),
		services: routing.NewServiceIndex(), uncovered: make(map[string]string),
	}
	uncovered, _ := c.UncoveredDomains()
	for _, u := range uncovered {
		if u.Fleet == fleet.Name {
			side.uncovered[u.Domain] = u.Reason
		}
	}
	for _, view := range c.Apps() {
		side.apps[view.ID] = view
	}
	claims := make(map[string][]routing.Claim)
	for _, app := range side.snapshot.Routed {
		side.routed[app.ID] = app
		for domain, all := range fleet.ClaimsOf(app) {
			claims[domain] = append(claims[domain], all...)
		}
		services, _ := fleet.ServicesOf(app.ID, app)
		for _, s := range services {
			side.services.Add(s)
		}
	}
	for domain, all := range claims {
		slices.SortFunc(all, routing.CompareClaims)
		usable, leftOut := collator.UsableClaims(fleet, domain, all)
		side.rules[domain], side.losses[domain] = routing.RulesOf(usable)
		side.leftOut[domain] = leftOut
		if len(side.rules[domain]) == 0 && len(side.services.Names[domain]) == 0 {
			delete(side.rules, domain)
		}
	}
	return side
}

// rule returns the rule that takes a request; nil if there is none. domain is the one that
// answers for the host, empty if none does.
func (s *relaySide) rule(host, path string) (rule *routing.Rule, domain string) {
	for _, name := range hostname.Candidates(host) {
		rules, known := s.rules[name]
		if !known {
			continue
		}
		for i, r := range rules {
			prefix := r.Path.Prefix
			if len(r.HTTP.Match) > 0 || r.Path.Pattern != "" || r.Path.Exact && len(path) != len(prefix) {
				continue // marathon-lb has none of these
			}
			if len(path) >= len(prefix) && (path[:len(prefix)] == prefix || r.Path.IgnoreCase && strings.EqualFold(path[:len(prefix)], prefix)) {
				return &rules[i], name
			}
		}
		return nil, name
	}
	return nil, ""
}

// redirects reports whether plain HTTP of a rule is redirected.
func (s *relaySide) redirects(r *routing.Rule) bool { return r.Redirect && s.fleet.OffersHTTPS() }

// passed returns the service to which TLS for a name is passed through.
func (s *relaySide) passed(name string) bool {
	return slices.ContainsFunc(hostname.Candidates(name), func(n string) bool { return len(s.services.Names[n]) > 0 })
}

// members are the ids in Marathon of what is routed under an id.
func (s *relaySide) members(routed string) []string { return s.snapshot.Members(routed) }

// is reports whether a cluster is that of a port of one of the apps.
func (s *relaySide) is(cluster string, members []string, port int) bool {
	id, index := routing.SplitClusterName(cluster)
	return index == port && slices.ContainsFunc(s.members(id), func(m string) bool { return slices.Contains(members, m) })
}

// named writes an app port for people, by the ids that Marathon has.
func (s *relaySide) named(cluster string) string {
	id, port := routing.SplitClusterName(cluster)
	return portName(s.members(id), port)
}

func portName(members []string, port int) string {
	return fmt.Sprintf("%s port %d", strings.Join(slices.Sorted(slices.Values(members)), " and "), port)
}

// port returns a port of one of the apps, as fleets route it.
func (s *relaySide) port(members []string, port int) (p sources.Port, ok bool) {
	for _, m := range members {
		view, known := s.apps[m]
		if known && view.Routed != nil && port < len(view.Routed.Ports) {
			return view.Routed.Ports[port], true
		}
	}
	return sources.Port{}, false
}

// why says why Relay does not serve a port of an app as its labels ask for, and what to do.
// about are the names of labels that may have to do with it.
func (s *relaySide) why(members []string, port int, host string, about ...string) (reason, do string) {
	for _, m := range members {
		view, known := s.apps[m]
		if !known {
			return "Relay did not read the app from Marathon", "see relay check"
		}
		if port >= len(view.Ports) {
			return fmt.Sprintf("for Relay the app declares %d ports: the n of a label is the position among all of them, also among those without a service port", len(view.Ports)), "look at the app's ports"
		}
		for _, p := range view.Problems {
			if concerns(p, port, about) && (host == "" || p.Kind != problem.Clash || p.Subject == host) {
				return joinWords(p.Subject, p.Reason), "change the label, see docs/labels.md"
			}
		}
		if !slices.Contains(view.Ports[port].Fleets, s.fleet.Name) {
			if groups := view.Ports[port].OtherGroups; len(groups) > 0 {
				return fmt.Sprintf("the groups of the port are %q, and the fleet is %q", groups, s.fleet.Name), "add the fleet to HAPROXY_GROUP"
			}
			return fmt.Sprintf("the fleet %q serves only what names it", s.fleet.Name), fmt.Sprintf("set HAPROXY_GROUP or HAPROXY_%d_GROUP to %s", port, s.fleet.Name)
		}
	}
	return "", ""
}

// concerns reports whether a problem is about one of the labels of a port.
func concerns(p problem.Problem, port int, about []string) bool {
	if p.Subject == "" {
		return true
	}
	for _, name := range about {
		if p.Subject == name || p.Subject == fmt.Sprintf("HAPROXY_%d_%s", port, name) || p.Subject == "HAPROXY_"+name {
			return true
		}
	}
	return false
}

func joinWords(subject, reason string) string {
	if subject == "" {
		return reason
	}
	return subject + " " + reason
}
