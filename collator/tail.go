package collator

import (
	"maps"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/sources"
	"relay/xds"
)

// Tailing is whose requests Envoys report, as somebody follows them.
type Tailing struct {
	// Known is set if there is such an app or domain.
	Known bool
	// Routed is the name under which an app is routed: see AppView. It is empty for a domain.
	Routed string
	// Scopes are the domains concerned, by fleet, sorted. They are none if the app has only
	// TCP services, whose connections are not reported: the listener would have to change, and
	// Envoy would close them.
	Scopes map[string][]string
	// TooMany is how many domains an app has that has more than MaxTailed: it is not followed.
	TooMany int

	// app is the one of which the scopes are.
	app *sources.App
}

// MaxTailed is how many domains of an app in a fleet are followed. To switch one on keeps every
// Envoy busy for some milliseconds, during which nothing else comes to it.
const MaxTailed = 200

// Tail has Envoys report the requests of an app, by its id, or for a domain or host, or ends
// that, as soon as the loop has dealt with it: see Flush and Tailing. It is for a while, and for this Relay alone: it is not part of what is saved, and other
// Relays do not know of it. The app or domain may come, go and change meanwhile.
func (c *Collator) Tail(subject string, on bool) {
	c.inbox.note(func(n *notes) {
		if n.tails == nil {
			n.tails = make(map[string]bool)
		}
		n.tails[subject] = on
	})
}

// Tailing returns what is reported of a subject of Tail now.
func (c *Collator) Tailing(subject string) Tailing {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.tails[subject]
}

// updateTails takes in what is to be tailed, and has scopes built again where that changes
// something. It looks at what is tailed alone.
func (c *Collator) updateTails(switched map[string]bool) {
	if len(switched)+len(c.tails) == 0 {
		return
	}
	tails := maps.Clone(c.tails)
	if tails == nil {
		tails = make(map[string]Tailing)
	}
	for subject, on := range switched {
		if delete(tails, subject); on {
			tails[subject] = Tailing{}
		}
	}
	changed := len(switched) > 0
	for subject, before := range tails {
		now := c.tailing(subject, before)
		changed = changed || now.Routed != before.Routed || !maps.EqualFunc(now.Scopes, before.Scopes, slices.Equal)
		tails[subject] = now
	}
	c.mu.Lock()
	c.tails = tails
	c.mu.Unlock()
	if !changed {
		return
	}
	c.recorded.tailed = true
	for _, f := range c.fleets {
		for scope := range f.tailed {
			f.mark(xds.Scope, scope)
		}
		for _, t := range tails {
			for _, scope := range t.Scopes[f.Name] {
				f.mark(xds.Scope, scope)
			}
		}
	}
}

// tailing finds what a subject is. The domains of an app that is as before are not looked up
// again.
func (c *Collator) tailing(subject string, before Tailing) Tailing {
	if !strings.HasPrefix(subject, "/") {
		return c.tailedDomain(subject)
	}
	app := c.apps[subject]
	if app == nil {
		return Tailing{}
	}
	t := Tailing{Known: true, Routed: routedID(app), Scopes: before.Scopes, TooMany: before.TooMany}
	if t.app = c.routed(t.Routed); t.app != before.app {
		t.Scopes, t.TooMany = c.tailedScopes(t.app), 0
		for _, scopes := range t.Scopes {
			t.TooMany = max(t.TooMany, len(scopes))
		}
		if t.TooMany > MaxTailed {
			t.Scopes = map[string][]string{}
		} else {
			t.TooMany = 0
		}
	}
	return t
}

// tailedScopes returns the domains that an app is routed for, by fleet.
func (c *Collator) tailedScopes(app *sources.App) map[string][]string {
	scopes := make(map[string][]string)
	for _, f := range c.fleets {
		for domain, claims := range f.ClaimsOf(app) {
			if slices.ContainsFunc(claims, func(claim routing.Claim) bool { return claim.Route }) {
				scopes[f.Name] = append(scopes[f.Name], domain)
			}
		}
		slices.Sort(scopes[f.Name])
	}
	return scopes
}

// tailedDomain finds the scope of a host in each fleet: its own, or else that of its wildcard
// parent.
func (c *Collator) tailedDomain(host string) Tailing {
	t := Tailing{Scopes: make(map[string][]string)}
	for _, f := range c.fleets {
		scope, found := host, f.domains.exists(host)
		if _, wildcard := hostname.CutWildcard(host); !found && !wildcard {
			for parent := range hostname.Parents(host) {
				if scope = hostname.Wildcard(parent); f.domains.exists(scope) {
					found = true
					break
				}
			}
		}
		if found {
			t.Known, t.Scopes[f.Name] = true, []string{scope}
		}
	}
	return t
}

// tail notes in the routes of a domain which requests are to be reported.
func (f *fleetState) tail(routes *routing.DomainRoutes) {
	for subject, t := range f.c.tails {
		if !strings.HasPrefix(subject, "/") {
			routes.Tailed = routes.Tailed || slices.Contains(t.Scopes[f.Name], routes.Domain)
			continue
		}
		for i := range routes.Rules {
			r := &routes.Rules[i]
			r.Tailed = r.Tailed || slices.ContainsFunc(r.Targets, func(target routing.Target) bool {
				app, _ := routing.SplitClusterName(target.Cluster)
				return t.Routed != "" && app == t.Routed
			})
		}
	}
}

// noteTailed remembers whether the scope of a domain is tailed: then it is built again when
// that changes.
func (f *fleetState) noteTailed(routes routing.DomainRoutes) {
	if routes.Tailed || slices.ContainsFunc(routes.Rules, func(r routing.Rule) bool { return r.Tailed }) {
		f.tailed[routes.Domain] = struct{}{}
	} else {
		delete(f.tailed, routes.Domain)
	}
}
