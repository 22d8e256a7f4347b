package admin

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/collator"
	"relay/internal/problem"
)

// certificates answers /api/v1/certificates, ordered by source and name.
func (s *Server) certificates(_ *http.Request, q query) (any, error) {
	text := q.text("q")
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(strings.ToLower(n), text) })
	}
	entries := filter(s.cfg.Views.Certificates(), text != "", func(c collator.CertificateView) bool {
		return has(c.Name, c.Source) || has(c.ServerNames...)
	})
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b collator.CertificateView) int { return strings.Compare(certificateKey(a), certificateKey(b)) })
	var byDays func(collator.CertificateView) float64
	if q.values["sort"] == "days" {
		// The largest is first: so those that expire first have the largest number. Those that
		// nobody uses come last.
		byDays = func(c collator.CertificateView) float64 {
			if c.Unused {
				return 5e11 - float64(c.NotAfter.Unix())
			}
			return 1e12 - float64(c.NotAfter.Unix())
		}
	}
	shown, page := pageOf(entries, q, certificateKey, byDays)
	list := api.Certificates{Certificates: make([]api.Certificate, len(shown)), Page: page}
	for i, c := range shown {
		list.Certificates[i] = certificateOf(c)
	}
	return list, nil
}

// certificateKey is what orders certificates, and tells them apart.
func certificateKey(c collator.CertificateView) string {
	return c.Source + "/" + c.Name + "\x00" + c.Fingerprint
}

func certificateOf(c collator.CertificateView) api.Certificate {
	return api.Certificate{
		Source: c.Source, Name: c.Name, ServerNames: c.ServerNames, NotAfter: c.NotAfter, DaysLeft: c.DaysLeft, Fingerprint: c.Fingerprint,
		EndsWithIssuer: c.EndsWith, Key: string(c.Kind), ServedFor: c.Serves, Default: c.Default,
		Domains: c.Domains, DomainCount: c.DomainCount, Unused: c.Unused, Remarks: c.Remarks,
	}
}

// certificate answers /api/v1/certificates/vault/shop.test. The name of a file begins with a
// slash, of which paths have one only.
func (s *Server) certificate(r *http.Request, _ query) (any, error) {
	name := path.Clean(r.PathValue("name"))
	for _, c := range s.cfg.Views.Certificates() {
		if path.Clean(c.Source+"/"+c.Name) != name {
			continue
		}
		story := api.CertificateStory{Certificate: certificateOf(c), LastChanges: s.lastChanges(ChangeQuery{Certificate: c.Source + "/" + c.Name})}
		for _, p := range s.problems.current(s.cfg.Views, time.Now()).all {
			if p.Kind == problem.Certificate && strings.HasSuffix(p.Subject, c.Name) && len(story.Problems) < maxLast {
				story.Problems = append(story.Problems, p)
			}
		}
		story.Problems = shownAll(story.Problems)
		return story, nil
	}
	return nil, unknown(fmt.Sprintf("no certificate %q: it is written as source/name, as in vault/shop.test", name))
}

// uncovered answers /api/v1/uncovered.
func (s *Server) uncovered(*http.Request, query) (any, error) {
	domains, known := s.cfg.Views.Uncovered()
	if !known {
		return api.Uncovered{}, nil
	}
	list := api.Uncovered{Uncovered: make([]api.UncoveredDomain, len(domains))}
	for i, d := range domains {
		list.Uncovered[i] = api.UncoveredDomain(d)
	}
	return list, nil
}
