package admin

import (
	"net/http"
	"slices"

	"relay/internal/problem"
)

// maxShownGroups and maxOfGroup bound the groups in the JSON: its list of problems has all.
const (
	maxShownGroups = 200
	maxOfGroup     = 10
)

// grouped returns the first limit groups of problems as the page and the JSON show them, with
// the first few problems each, and how many groups there are more.
func grouped(problems []problem.Problem, limit, ofGroup int) (groups []problem.Group, more int) {
	groups = problem.Groups(problems, ofGroup)
	more = max(0, len(groups)-limit)
	groups = groups[:len(groups)-more]
	for i := range groups {
		groups[i].Problems = shownAll(groups[i].Problems)
		groups[i].Subject = redact(groups[i].Subject)
	}
	return orEmpty(groups), more
}

func shownAll(list []problem.Problem) []problem.Problem {
	list = orEmpty(list)
	for i := range list {
		list[i] = shown(list[i].Complete())
		list[i].Subject = redact(list[i].Subject)
		list[i].Reason = redact(list[i].Reason)
	}
	return list
}

// problemsJSON answers /api/v1/problems.
func (s *Server) problemsJSON(w http.ResponseWriter, _ *http.Request) {
	problems := s.cfg.Views.Problems()
	groups, more := grouped(problems, maxShownGroups, maxOfGroup)
	s.json(w, http.StatusOK, struct {
		// Summary is the first line of the page.
		Summary    string            `json:"summary"`
		Groups     []problem.Group   `json:"groups"`
		MoreGroups int               `json:"moreGroups,omitempty"`
		Problems   []problem.Problem `json:"problems"`
	}{s.cfg.Views.Served().String(), groups, more, shownAll(slices.Clone(problems))})
}

// shown returns a problem in the words of the page and the JSON. Its subject is what has the
// problem: an app, a fleet, a certificate, an Envoy or a source; its kind says which of these. The
// fleet is in the reason.
func shown(p problem.Problem) problem.Problem {
	switch {
	case p.App != "":
		p.Kind, p.App, p.Subject, p.Item = problem.App, "", p.App, p.Subject
	case p.Kind == problem.Fleet:
		p.Fleet, p.Subject, p.Item = "", "fleet "+p.Fleet, p.Subject
	case p.Kind != problem.Envoy && p.Kind != problem.Source:
		p.Kind = problem.Certificate
	}
	if p.Fleet != "" {
		p.Fleet, p.Reason = "", "fleet "+p.Fleet+": "+p.Reason
	}
	return p
}
