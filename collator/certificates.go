package collator

import (
	"maps"
	"slices"
	"time"

	"relay/certs"
	"relay/collator/routing"
)

// mergeCertificates takes in complete reads of certificate sources.
func (c *Collator) mergeCertificates(reads map[string]certificateRead) {
	maps.Copy(c.certificates, reads)
	for source, read := range reads {
		problems := make([]Problem, len(read.problems))
		for i, p := range read.problems {
			problems[i] = Problem{Subject: p.Name, Reason: p.Reason}
		}
		c.problems.set(owner{CertificateProblem, "", inStore, source}, problems...)
	}
	c.selectCertificates()
}

// selectCertificates decides which certificate answers which server name now, and tells
// the fleets. It does nothing until each source has been read.
func (c *Collator) selectCertificates() {
	for _, source := range c.cfg.CertificateSources {
		if _, ok := c.certificates[source]; !ok {
			return
		}
	}
	c.certificatesSynced.Store(true)
	all, problems := c.allCertificates()
	selection := certs.Select(all, c.now())
	c.nextSelection = selection.Next
	c.problems.set(owner{CertificateProblem, "", inSelection, ""}, problems...)
	chains, secrets := routing.TLSChains(selection)
	for _, f := range c.fleets {
		f.setCertificates(chains, secrets)
	}
	c.serve(selection)
	c.viewCertificates(all, selection)
}

// allCertificates returns the certificates of all sources, in a fixed order. Of several
// whose secrets would have the same name it returns the first.
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

// CertificateView is a certificate as people read about it.
type CertificateView struct {
	Source, Name string
	// Secret is the name of the resource in Envoy.
	Secret string
	// ServerNames are the names that it covers, Serves those for which it is served.
	ServerNames, Serves []string
	// Yielding are those for which it is served only where the certificate of the
	// wildcard over the name cannot be.
	Yielding []string
	// Default is set if it answers clients without a known server name.
	Default             bool
	NotBefore, NotAfter time.Time
	Fingerprint         string
}

// viewCertificates makes what Certificates returns.
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

// namesOf returns the server names of each certificate, sorted.
func namesOf(winners map[string]*certs.Certificate) map[*certs.Certificate][]string {
	names := make(map[*certs.Certificate][]string)
	for _, name := range slices.Sorted(maps.Keys(winners)) {
		names[winners[name]] = append(names[winners[name]], name)
	}
	return names
}

// Certificates returns all certificates, used or not, ordered by source.
func (c *Collator) Certificates() []CertificateView { return slices.Clone(*c.certificateViews.Load()) }
