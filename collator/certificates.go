package collator

import (
	"maps"
	"math"
	"slices"
	"time"

	"relay/certs"
	"relay/collator/routing"
)

// mergeCertificates takes complete reads of certificate sources.
func (c *Collator) mergeCertificates(reads map[string]certificateRead) {
	maps.Copy(c.certificates, reads)
	for source, read := range reads {
		problems := make([]Problem, len(read.problems))
		for i, p := range read.problems {
			problems[i] = Problem{Subject: p.Name, Reason: p.Reason}
		}
		c.problems.set(owner{CertificateProblem, "", source}, problems...)
	}
	c.selectCertificates()
}

// selectCertificates decides which certificate answers which server name, now,
// and tells the fleets, once all sources are known. Before that, people are
// reminded of those that are known.
func (c *Collator) selectCertificates() {
	all, problems := c.allCertificates()
	selection := certs.Select(all, c.now())
	c.nextSelection = selection.Next
	c.coverage.setSelected(selection.Certificates())
	for _, source := range c.cfg.CertificateSources {
		if _, ok := c.certificates[source]; !ok {
			return
		}
	}
	c.certificatesSynced.Store(true)
	// The name cannot be that of a source.
	c.problems.set(owner{CertificateProblem, "", ""}, problems...)
	chains, secrets := routing.TLSChains(selection)
	for _, f := range c.fleets {
		f.setCertificates(chains, secrets)
	}
	c.serve(selection)
	c.viewCertificates(all, selection)
}

// allCertificates returns the certificates of all sources, in a fixed order,
// without those whose secret would have the name of another's.
func (c *Collator) allCertificates() (all []*certs.Certificate, problems []Problem) {
	seen := make(map[string]bool)
	for _, source := range slices.Sorted(maps.Keys(c.certificates)) {
		for _, certificate := range c.certificates[source].certificates {
			name := routing.SecretName(certificate)
			if seen[name] {
				problems = append(problems, Problem{Subject: name, Reason: "is given twice: the first is used"})
				continue
			}
			seen[name] = true
			all = append(all, certificate)
		}
	}
	return all, problems
}

// CertificateView is a certificate as people read about it. What it has to do with the
// clock and with domains is filled in by Certificates.
type CertificateView struct {
	Source string `json:"source"`
	Name   string `json:"name"`
	// Secret is the name of the resource in Envoy.
	Secret string `json:"-"`
	// ServerNames are the names it covers.
	ServerNames []string  `json:"serverNames,omitempty"`
	NotBefore   time.Time `json:"-"`
	NotAfter    time.Time `json:"notAfter"`
	// DaysLeft are whole days, rounded down: negative from the moment of expiry.
	DaysLeft    int    `json:"daysLeft"`
	Fingerprint string `json:"fingerprint"`
	// Serves are those of ServerNames that it is used for, where no other certificate
	// is preferred.
	Serves []string `json:"servedFor,omitempty"`
	// Yielding are those that it is used for where the wildcard over them cannot be.
	Yielding []string `json:"-"`
	// Default tells that it answers clients without a known server name.
	Default bool `json:"default,omitempty"`
	// Domains are the routed domains that it is served with, and DomainCount is their
	// number.
	Domains     []string `json:"domains,omitempty"`
	DomainCount int      `json:"domainCount"`
	// Unused tells that it is no domain's and not the default one; false until that
	// is known.
	Unused bool `json:"unused"`
}

func (c *Collator) viewCertificates(all []*certs.Certificate, s certs.Selection) {
	serves, yielding := namesOf(s.Winners), namesOf(s.Yielding)
	views := make([]CertificateView, len(all))
	for i, certificate := range all {
		views[i] = CertificateView{
			Source: certificate.Source, Name: certificate.Name, Secret: routing.SecretName(certificate),
			ServerNames: certificate.ServerNames, Serves: serves[certificate], Yielding: yielding[certificate],
			Default:   certificate == s.Default,
			NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter,
			Fingerprint: certificate.Fingerprint,
		}
	}
	c.certificateViews.Store(&views)
}

// namesOf returns the names of each certificate, sorted.
func namesOf(winners map[string]*certs.Certificate) map[*certs.Certificate][]string {
	names := make(map[*certs.Certificate][]string)
	for _, name := range slices.Sorted(maps.Keys(winners)) {
		names[winners[name]] = append(names[winners[name]], name)
	}
	return names
}

// Certificates returns all certificates, used or not, ordered by source.
func (c *Collator) Certificates() []CertificateView {
	views, now := slices.Clone(*c.certificateViews.Load()), c.now()
	domains, known := c.DomainsByCertificate()
	for i := range views {
		v := &views[i]
		v.DaysLeft = int(math.Floor(v.NotAfter.Sub(now).Hours() / 24))
		v.Domains, v.DomainCount = domains[v.Secret], len(domains[v.Secret])
		v.Unused = known && !v.Default && v.DomainCount == 0
	}
	return views
}
