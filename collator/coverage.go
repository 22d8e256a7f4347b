package collator

import (
	"maps"
	"sync"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/hostname"
)

// servedCertificates says which certificates are served. It is not modified.
type servedCertificates struct {
	winners map[string]winner // by server name
	// secrets are those of the winners and of the default certificate.
	secrets map[string]struct{}
	// endedWith has the issuer of each secret whose certificate has expired with it.
	endedWith map[string]string
	// byDefault are the secrets of the default certificates.
	byDefault routing.Pair
	// invalid are problems with the dates of these certificates.
	invalid []certs.DateProblem
}

// winner are the certificates that are served for a server name.
type winner struct {
	routing.Pair
	validity certs.Validity
	// leftToWildcard is set if the certificate of the wildcard over the name is served
	// instead, where the fleet has that.
	leftToWildcard bool
}

// coverage says which certificate each domain is served with. The loop alone writes
// it, for others to read, a moment after the round was published.
type coverage struct {
	mu sync.RWMutex
	// known is set once apps and certificates have been read.
	known  bool
	served *servedCertificates
	fleets map[string]*fleetCoverage // those with an https listener
	// uncovered has the domains that are so in some fleet, and wanted how many of them are
	// wanted in one.
	uncovered map[string]uncoveredIn
	wanted    int
	// services has the secrets that TCP services show, by fleet.
	services        map[string]map[string]struct{}
	servicesChanged bool // since checkCoverage
	// selected are the certificates that answer some server name, or are the default
	// one, ordered by source and name.
	selected []*certs.Certificate
	// changed is closed and replaced when selected, or the use of one of them, changes.
	changed chan struct{}
}

func newCoverage() *coverage {
	return &coverage{fleets: make(map[string]*fleetCoverage), uncovered: make(map[string]uncoveredIn), services: make(map[string]map[string]struct{}), changed: make(chan struct{})}
}

// uncoveredIn counts the fleets in which a domain is uncovered, and those in which it is wanted.
type uncoveredIn struct{ fleets, wanted int }

// countUncovered counts a domain in one more fleet, or one less.
func (v *coverage) countUncovered(domain string, u uncovered, sign int) {
	n := v.uncovered[domain]
	if u.reason == "" {
		return
	}
	before := n.wanted > 0
	if n.fleets += sign; u.wanted {
		n.wanted += sign
	}
	switch is := n.wanted > 0; {
	case is && !before:
		v.wanted++
	case before && !is:
		v.wanted--
	}
	if n.fleets == 0 {
		delete(v.uncovered, domain)
		return
	}
	v.uncovered[domain] = n
}

// fleetCoverage says which certificates the domains are served with that a fleet routes.
type fleetCoverage struct {
	// picked has the secrets that Envoy picks from for each domain for which it has some.
	picked map[string]routing.Pair
	// used counts the domains for which each secret is picked.
	used map[string]int
	// uncovered has the domains for which clients get no certificate that they accept.
	uncovered map[string]uncovered
	// wanted counts those of uncovered that are wanted, and untold those of them that are no
	// problem of an app.
	wanted, untold int
}

// uncovered says why clients get no certificate for a domain that they accept.
type uncovered struct {
	reason string
	// wanted is set if somebody means the domain to be used by https: plain HTTP is
	// redirected to it, or an app asks for HSTS or a certificate.
	wanted bool
	// told is set if that is a problem of an app.
	told bool
}

func newFleetCoverage() *fleetCoverage {
	return &fleetCoverage{picked: make(map[string]routing.Pair), used: make(map[string]int), uncovered: make(map[string]uncovered)}
}

// domainCoverage says which certificate a domain is served with.
type domainCoverage struct {
	domain string
	// Pair has the secrets that Envoy picks from, none if it has none.
	routing.Pair
	// reason is why clients get no certificate that they accept; empty if they do.
	reason string
	wanted bool // as in uncovered
	told   bool // as in uncovered
	// wildcard is the wildcard domain above the domain by which TLS is passed through to
	// passedTo; empty for none.
	wildcard string
	passedTo *routing.Service
}

