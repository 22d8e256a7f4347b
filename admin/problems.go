package admin

import (
	"slices"

	"relay/internal/problem"
)

// problems returns all problems as the page and the JSON show them.
func (s *Server) problems() []problem.Problem {
	list := orEmpty(slices.Clone(s.cfg.Views.Problems()))
	for i := range list {
		list[i] = shown(list[i])
		list[i].Subject = redact(list[i].Subject)
		list[i].Reason = redact(list[i].Reason)
	}
	return list
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
