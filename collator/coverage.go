package collator

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/hostname"
)

// winner is the certificate that wins a server name, and whether clients accept
// its dates. It may yield to that of the wildcard over the name.
type winner struct {
	secret   string
	validity certs.Validity
	yields   bool
}

// serving is what wins the server names. It is not modified.
type serving struct {
	winners map[string]winner
	// secrets are the certificates that win a name, and fallback, the default one.
	secrets  map[string]struct{}
	fallback string
	// invalid are problems with the dates of these certificates.
	invalid []certs.DateProblem
}

// coverage says which certificate each domain is served with. The loop alone
// writes it, for others to read. It follows what is published: they may see it a
// moment later.
type coverage struct {
	mu sync.RWMutex
	// serving is nil until apps and certificates are known.
	serving *serving
	// fleets are those with an https listener.
	fleets map[string]*fleetCoverage
	// selected are the certificates that answer some server name, or are the
	// default one, ordered; changed is closed and replaced when they, or their use,
	// are others.
	selected []*certs.Certificate
	changed  chan struct{}
}

func newCoverage() *coverage {
	return &coverage{fleets: make(map[string]*fleetCoverage), changed: make(chan struct{})}
}

// fleetCoverage is about the domains that a fleet routes.
type fleetCoverage struct {
	// picked has the certificate that Envoy picks for each domain; those for which
	// it has none are not in it. used counts them.
	picked map[string]string
	used   map[string]int
	// uncovered has the domains whose https clients refuse what they are shown.
	uncovered map[string]uncovered
	// wanted counts those of uncovered that are wanted.
	wanted int
}

// uncovered is why clients refuse what a domain is served with.
type uncovered struct {
	reason string
	// wanted tells that somebody means the domain to be used by https: plain
	// HTTP is redirected to it, or an app asks for HSTS or a certificate.
	wanted bool
}

func newFleetCoverage() *fleetCoverage {
	return &fleetCoverage{picked: make(map[string]string), used: make(map[string]int), uncovered: make(map[string]uncovered)}
}

// cover is what a look at one domain finds.
type cover struct {
	domain, secret string
	// lack is why clients refuse it; "" is that they don't.
	lack   string
	wanted bool
	// wildcard is the one over the domain by which its TLS is passed through to
	// passed; empty for none.
	wildcard string
	passed   *routing.Service
}

// set notes what was found, and reports whether other certificates are used now.
func (v *fleetCoverage) set(c cover) (useChanged bool) {
	if before := v.picked[c.domain]; before != c.secret {
		useChanged = v.pick(c.domain, before, c.secret)
	}
	if v.uncovered[c.domain].wanted {
		v.wanted--
	}
	delete(v.uncovered, c.domain)
	if c.lack != "" {
		v.uncovered[c.domain] = uncovered{c.lack, c.wanted}
		if c.wanted {
			v.wanted++
		}
	}
	return useChanged
}

// pick replaces the certificate of a domain; "" is none.
func (v *fleetCoverage) pick(domain, before, after string) (useChanged bool) {
	delete(v.picked, domain)
	if before != "" {
		if v.used[before]--; v.used[before] == 0 {
			delete(v.used, before)
			useChanged = true
		}
	}
	if after != "" {
		v.picked[domain] = after
		v.used[after]++
		useChanged = useChanged || v.used[after] == 1
	}
	return useChanged
}

// serve takes what wins each server name, and has the domains looked at that
// this may concern.
func (c *Collator) serve(s certs.Selection) {
	before, now := c.serving, c.now()
	after := &serving{winners: make(map[string]winner, len(s.Winners)), secrets: make(map[string]struct{}), invalid: s.Problems}
	add := func(winners map[string]*certs.Certificate, yields bool) {
		for name, certificate := range winners {
			secret := routing.SecretName(certificate)
			after.winners[name] = winner{secret, certificate.ValidAt(now), yields}
			after.secrets[secret] = struct{}{}
		}
	}
	add(s.Winners, false)
	add(s.Yielding, true)
	if s.Default != nil {
		after.fallback = routing.SecretName(s.Default)
		after.secrets[after.fallback] = struct{}{}
	}
	doubt := func(name string) {
		for _, f := range c.fleets {
			f.doubt(name)
		}
	}
	for name, is := range after.winners {
		if was, ok := before.winners[name]; !ok || was != is {
			doubt(name)
		}
	}
	for name := range before.winners {
		if _, still := after.winners[name]; !still {
			doubt(name)
		}
	}
	c.serving = after
}