// set replaces what is known of a domain, and reports whether other certificates are in
// use now.
func (v *fleetCoverage) set(c domainCoverage) (useChanged bool) {
	if before := v.picked[c.domain]; before != c.Pair {
		useChanged = v.pick(c.domain, before, c.Pair)
	}
	v.count(v.uncovered[c.domain], -1)
	delete(v.uncovered, c.domain)
	if c.reason != "" {
		now := uncovered{c.reason, c.wanted, c.told}
		v.uncovered[c.domain] = now
		v.count(now, 1)
	}
	return useChanged
}

// count adds to the counts of those that are wanted.
func (v *fleetCoverage) count(u uncovered, n int) {
	if u.wanted {
		v.wanted += n
		if !u.told {
			v.untold += n
		}
	}
}

// pick replaces the secrets of a domain.
func (v *fleetCoverage) pick(domain string, before, after routing.Pair) (useChanged bool) {
	delete(v.picked, domain)
	for _, secret := range [...]string{before.Secret, before.Second} {
		if secret == "" {
			continue
		}
		if v.used[secret]--; v.used[secret] == 0 {
			delete(v.used, secret)
			useChanged = true
		}
	}
	if after.Secret != "" {
		v.picked[domain] = after
	}
	for _, secret := range [...]string{after.Secret, after.Second} {
		if secret == "" {
			continue
		}
		v.used[secret]++
		useChanged = useChanged || v.used[secret] == 1
	}
	return useChanged
}

// setServed replaces the served certificates, and has the domains looked up for which that
// may make a difference.
func (c *Collator) setServed(s certs.Selection) {
	before, now := c.served, c.now()
	after := &servedCertificates{winners: make(map[string]winner, len(s.Winners)), secrets: make(map[string]struct{}), endedWith: make(map[string]string), invalid: s.Problems}
	note := func(pair routing.Pair) routing.Pair {
		for _, secret := range [...]string{pair.Secret, pair.Second} {
			if secret != "" {
				after.secrets[secret] = struct{}{}
			}
		}
		return pair
	}
	add := func(winners map[string]*certs.Certificate, leftToWildcard bool) {
		for name, certificate := range winners {
			w := winner{note(routing.PairOf(certificate, s.Seconds[name])), certificate.ValidAt(now), leftToWildcard}
			if w.validity == certs.Expired && certificate.EndsWith != "" {
				after.endedWith[w.Secret] = certificate.EndsWith
			}
			after.winners[name] = w
		}
	}
	add(s.Winners, false)
	add(s.LeftToWildcard, true)
	if s.Default != nil {
		after.byDefault = note(routing.PairOf(s.Default, s.DefaultSecond))
	}
	changed := func(name string) {
		for _, f := range c.fleets {
			f.recheckName(name)
		}
	}
	for name, is := range after.winners {
		if was, ok := before.winners[name]; !ok || was != is {
			changed(name)
		}
	}
	for name := range before.winners {
		if _, still := after.winners[name]; !still {
			changed(name)
		}
	}
	c.served = after
}

