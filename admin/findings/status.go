package findings

import (
	"time"

	"relay/admin/api"
)

// CriticalDays is when a certificate that is in use is critical: it was not renewed for long,
// and clients refuse it soon.
const CriticalDays = 2

// OfStatus says how all is. By its level "relay status" ends with a status, and tells Nagios.
func OfStatus(s *api.Status) []api.Finding {
	var l list
	for _, reason := range s.NotReady {
		l.add(api.Critical, "", "Envoys are not served everything yet: %s", reason)
	}
	if !s.Ready && len(s.NotReady) == 0 {
		l.add(api.Critical, "", "Envoys are not served everything yet")
	}
	l.sources(s.Sources)
	for _, f := range s.Fleets {
		l.fleet(f)
	}
	if n := s.Counts.Failing; n > 0 {
		l.add(api.Warning, "", "%s %s requests, or %s changes from Envoys", plural(n, "problem"), verb(n, "costs", "cost"), verb(n, "keeps", "keep"))
	}
	l.certificates(s)
	if len(l) == 0 && !s.OK && !meant(s) {
		l.add(api.Warning, "", "Not everything is served: %s", s.Summary)
	}
	if s.Load != nil && s.Load.Errors > 0 && s.Load.Errors >= tooMany*s.Load.Requests {
		l.add(api.Warning, "see the apps with the most errors", "%s of the requests of the last minute ended with errors", share(s.Load.Errors, s.Load.Requests))
	}
	if len(s.Refused) > 0 {
		l.add(api.Warning, "", "An Envoy was refused: %s", s.Refused[0])
	}
	return l.sorted("All is well" + catchingUp(s.Fleets))
}

// meant reports whether what is not served may be as people want it: apps that are scaled to 0,
// that another load balancer serves, or that ask for no certificate.
func meant(s *api.Status) bool {
	c := s.Counts
	return c.WithoutTask+s.Certificates.Uncovered == 0 && c.WithoutCertificate+c.InNoFleet+c.Stopped > 0
}

// catchingUp says how many Envoys are being sent something just now, which is no finding.
func catchingUp(fleets []api.FleetStatus) string {
	behind := 0
	for _, f := range fleets {
		behind += f.Behind
	}
	if behind == 0 {
		return ""
	}
	return "; " + plural(behind, "Envoy") + " " + verb(behind, "catches", "catch") + " up"
}

func (l *list) fleet(f api.FleetStatus) {
	const look = "see whether the Envoys run, and what Relay's log says of them"
	switch {
	case f.Envoys == 0 && len(f.Disconnected) > 0:
		l.add(api.Critical, look, "Fleet %s: no Envoy is connected any more", f.Name)
	case f.Envoys == 0:
		l.add(api.Warning, look, "Fleet %s: no Envoy is connected", f.Name)
	case len(f.Disconnected) > 0:
		n := len(f.Disconnected)
		l.add(api.Warning, look, "Fleet %s: %s %s left in the last hour, such as %s", f.Name, plural(n, "Envoy"), verb(n, "has", "have"), f.Disconnected[0].ID)
	}
	if n := f.Rejecting; n > 0 {
		l.add(api.Warning, "see the page of the Envoy, and docs/rejections.md", "Fleet %s: %s %s what %s sent", f.Name, plural(n, "Envoy"), verb(n, "rejects", "reject"), verb(n, "it is", "they are"))
	}
}

func (l *list) certificates(s *api.Status) {
	const renew = "see whether marathon-acme, or who else renews it, works"
	c := s.Certificates
	if c.Next != nil {
		switch left := c.Next.NotAfter.Sub(s.Time); {
		case left <= 0:
			l.add(api.Critical, renew, "The certificate %s has expired", c.Next.Name)
		case left < CriticalDays*24*time.Hour:
			l.add(api.Critical, renew, "The certificate %s expires at %s", c.Next.Name, c.Next.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if n := c.Soon; n > 0 {
		l.add(api.Warning, renew, "%s in use %s in less than 21 days", plural(n, "certificate"), verb(n, "expires", "expire"))
	}
	if n := c.Uncovered; n > 0 {
		l.add(api.Warning, "see the domains without a certificate", "%s %s no certificate and should have one", plural(n, "domain"), verb(n, "has", "have"))
	}
}
