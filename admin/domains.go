package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/admin/findings"
	"relay/collator"
	"relay/collator/explain"
)

// domains answers /api/v1/domains.
func (s *Server) domains(_ *http.Request, q query) (any, error) {
	text, fleet, status := q.text("q"), q.values["fleet"], q.values["status"]
	entries := filter(s.cfg.Views.DomainEntries(), text != "" || fleet != "" || status != "", func(e *collator.DomainEntry) bool {
		return strings.Contains(e.Name, text) && (fleet == "" || slices.Contains(e.Fleets, fleet)) &&
			(status == "" || string(s.cfg.Views.DomainStatus(e)) == status)
	})
	shown, page := pageOf(entries, q, domainName, s.domainOrder(q.values["sort"]))
	list := api.Domains{Domains: make([]api.Domain, len(shown)), Page: page}
	for i, e := range shown {
		list.Domains[i] = s.domainOf(e)
	}
	return list, nil
}

func domainName(e *collator.DomainEntry) string { return e.Name }

// domainOrder returns what domains are sorted by; nil for the name.
func (s *Server) domainOrder(sort string) func(*collator.DomainEntry) float64 {
	switch {
	case (sort == "requests" || sort == "errors") && s.cfg.Load != nil:
		return orderByLoad(sort, s.domainLoad)
	case sort == "failures" && s.cfg.Failures != nil:
		return func(e *collator.DomainEntry) float64 { return float64(s.cfg.Failures.DomainFailures(e.Name)) }
	}
	return nil
}

// domainLoad adds up the load of the app ports that have a domain.
func (s *Server) domainLoad(e *collator.DomainEntry) (sum *api.Load) {
	if s.cfg.Load == nil {
		return nil
	}
	for _, cluster := range e.Clusters {
		one := s.cfg.Load.PortLoad(cluster)
		switch {
		case one == nil:
		case sum == nil:
			sum = new(*one)
		default:
			sum.Requests, sum.Errors = sum.Requests+one.Requests, sum.Errors+one.Errors
			sum.Requests10m, sum.Errors10m = sum.Requests10m+one.Requests10m, sum.Errors10m+one.Errors10m
			sum.InProgress += one.InProgress
		}
	}
	return sum
}

func (s *Server) domainOf(e *collator.DomainEntry) api.Domain {
	d := api.Domain{
		Name: e.Name, Fleets: e.Fleets, Apps: e.Apps,
		Status: s.cfg.Views.DomainStatus(e), Certificate: s.cfg.Views.DomainCertificate(e), Load: s.domainLoad(e),
	}
	if s.cfg.Failures != nil {
		d.Failures = new(s.cfg.Failures.DomainFailures(e.Name))
	}
	return d
}

// domain answers /api/v1/domains/shop.test. A host below a wildcard domain is explained, too,
// though no app names it.
func (s *Server) domain(r *http.Request, _ query) (any, error) {
	name := strings.ToLower(strings.TrimSuffix(r.PathValue("name"), "."))
	if len(name) > maxSubject {
		return nil, badRequest("that is too long for a domain")
	}
	answer, known := s.cfg.Views.Explain(name)
	entries := s.cfg.Views.DomainEntries()
	at, named := slices.BinarySearchFunc(entries, name, func(e *collator.DomainEntry, name string) int { return strings.Compare(e.Name, name) })
	if !known && !named {
		return nil, unknown(fmt.Sprintf("no app names the domain %q", name))
	}
	redacted, err := redactAll(answer)
	if err != nil {
		return nil, err
	}
	explanation, err := json.Marshal(redacted)
	if err != nil {
		return nil, err
	}
	story := api.DomainStory{Domain: api.Domain{Name: name, Status: api.DomainInNoFleet}, Explanation: explanation}
	if named {
		story.Domain = s.domainOf(entries[at])
	}
	for _, p := range s.problems.current(s.cfg.Views, time.Now()).all {
		if p.Domain == name && len(story.Problems) < maxLast {
			story.Problems = append(story.Problems, p)
		}
	}
	story.Problems = shownAll(story.Problems)
	story.LastFailures = s.lastFailures(FailureQuery{Domain: name})
	for _, app := range story.Apps {
		story.LastChanges = append(story.LastChanges, s.lastChanges(ChangeQuery{App: app})...)
		if scaling := s.scalingOf(app); scaling != nil {
			if story.Scaling == nil {
				story.Scaling = make(map[string]*api.Scaling)
			}
			story.Scaling[app] = scaling
		}
	}
	slices.SortFunc(story.LastChanges, func(a, b api.Change) int { return int(b.ID) - int(a.ID) })
	story.LastChanges = slices.CompactFunc(story.LastChanges, func(a, b api.Change) bool { return a.ID == b.ID })
	story.LastChanges = story.LastChanges[:min(len(story.LastChanges), maxLast)]
	if e, ok := answer.(explain.Explanation); ok {
		story.Findings = redactFindings(findings.OfDomain(&story, &e, sourcesOf(s.sources()), time.Now()))
	}
	return story, nil
}

// redactFindings redacts what an explanation has that is not redacted yet.
func redactFindings(all []api.Finding) []api.Finding {
	for i := range all {
		all[i].Text = redact(all[i].Text)
	}
	return all
}
