package collator

import (
	"maps"
	"slices"

	"relay/collator/routing"
	"relay/sources"
)

// DomainState says whether a domain is served.
type DomainState uint8

// The states; of several, the first is that of a domain.
const (
	StateInNoFleet DomainState = iota
	StateWithoutTask
	StateStopped
	StateWithoutCertificate
	// StateAsleep is of a domain whose apps start with the next request.
	StateAsleep
	StateServed
)

// RoutedState says whether requests for a domain find a task, whatever its certificate.
func (c *Collator) RoutedState(domain string) DomainState {
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.states[domain] // in no fleet, if it is not known
}

// DomainState says whether a domain is served.
func (c *Collator) DomainState(e *DomainEntry) DomainState {
	state := c.RoutedState(e.Name)
	if state != StateServed && state != StateAsleep {
		return state
	}
	v := c.coverage
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.uncovered[e.Name].fleets > 0 {
		return StateWithoutCertificate
	}
	return state
}

// DomainCertificate returns the certificate that https clients of a domain get, as
// CertificateView.Secret; empty for none.
func (c *Collator) DomainCertificate(e *DomainEntry) string {
	v := c.coverage
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, fleet := range e.Fleets {
		if f := v.fleets[fleet]; f != nil && f.picked[e.Name].Secret != "" {
			return f.picked[e.Name].Secret
		}
	}
	return ""
}

// doubt has the state of a domain looked up in this round.
func (c *Collator) doubt(domains ...string) {
	for _, domain := range domains {
		c.catalog.doubtful[domain] = struct{}{}
	}
}

// doubtApp has those of all domains of an app looked up.
func (c *Collator) doubtApp(app *sources.App) {
	if app == nil {
		return
	}
	for _, port := range app.Ports {
		c.doubt(port.Domains...)
	}
}

// checkDomains looks up the states of the domains for which this round may have made a
// difference.
func (c *Collator) checkDomains() {
	x := c.catalog
	if len(x.doubtful) == 0 {
		return
	}
	states := make(map[string]DomainState, len(x.doubtful))
	for domain := range x.doubtful {
		states[domain] = c.stateOf(domain)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for domain, state := range states {
		x.countState(x.states[domain], -1)
		x.countState(state, 1)
		if state == StateInNoFleet {
			delete(x.states, domain)
		} else {
			x.states[domain] = state
		}
		if state != StateInNoFleet && c.closes(domain) {
			x.closed[domain] = struct{}{}
		} else {
			delete(x.closed, domain)
		}
	}
	x.doubtful = make(map[string]struct{})
}

// closes reports whether a fleet lets nobody in at a domain, or at a path of it.
func (c *Collator) closes(domain string) bool {
	return slices.ContainsFunc(c.fleets, func(f *fleetState) bool {
		if _, closed := f.closed[domain]; closed {
			return true
		}
		wanting := f.services.Names[domain]
		if len(wanting) == 0 || !wanting[0].Closed {
			return false
		}
		_, lost := routing.WinningHTTPClaim(f.domains.claims[domain], wanting[0])
		return !lost
	})
}

// noteClosed remembers whether the scope of a domain lets nobody in.
func (f *fleetState) noteClosed(domain string, routes routing.DomainRoutes) {
	_, before := f.closed[domain]
	closed := slices.ContainsFunc(routes.Rules, func(r routing.Rule) bool { return r.HTTP.Closed || f.Unsigned(r) })
	if closed == before {
		return
	}
	if closed {
		f.closed[domain] = struct{}{}
	} else {
		delete(f.closed, domain)
	}
	f.c.doubt(domain)
}

// ClosedDomain is a domain of which nobody is let in, and the apps that name it.
type ClosedDomain struct {
	Name string
	Apps []string
}

// ClosedDomains returns those that Served counts, ordered by name.
func (c *Collator) ClosedDomains() (closed []ClosedDomain) {
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, domain := range slices.Sorted(maps.Keys(x.closed)) {
		one := ClosedDomain{Name: domain}
		for _, claim := range x.claims[domain] {
			one.Apps = append(one.Apps, claim.App)
		}
		closed = append(closed, one)
	}
	return closed
}

func (x *catalog) countState(s DomainState, sign int) {
	switch s {
	case StateInNoFleet:
		return
	case StateWithoutTask:
		x.served.WithoutTask += sign
	case StateStopped:
		x.served.Stopped += sign
	case StateAsleep:
		x.served.Asleep += sign
	}
	x.served.Domains += sign
}

// stateOf looks at all that claim a domain, in each fleet. Requests find no task if a rule that
// is used leads to ports without one; another app may have the domain in place of such a port.
func (c *Collator) stateOf(domain string) DomainState {
	state := StateInNoFleet
	note := func(targets ...routing.AppPort) {
		if state == StateInNoFleet {
			state = StateServed
		}
		if len(targets) == 0 {
			return // it is routed, whatever becomes of its requests
		}
		found := make(map[rotation]bool)
		for _, target := range targets {
			found[c.empty.says(target)] = true
		}
		switch {
		case found[inRotation]:
		case found[isEmpty]:
			state = min(state, StateWithoutTask)
		case found[isAsleep]:
			state = min(state, StateAsleep)
		default:
			state = min(state, StateStopped)
		}
	}
	for _, f := range c.fleets {
		claims := f.domains.claims[domain]
		if slices.ContainsFunc(claims, func(claim routing.Claim) bool { return claim.Route }) {
			note()
		}
		if slices.ContainsFunc(claims, func(claim routing.Claim) bool { return claim.Route && c.empty.says(claim.AppPort) != inRotation }) {
			rules, _ := routing.RulesOf(claims)
			for _, rule := range rules {
				note(targetsOf(rule)...)
			}
		}
		for _, s := range f.services.Names[domain] {
			note(s.AppPort)
		}
		for _, s := range f.services.Shown[domain] {
			if has, ok := f.tlsService(s.Listen); ok && has.AppPort == s.AppPort {
				note(s.AppPort)
			}
		}
	}
	return state
}

// targetsOf returns the app ports that share the requests of a rule.
func targetsOf(rule routing.Rule) []routing.AppPort {
	targets := make([]routing.AppPort, len(rule.Targets))
	for i, target := range rule.Targets {
		targets[i].App, targets[i].Port = routing.SplitClusterName(target.Cluster)
	}
	return targets
}
