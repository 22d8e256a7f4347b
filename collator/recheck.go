package collator

import (
	"maps"
	"slices"

	"relay/internal/hostname"
)

// recheck says for which domains of a fleet the certificate has to be looked up again.
type recheck struct {
	// all are the domains of the fleet, and those that were.
	all bool
	// names are domains and server names, each with whether the domains that a
	// wildcard covers are meant, too.
	names map[string]bool
}

func (r *recheck) empty() bool { return !r.all && len(r.names) == 0 }

func (r *recheck) add(name string, covered bool) {
	if r.all {
		return
	}
	if r.names == nil {
		r.names = make(map[string]bool)
	}
	r.names[name] = r.names[name] || covered
}

// recheckName has the certificates of all domains that a server name covers looked up
// in this round.
func (f *fleetState) recheckName(name string) {
	if f.HasHTTPS() {
		f.recheck.add(name, true)
	}
}

// recheckDomain has the certificate of one domain looked up in this round. Those below
// a wildcard domain are not concerned: they have certificates of their own.
func (f *fleetState) recheckDomain(domain string) {
	if f.HasHTTPS() {
		f.recheck.add(domain, false)
	}
}

// domainsToCheck returns the domains to look up, be it that they are claimed no more.
func (f *fleetState) domainsToCheck() []string {
	if f.recheck.all {
		domains := slices.AppendSeq(slices.Collect(maps.Keys(f.domains.claims)), maps.Keys(f.coverage.uncovered))
		return slices.AppendSeq(domains, maps.Keys(f.coverage.picked))
	}
	domains := slices.Collect(maps.Keys(f.recheck.names))
	for name, covered := range f.recheck.names {
		if parent, wildcard := hostname.CutWildcard(name); wildcard && covered {
			domains = slices.AppendSeq(domains, maps.Keys(f.domains.under[parent]))
		}
	}
	return domains
}