// checkDomain finds the certificate that Envoy picks for a domain, and says whether
// clients accept it. Envoy picks that of the exact name, then that of the longest
// wildcard, at any depth
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch).
// Clients refuse a wildcard two levels up
// (https://www.rfc-editor.org/rfc/rfc6125#section-6.4.3). A domain needs no certificate if
// its TLS is passed through, or if it is not routed.
func (f *fleetState) checkDomain(domain string, served *servedCertificates) domainCoverage {
	found := domainCoverage{domain: domain}
	for _, c := range f.claimsOn(domain) {
		if c.Route {
			found.reason = noCertificate
		}
		found.wanted = found.wanted || c.ACME || c.Redirect || c.HTTP != nil && c.HTTP.HSTS
	}
	if found.reason == "" {
		return found
	}
	_, wildcard := hostname.CutWildcard(domain)
	for i, name := range hostname.Candidates(domain) {
		if s, passed := f.passedTo(name); passed {
			if found.reason = ""; i > 0 {
				by := s // a copy: else s would be allocated for every name
				found.wildcard, found.passedTo = name, &by
			}
			return found
		}
		w, ok := served.winners[name]
		switch {
		case !ok, !f.HasServerName(name), w.leftToWildcard && f.canServe(hostname.WildcardOver(name)):
			continue
		case i > 1, i == 1 && wildcard:
			found.reason = name + " of " + w.Secret + " covers one level of names only"
		case w.validity == certs.Expired:
			found.Pair, found.reason = w.Pair, "the certificate "+w.Secret+" has expired"
			if issuer := served.endedWith[w.Secret]; issuer != "" {
				found.reason += " with its issuer " + issuer
			}
		case w.validity == certs.NotYetValid:
			found.Pair, found.reason = w.Pair, "the certificate "+w.Secret+" is not valid yet"
		default:
			found.Pair, found.reason = w.Pair, ""
		}
		return found
	}
	if why := hostname.NoCertificate(domain); why != "" {
		found.reason += ", and none is to be had by ACME: " + why
	}
	return found
}

// noCertificate is why a domain has no HTTPS that clients accept, where nothing else is known.
const noCertificate = "no certificate covers it"

// canServe reports whether the fleet can serve a certificate for a server name: it is
// given the certificate, and the name is not passed through.
func (f *fleetState) canServe(name string) bool {
	_, passed := f.passedTo(name)
	return f.HasServerName(name) && !passed
}

// checkCoverage looks up the certificates of the domains for which this round may have
// made a difference, once apps and certificates are known. It comes after publishing:
// nothing that Envoys are sent depends on it.
func (c *Collator) checkCoverage() {
	if !c.certificatesSynced.Load() {
		return
	}
	v := c.coverage
	changed := !v.known || v.served != c.served || v.servicesChanged
	fleets := make(map[*fleetState][]domainCoverage)
	for _, f := range c.fleets {
		if !f.HasHTTPS() || f.recheck.empty() {
			continue
		}
		domains := f.domainsToCheck()
		covers := make([]domainCoverage, len(domains))
		for i, domain := range domains {
			covers[i] = f.checkDomain(domain, c.served)
		}
		f.reportCoverage(covers)
		fleets[f], changed = covers, true
	}
	if !changed {
		return
	}
	v.servicesChanged = false
	v.record(c.served, fleets)
	c.reportInvalid()
	for f := range fleets {
		f.recheck = recheck{}
	}
}

// record notes what was found of each fleet.
func (v *coverage) record(s *servedCertificates, found map[*fleetState][]domainCoverage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	useChanged := !v.known || v.served != s
	v.known, v.served = true, s
	for f, covers := range found {
		for _, one := range covers {
			v.countUncovered(one.domain, f.coverage.uncovered[one.domain], -1)
			useChanged = f.coverage.set(one) || useChanged
			v.countUncovered(one.domain, f.coverage.uncovered[one.domain], 1)
		}
	}
	if useChanged {
		v.selectedChanged()
	}
}

// setServices notes which secrets the TCP services of a fleet show.
func (v *coverage) setServices(fleet string, secrets map[string]struct{}) {
	if maps.Equal(v.services[fleet], secrets) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.services[fleet], v.servicesChanged = secrets, true
	v.selectedChanged()
}

// usedByService reports whether a TCP service shows a certificate. The caller is the loop or holds the
// lock.
func (v *coverage) usedByService(secret string) bool {
	for _, secrets := range v.services {
		if _, ok := secrets[secret]; ok {
			return true
		}
	}
	return false
}

// uses reports whether a certificate is shown to clients of some domain, or is
// the default one. The caller is the loop or holds the lock.
func (v *coverage) uses(secret string) bool {
	for _, f := range v.fleets {
		if f.used[secret] > 0 {
			return true
		}
	}
	return v.usedByService(secret) || v.known && v.served.byDefault.Has(secret)
}
