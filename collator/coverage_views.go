package collator

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/scrape"
)

// UncoveredDomain is a domain that a fleet with an https listener routes, and for which
// https clients are shown no certificate that they accept. A domain whose TLS is passed
// through is not one: its app has the certificate.
type UncoveredDomain struct {
	Fleet  string `json:"fleet"`
	Domain string `json:"domain"`
	// Wanted is set if somebody means the domain to be used by https: plain
	// HTTP is redirected to it, or an app asks for HSTS or a certificate.
	Wanted bool   `json:"wanted"`
	Reason string `json:"reason"`
}

// UncoveredDomains returns all uncovered domains, those that are wanted first. known is
// false until apps and certificates have been read.
func (c *Collator) UncoveredDomains() (all []UncoveredDomain, known bool) {
	v := c.coverage
	v.mu.RLock()
	known = v.known
	for fleet, f := range v.fleets {
		for domain, u := range f.uncovered {
			all = append(all, UncoveredDomain{fleet, domain, u.wanted, u.reason})
		}
	}
	v.mu.RUnlock()
	slices.SortFunc(all, func(a, b UncoveredDomain) int {
		if a.Wanted != b.Wanted {
			return map[bool]int{true: -1, false: 1}[a.Wanted]
		}
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Fleet, b.Fleet))
	})
	return all, known
}

// DomainsByCertificate returns the domains that some fleet serves with each certificate,
// by CertificateView.Secret, each list sorted. known is false until apps and certificates
// have been read. A certificate without domains is unused, unless it is the default one.
func (c *Collator) DomainsByCertificate() (domains map[string][]string, known bool) {
	domains = make(map[string][]string)
	v := c.coverage
	v.mu.RLock()
	known = v.known
	for _, f := range v.fleets {
		for domain, picked := range f.picked {
			for _, secret := range [...]string{picked.Secret, picked.Second} {
				if secret != "" {
					domains[secret] = append(domains[secret], domain)
				}
			}
		}
	}
	v.mu.RUnlock()
	for secret := range domains {
		slices.Sort(domains[secret])
		domains[secret] = slices.Compact(domains[secret])
	}
	return domains, known
}

var (
	uncoveredGauge = scrape.NewGauge("relay_domains_without_certificate",
		"Domains routed by a fleet with an https listener, whose https clients refuse the certificate or get none. "+
			"Wanted are those to which plain HTTP is redirected, or for which an app asks for HSTS or a certificate.", "fleet", "wanted")
	unusedGauge = scrape.NewGauge("relay_certificates_unused", "Certificates that are no domain's and not the default one.")
)

// registerCoverage registers what is counted of certificates and domains. It looks at each
// certificate, and at no domain.
func (c *Collator) registerCoverage(registerer prometheus.Registerer) {
	scrape.Register(registerer, func(set scrape.Set) {
		certificates, v := *c.certificateViews.Load(), c.coverage
		v.mu.RLock()
		defer v.mu.RUnlock()
		if !v.known {
			return
		}
		for fleet, f := range v.fleets {
			set(uncoveredGauge, float64(f.wanted), fleet, "true")
			set(uncoveredGauge, float64(len(f.uncovered)-f.wanted), fleet, "false")
		}
		unused := 0
		for i := range certificates {
			if !v.uses(certificates[i].Secret) {
				unused++
			}
		}
		set(unusedGauge, float64(unused))
	}, uncoveredGauge, unusedGauge)
}
