package collator

import (
	"maps"
	"math"
	"slices"
	"time"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/problem"
)

// mergeCertificates takes in complete reads of certificate sources.
func (c *Collator) mergeCertificates(reads map[string]certificateRead) {
	maps.Copy(c.certificates, reads)
	for source, read := range reads {
		c.problems.set(owner{problem.Certificate, "", inStore, source}, read.problems...)
	}
	c.selectCertificates()
}

// selectCertificates decides which certificate answers which server name now, and tells
// the fleets. Until each source has been read it only tells which certificates would be
// selected, for reminders.
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
	c.problems.set(owner{problem.Certificate, "", inSelection, ""}, problems...)
	chains, secrets := routing.TLSChains(selection)
	for _, f := range c.fleets {
		f.setSelection(selection, c.now())
		f.setCertificates(chains, secrets)
	}
	c.setServed(selection)
	c.viewCertificates(all, selection)
}

// allCertificates returns the certificates of all sources as they are now, in a fixed
// order. Of several whose secrets would have the same name it returns the first.
func (c *Collator) allCertificates() (all []*certs.Certificate, problems []problem.Problem) {
	seen := make(map[string]bool)
	for _, source := range slices.Sorted(maps.Keys(c.certificates)) {
		for _, certificate := range c.certificates[source].certificates {
			name := routing.SecretName(certificate)
			if seen[name] {
				problems = append(problems, problem.Problem{Subject: name, Reason: "is given twice: the first is used"})
				continue
			}
			seen[name] = true
			all = append(all, certificate.At(c.now()))
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
	// ServerNames are the names that it covers.
	ServerNames []string  `json:"serverNames,omitempty"`
	NotBefore   time.Time `json:"-"`
	NotAfter    time.Time `json:"notAfter"`
	// DaysLeft are whole days, rounded down: negative from the moment of expiry.
	DaysLeft    int    `json:"daysLeft"`
	Fingerprint string `json:"fingerprint"`
	// EndsWith is the issuer whose end NotAfter is; empty if it is the certificate's own.
	EndsWith string `json:"endsWithIssuer,omitempty"`
	// Kind is the kind of its key.
	Kind certs.Kind `json:"key,omitempty"`
	// Incomplete is set if some clients miss something in its chain.
	Incomplete bool `json:"-"`
	// Serves are those of ServerNames for which it is served.
	Serves []string `json:"servedFor,omitempty"`
	// LeftToWildcard are those for which it is served only where the certificate of the
	// wildcard over the name cannot be.
	LeftToWildcard []string `json:"-"`
	// Default is set if it answers clients without a known server name.
	Default bool `json:"default,omitempty"`
	// Domains are the routed domains for which it is served, DomainCount is their number.
	Domains     []string `json:"domains,omitempty"`
	DomainCount int      `json:"domainCount"`
	// Unused is set if no domain uses it and it is not the default one; false until that
	// is known.
	Unused bool `json:"unused"`
	// Remarks say what is missing in its chain, and for which of its names another one is
	// served. They are no problems.
	Remarks []string `json:"remarks,omitempty"`
}

// viewCertificates makes what Certificates returns.
func (c *Collator) viewCertificates(all []*certs.Certificate, s certs.Selection) {
	serves, leftToWildcard := namesOf(s.Winners, s.Seconds), namesOf(s.LeftToWildcard)
	views, now := make([]CertificateView, len(all)), c.now()
	for i, certificate := range all {
		views[i] = CertificateView{
			Source: certificate.Source, Name: certificate.Name, Secret: routing.SecretName(certificate),
			ServerNames: certificate.ServerNames, Serves: serves[certificate], LeftToWildcard: leftToWildcard[certificate],
			Default:   certificate == s.Default || certificate == s.DefaultSecond,
			NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter,
			Fingerprint: certificate.Fingerprint, EndsWith: certificate.EndsWith, Kind: certificate.Kind,
			Incomplete: certificate.Remark != "", Remarks: remarks(certificate, s, len(serves[certificate]), now),
		}
	}
	c.certificateViews.Store(&views)
}

// namesOf returns the server names of each certificate, sorted.
func namesOf(served ...map[string]*certs.Certificate) map[*certs.Certificate][]string {
	names := make(map[*certs.Certificate][]string)
	for _, winners := range served {
		for name, certificate := range winners {
			names[certificate] = append(names[certificate], name)
		}
	}
	for _, all := range names {
		slices.Sort(all)
	}
	return names
}

// CertificatesInShort is like Certificates, without Domains and DomainCount: it looks at no
// domain.
func (c *Collator) CertificatesInShort() []CertificateView {
	views, now := slices.Clone(*c.certificateViews.Load()), c.now()
	c.coverage.mu.RLock()
	defer c.coverage.mu.RUnlock()
	for i := range views {
		v := &views[i]
		v.DaysLeft = daysUntil(v.NotAfter, now)
		v.Unused = c.coverage.known && !v.Default && !c.coverage.uses(v.Secret)
	}
	return views
}

// daysUntil returns whole days, rounded down.
func daysUntil(t, now time.Time) int { return int(math.Floor(t.Sub(now).Hours() / 24)) }

// Certificates returns all certificates, used or not, ordered by source.
func (c *Collator) Certificates() []CertificateView {
	views, now := slices.Clone(*c.certificateViews.Load()), c.now()
	domains, known := c.DomainsByCertificate()
	c.coverage.mu.RLock()
	defer c.coverage.mu.RUnlock()
	for i := range views {
		v := &views[i]
		v.DaysLeft = daysUntil(v.NotAfter, now)
		v.Domains, v.DomainCount = domains[v.Secret], len(domains[v.Secret])
		v.Unused = known && !v.Default && v.DomainCount == 0 && !c.coverage.usedByService(v.Secret)
	}
	return views
}