// doubt has the certificate of a domain, or of those that a server name covers,
// looked up in this round.
func (f *fleetState) doubt(name string) {
	if f.doubts != nil && f.HasHTTPS() {
		f.doubts[name] = true
	}
}

// doubtDomain is doubt for one domain alone: a wildcard domain in HTTP mode has a
// certificate of its own, and those below it theirs.
func (f *fleetState) doubtDomain(domain string) {
	if _, doubted := f.doubts[domain]; f.doubts != nil && f.HasHTTPS() && !doubted {
		f.doubts[domain] = false
	}
}

// doubtful returns the domains to look at.
func (f *fleetState) doubtful() []string {
	if f.doubts == nil {
		// With those that are not claimed any more.
		domains := slices.AppendSeq(slices.Collect(maps.Keys(f.domains.claims)), maps.Keys(f.coverage.uncovered))
		return slices.AppendSeq(domains, maps.Keys(f.coverage.picked))
	}
	domains := slices.Collect(maps.Keys(f.doubts))
	for name, covered := range f.doubts {
		zone, wildcard := hostname.CutWildcard(name)
		if !wildcard || !covered {
			continue
		}
		domains = slices.AppendSeq(domains, maps.Keys(f.domains.under[zone]))
	}
	return domains
}

// look finds the certificate that Envoy picks for a domain: that of the exact
// name, then that of the longest wildcard, at any depth
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch).
// A name that is passed through needs none, and neither does one that is not
// routed. Whatever else is picked, clients refuse: so they do a wildcard two
// levels up (https://www.rfc-editor.org/rfc/rfc6125#section-6.4.3).
func (f *fleetState) look(domain string, winners map[string]winner) cover {
	found := cover{domain: domain}
	for _, c := range f.claimsOn(domain) {
		if c.Route {
			found.lack = "no certificate covers it"
		}
		found.wanted = found.wanted || c.ACME || c.Redirect || c.HTTP != nil && c.HTTP.HSTS
	}
	if found.lack == "" {
		return found
	}
	_, wildcard := hostname.CutWildcard(domain)
	for i, name := range hostname.Candidates(domain) {
		if s, passed := f.passing(name); passed {
			if found.lack = ""; i > 0 {
				by := s // or each look allocates
				found.wildcard, found.passed = name, &by
			}
			return found
		}
		w, ok := winners[name]
		switch {
		case !ok, !f.HasName(name), w.yields && f.answers(hostname.WildcardOver(name)):
			continue
		case i > 1, i == 1 && wildcard:
			found.lack = name + " of " + w.secret + " covers one level of names only"
		case w.validity == certs.Expired:
			found.secret, found.lack = w.secret, "the certificate "+w.secret+" has expired"
		case w.validity == certs.NotYetValid:
			found.secret, found.lack = w.secret, "the certificate "+w.secret+" is not valid yet"
		default:
			found.secret, found.lack = w.secret, ""
		}
		return found
	}
	return found
}

// answers reports whether the fleet can serve the certificate for a server name.
func (f *fleetState) answers(name string) bool {
	_, passed := f.passing(name)
	return f.HasName(name) && !passed
}

// cover looks up the certificates of the domains that changed in this round,
// once apps and certificates are known. It comes after publishing: nothing that
// Envoys are sent depends on it.
func (c *Collator) cover() {
	if !c.certificatesSynced.Load() {
		return
	}
	v := c.coverage
	changed := v.serving != c.serving
	fleets := make(map[*fleetState][]cover)
	for _, f := range c.fleets {
		if !f.HasHTTPS() || f.doubts != nil && len(f.doubts) == 0 {
			continue
		}
		domains := f.doubtful()
		covers := make([]cover, len(domains))
		for i, domain := range domains {
			covers[i] = f.look(domain, c.serving.winners)
		}
		f.reportCovers(covers)
		fleets[f], changed = covers, true
	}
	if !changed {
		return
	}
	v.take(c.serving, fleets)
	c.reportInvalid()
	for f := range fleets {
		f.doubts = make(map[string]bool)
	}
}

