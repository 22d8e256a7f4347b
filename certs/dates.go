package certs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/internal/hostname"
	"relay/internal/problem"
)

// DateProblem says that clients refuse a certificate for its dates, and what is
// served for the server names for which there is no better one. It is not in words
// yet: which of the names it is about also depends on what fleets serve.
type DateProblem struct {
	Certificate *Certificate
	// Names are these server names, sorted.
	Names []string
	// Default tells that the certificate is the default one too.
	Default bool
	// Instead is the valid certificate of a wildcard that answers for the names;
	// nil when Certificate is served all the same.
	Instead *Certificate
	// why says what is wrong with the dates.
	why string
}

// Problem puts it into words.
func (p DateProblem) Problem() problem.Problem {
	names := p.Names
	if p.Default {
		names = append(slices.Clone(names), "unknown names")
	}
	reason := fmt.Sprintf("%s and is served all the same: nothing else covers %s", p.why, shortList(names))
	if p.Certificate.EndsWith != "" && p.Instead == nil {
		reason += "; put a valid certificate of the issuer into the bundle, or issue the certificate again"
	}
	if i := p.Instead; i != nil {
		reason = fmt.Sprintf("%s: %s/%s, which is valid until %s, is served instead for %s", p.why, i.Source, i.Name, day(i.NotAfter), shortList(names))
	}
	return problem.Problem{Subject: p.Certificate.Name, Reason: reason}
}

// Refused says why clients refuse the dates of a certificate, such as "expired on
// 2026-03-01"; it is empty if they accept them.
func (c *Certificate) Refused(now time.Time) string {
	c = c.At(now)
	switch c.ValidAt(now) {
	case NotYetValid:
		return "is not valid before " + day(c.NotBefore) + withIssuer(c.BeginsWith)
	case Expired:
		return "expired on " + day(c.NotAfter) + withIssuer(c.EndsWith)
	}
	return ""
}

// withIssuer says whose dates count; nothing if they are the leaf's own.
func withIssuer(issuer string) string {
	if issuer == "" {
		return ""
	}
	return fmt.Sprintf(" with its issuer %.200q", issuer)
}

// dateProblems gives one problem per certificate, however many names it has, and
// one more for each certificate that is served instead. They are ordered.
func dateProblems(s Selection, now time.Time) []DateProblem {
	type outcome struct{ refused, instead *Certificate }
	names := make(map[outcome][]string)
	for name, c := range s.Winners {
		if c.ValidAt(now) != Valid {
			names[outcome{refused: c}] = append(names[outcome{refused: c}], name)
		}
	}
	for name, c := range s.LeftToWildcard {
		o := outcome{c, s.Winners[hostname.WildcardOver(name)]}
		names[o] = append(names[o], name)
	}
	if d := s.Default; d != nil && d.ValidAt(now) != Valid {
		if o := (outcome{refused: d}); names[o] == nil {
			names[o] = []string{}
		}
	}
	var problems []DateProblem
	for o, covered := range names {
		slices.Sort(covered)
		why := o.refused.Refused(now)
		problems = append(problems, DateProblem{
			Certificate: o.refused, Names: covered, Instead: o.instead, why: why,
			Default: o.instead == nil && o.refused == s.Default,
		})
	}
	slices.SortFunc(problems, func(a, b DateProblem) int {
		return cmp.Or(cmp.Compare(a.Certificate.Name, b.Certificate.Name), cmp.Compare(a.Certificate.Source, b.Certificate.Source),
			cmp.Compare(a.why, b.why), slices.Compare(a.Names, b.Names))
	})
	return problems
}

// shortList keeps a message short when a certificate has hundreds of names.
func shortList(names []string) string {
	const limit = 3
	if len(names) <= limit {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:limit], ", "), len(names)-limit)
}
