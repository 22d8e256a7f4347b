package findings

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/internal/plural"
	"relay/internal/problem"
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
	l.apps(s.Sources)
	l.certificateSources(s.Sources, false)
	for _, f := range s.Fleets {
		l.fleet(f, s)
	}
	l.failing(s)
	l.probes(s.Probes)
	l.certificates(s)
	l.leftOut(s)
	if len(l) == 0 && !s.OK && !meant(s) {
		l.add(api.Warning, "", "Not everything is served: %s", s.Summary)
	}
	if s.Load != nil && s.Load.Errors > 0 && s.Load.Errors >= tooMany*s.Load.Requests {
		l.add(api.Warning, "see the apps with the most errors: the list of apps, or relay apps --sort errors", "%s of the requests of the last minute ended with errors", share(s.Load.Errors, s.Load.Requests))
	}
	if len(s.Refused) > 0 {
		l.add(api.Warning, "", "An Envoy was refused: %s", s.Refused[0])
	}
	return l.sorted("All is well" + catchingUp(s.Fleets))
}

// maxFailing bounds what is said of problems that cost requests: their list has all.
const maxFailing = 2

// ofScaling is the subject of what Marathon can be read for, and does not let Relay change.
const ofScaling = "scaling"

// failing says the worst problems. What is rejected, and sources, are told elsewhere.
func (l *list) failing(s *api.Status) {
	said, told := 0, 0
	for _, g := range s.Worst {
		if g.Severity != problem.Failing || len(g.Problems) == 0 {
			break
		}
		switch p := g.Problems[0]; {
		case p.Kind == problem.Certificate && s.Certificates.Next != nil && strings.HasSuffix(s.Certificates.Next.Name, "/"+p.Subject) && !s.Time.Before(s.Certificates.Next.NotAfter):
			told += g.Count
		case p.Kind == problem.Source && p.Subject != ofScaling || p.Kind == problem.Envoy && slices.ContainsFunc(s.Fleets, func(f api.FleetStatus) bool { return f.Rejecting > 0 }):
			told += g.Count
		case said < maxFailing:
			said, told = said+1, told+g.Count
			p.Reason, _, _ = strings.Cut(p.Reason, ". ") // what follows is what Envoys do about it
			l.problem(api.Warning, g.Subject+": ", p)
		}
	}
	if n := s.Counts.Failing - told; n > 0 {
		more := plural.Of(n, "problem")
		if told > 0 {
			more = plural.Of(n, "more problem")
		}
		l.add(api.Warning, "see the problems", "%s %s requests, or %s changes from Envoys", more, verb(n, "costs", "cost"), verb(n, "keeps", "keep"))
	}
}

// leftOut says that apps ask for domains in vain, and the first mistake: it may be another one.
func (l *list) leftOut(s *api.Status) {
	n := s.Counts.LeftOut
	if n == 0 {
		return
	}
	l.add(api.Warning, "see the problems, or the page of the domain: a label may be mistyped", "%s %s not served, though an app asks for %s", plural.Of(n, "domain"), verb(n, "is", "are"), verb(n, "it", "them"))
	for _, g := range s.Worst {
		if g.Severity == problem.Ignored && g.About == "app" && len(g.Problems) > 0 {
			l.problem(api.Warning, g.Subject+": ", g.Problems[0])
			return
		}
	}
}

// meant reports whether what is not served may be as people want it: apps that are scaled to 0,
// that another load balancer serves, or that ask for no certificate.
func meant(s *api.Status) bool {
	c := s.Counts
	return c.WithoutTask+c.LeftOut+s.Certificates.Uncovered == 0 && c.WithoutCertificate+c.InNoFleet+c.Stopped > 0
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
	return "; " + plural.Of(behind, "Envoy") + " " + verb(behind, "catches", "catch") + " up"
}

func (l *list) fleet(f api.FleetStatus, s *api.Status) {
	const look = "see whether the Envoys run, and what Relay's log says of them"
	switch n := len(f.Disconnected); {
	case f.Envoys == 0 && n > 0:
		l.add(api.Critical, look, "Fleet %s: no Envoy is connected any more; %s left at %s", f.Name, f.Disconnected[0].ID, stamp(f.Disconnected[0].Since))
	case f.Envoys == 0:
		l.add(api.Warning, look, "Fleet %s: no Envoy is connected", f.Name)
	case n > 0:
		l.add(api.Warning, look, "Fleet %s: %s %s left in the last hour, such as %s", f.Name, plural.Of(n, "Envoy"), verb(n, "has", "have"), f.Disconnected[0].ID)
	}
	if n := f.Rejecting; n > 0 {
		what := fmt.Sprintf("%s %s what %s sent", plural.Of(n, "Envoy"), verb(n, "rejects", "reject"), verb(n, "it is", "they are"))
		if len(f.Rejected) > 0 {
			r := f.Rejected[0]
			what = fmt.Sprintf("Envoy %s rejects %s: %s%s", r.Envoy, r.Resource, r.Error, others(n-1, "so"))
		}
		l.add(api.Warning, "docs/rejections.md says what to do", "Fleet %s: %s", f.Name, what)
	}
	if n := len(f.Late); n > 0 {
		l.add(api.Warning, "look at the Envoy: it may hang, or the connection between it and Relay", "Fleet %s: Envoy %s is behind: it has not answered since %s%s",
			f.Name, f.Late[0].ID, stamp(f.Late[0].Since), others(n-1, "so"))
	}
}

func (l *list) certificates(s *api.Status) {
	const renew = "see whether marathon-acme, or who else renews it, works"
	c := s.Certificates
	if c.Next != nil {
		switch left := c.Next.NotAfter.Sub(s.Time); {
		case left <= 0:
			l.add(api.Critical, renew, "The certificate %s ended at %s", c.Next.Name, stamp(c.Next.NotAfter))
		case left < CriticalDays*24*time.Hour:
			l.add(api.Critical, renew, "The certificate %s ends at %s", c.Next.Name, stamp(c.Next.NotAfter))
		}
	}
	if n := c.Soon; n > 0 {
		l.add(api.Warning, renew, "%s in use %s in less than 21 days", plural.Of(n, "certificate"), verb(n, "expires", "expire"))
	}
	if n := c.Uncovered; n > 0 {
		l.add(api.Warning, "see the domains without a certificate", "%s %s no certificate and should have one", plural.Of(n, "domain"), verb(n, "has", "have"))
	}
}