// take notes what was found.
func (v *coverage) take(s *serving, found map[*fleetState][]cover) {
	v.mu.Lock()
	defer v.mu.Unlock()
	useChanged := v.serving != s
	v.serving = s
	for f, covers := range found {
		for _, one := range covers {
			useChanged = f.coverage.set(one) || useChanged
		}
	}
	if useChanged {
		v.selectedChanged()
	}
}

// reportCovers says which apps send their clients to https, where they refuse the
// certificate, and which get no https, as a wildcard above them is passed through.
// It ends with the next look that finds neither.
func (f *fleetState) reportCovers(covers []cover) {
	for _, c := range covers {
		problems := append(f.redirectProblems(c), f.passedProblems(c)...)
		_, told := f.told[c.domain]
		if len(problems) == 0 && !told {
			continue
		}
		// An app id begins with a slash: a domain is no app's.
		f.c.problems.set(owner{HTTPSProblem, f.Name, c.domain}, problems...)
		if f.told[c.domain] = struct{}{}; len(problems) == 0 {
			delete(f.told, c.domain)
		}
	}
}

func (f *fleetState) passedProblems(c cover) (problems []Problem) {
	if c.wildcard == "" {
		return nil
	}
	for _, one := range f.claimsOn(c.domain) {
		if one.Route && one.App != c.passed.App {
			problems = append(problems, Problem{App: one.App, Subject: c.domain, Reason: fmt.Sprintf(
				"port %d gets its requests by plain HTTP only: TLS for %s is passed through to %s, and no certificate has the domain itself as a name", one.Port, c.wildcard, c.passed)})
		}
	}
	return problems
}

func (f *fleetState) redirectProblems(c cover) (problems []Problem) {
	if c.lack == "" {
		return nil
	}
	claims := f.claimsOn(c.domain)
	if !slices.ContainsFunc(claims, func(c routing.Claim) bool { return c.Redirect }) {
		return nil
	}
	rules, _ := routing.RulesOf(claims)
	told := make(map[routing.AppPort]struct{})
	for _, r := range rules {
		who := r.Claim.AppPort
		if _, done := told[who]; done || !r.Redirect {
			continue
		}
		told[who] = struct{}{}
		problems = append(problems, Problem{App: who.App, Subject: c.domain, Reason: fmt.Sprintf(
			"clients of port %d are redirected to https, where they get an error: %s", who.Port, c.lack)})
	}
	return problems
}

// reportInvalid says which certificates clients refuse for their dates, of those
// in use, and of those whose place another one takes.
func (c *Collator) reportInvalid() {
	var problems []Problem
	tell := func(p certs.Problem) { problems = append(problems, Problem{Subject: p.Name, Reason: p.Reason}) }
	for _, p := range c.serving.invalid {
		secret := routing.SecretName(p.Certificate)
		switch {
		case p.Instead == nil && c.coverage.uses(secret):
			tell(p.Problem())
		case p.Instead != nil:
			instead, kept := c.coverage.picks(p.Names, secret)
			if p.Names = instead; len(instead) > 0 {
				tell(p.Problem())
			}
			if p.Names, p.Instead = kept, nil; len(kept) > 0 {
				said := p.Problem()
				said.Reason += " in a fleet that cannot serve the wildcard over it"
				tell(said)
			}
		}
	}
	// The name cannot be that of a source.
	c.problems.set(owner{CertificateProblem, "", "dates"}, problems...)
}

// picks returns those of the domains that fleets serve with another certificate
// than the one given, and those that they serve with this one.
func (v *coverage) picks(domains []string, secret string) (others, same []string) {
	for _, domain := range domains {
		var other, this bool
		for _, f := range v.fleets {
			picked := f.picked[domain]
			this = this || picked == secret
			other = other || picked != secret && picked != ""
		}
		if other {
			others = append(others, domain)
		}
		if this {
			same = append(same, domain)
		}
	}
	return others, same
}

// uses reports whether a certificate is shown to clients of some domain, or is
// the default one. The caller is the loop or holds the lock.
func (v *coverage) uses(secret string) bool {
	for _, f := range v.fleets {
		if f.used[secret] > 0 {
			return true
		}
	}
	return v.serving != nil && v.serving.fallback == secret
}
