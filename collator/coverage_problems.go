package collator

import (
	"cmp"
	"fmt"
	"slices"

	"relay/collator/routing"
	"relay/internal/problem"
)

// reportCoverage says which apps redirect clients to https, where these refuse the
// certificate, and which apps get no https, as a wildcard above their domain is passed
// through. A problem ends when the domain is looked up and has it no more.
func (f *fleetState) reportCoverage(covers []domainCoverage) {
	for i, c := range covers {
		problems := f.redirectProblems(c)
		covers[i].told = len(problems) > 0
		problems = append(problems, f.passedProblems(c)...)
		_, reported := f.coverageReported[c.domain]
		if len(problems) == 0 && !reported {
			continue
		}
		f.c.problems.set(owner{problem.HTTPS, f.Name, inDomain, c.domain}, problems...)
		if f.coverageReported[c.domain] = struct{}{}; len(problems) == 0 {
			delete(f.coverageReported, c.domain)
		}
	}
}

// passedProblems says which apps get no https, as a wildcard is passed through.
func (f *fleetState) passedProblems(c domainCoverage) (problems []problem.Problem) {
	if c.wildcard == "" {
		return nil
	}
	for _, one := range f.claimsOn(c.domain) {
		if one.Route && one.App != c.passedTo.App {
			problems = append(problems, problem.Problem{App: one.App, Subject: c.domain, Domain: c.domain, Reason: fmt.Sprintf(
				"port %d gets its requests by plain HTTP only: TLS for %s is passed through to %s, and no certificate has the domain itself as a name", one.Port, c.wildcard, c.passedTo)})
		}
	}
	return problems
}

// redirectProblems says which apps redirect clients to https that refuse the
// certificate there.
func (f *fleetState) redirectProblems(c domainCoverage) (problems []problem.Problem) {
	if c.reason == "" {
		return nil
	}
	claims := f.claimsOn(c.domain)
	if !slices.ContainsFunc(claims, func(c routing.Claim) bool { return c.Redirect }) {
		return nil
	}
	rules, _ := routing.RulesOf(claims)
	done := make(map[routing.AppPort]struct{})
	for _, r := range rules {
		who := r.Claim.AppPort
		if _, reported := done[who]; reported || !r.Redirect {
			continue
		}
		done[who] = struct{}{}
		problems = append(problems, problem.Problem{App: who.App, Subject: c.domain, Domain: c.domain, Reason: fmt.Sprintf(
			"clients of port %d are redirected to https, where they get an error: %s", who.Port, c.reason)})
	}
	return problems
}

// UncoveredProblems says for which domains people ask for https, without a redirect to it,
// where clients get an error. Those with a redirect are problems of their apps.
func (c *Collator) UncoveredProblems() (problems []problem.Problem) {
	c.coverage.mu.RLock()
	defer c.coverage.mu.RUnlock()
	for fleet, f := range c.coverage.fleets {
		if f.untold == 0 {
			continue
		}
		for domain, u := range f.uncovered {
			if u.wanted && !u.told {
				problems = append(problems, problem.Problem{
					Kind: problem.HTTPS, Fleet: fleet, Subject: domain, Domain: domain, Reason: "clients that come by https get an error: " + u.reason,
				})
			}
		}
	}
	slices.SortFunc(problems, func(a, b problem.Problem) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Fleet, b.Fleet))
	})
	return problems
}

// uncoveredCount is how many UncoveredProblems there are.
func (c *Collator) uncoveredCount() (n int) {
	c.coverage.mu.RLock()
	defer c.coverage.mu.RUnlock()
	for _, f := range c.coverage.fleets {
		n += f.untold
	}
	return n
}

// reportInvalid says which certificates clients refuse for their dates: of those that
// are in use, and of those in place of which another one is served.
func (c *Collator) reportInvalid() {
	var problems []problem.Problem
	for _, p := range c.served.invalid {
		secret := routing.SecretName(p.Certificate)
		switch {
		case p.Instead == nil && c.coverage.uses(secret):
			said := p.Problem()
			said.Severity = problem.Failing
			problems = append(problems, said)
		case p.Instead != nil:
			instead, kept := c.coverage.picks(p.Names, secret)
			if p.Names = instead; len(instead) > 0 {
				problems = append(problems, p.Problem())
			}
			if p.Names, p.Instead = kept, nil; len(kept) > 0 {
				said := p.Problem()
				said.Severity = problem.Failing
				said.Reason += " in a fleet that cannot serve the wildcard over it"
				problems = append(problems, said)
			}
		}
	}
	c.problems.set(owner{problem.Certificate, "", inDates, ""}, problems...)
}

// picks returns those of the domains that some fleet serves with another certificate
// than the one given, and those that some fleet serves with this one.
func (v *coverage) picks(domains []string, secret string) (another, same []string) {
	for _, domain := range domains {
		var other, this bool
		for _, f := range v.fleets {
			picked := f.picked[domain]
			this = this || picked.Has(secret)
			other = other || picked.Secret != "" && !picked.Has(secret)
		}
		if other {
			another = append(another, domain)
		}
		if this {
			same = append(same, domain)
		}
	}
	return another, same
}
