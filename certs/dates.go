package certs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/internal/hostname"
)

// DateProblem says that clients refuse a certificate for its dates, and what
// becomes of server names that it is the best one for.
type DateProblem struct {
	Certificate *Certificate
	// Names are these server names, sorted.
	Names []string
	// Default tells that the certificate is the default one too.
	Default bool
	// Instead is the valid certificate of a wildcard that answers for the names;
	// nil when Certificate is served all the same.
	Instead *Certificate
	state   string
}

// Problem puts it into words.
func (p DateProblem) Problem() Problem {
	names := p.Names
	if p.Default {
		names = append(slices.Clone(names), "unknown names")
	}
	reason := fmt.Sprintf("%s and is served all the same: nothing else covers %s", p.state, some(names))
	if i := p.Instead; i != nil {
		reason = fmt.Sprintf("%s: %s/%s, which is valid until %s, is served instead for %s", p.state, i.Source, i.Name, day(i.NotAfter), some(names))
	}
	return Problem{Source: p.Certificate.Source, Name: p.Certificate.Name, Reason: reason}
}

// dateProblems gives one problem per certificate, however many names it has, and
// one more for each certificate that is served instead. They are ordered.
func dateProblems(s Selection, now time.Time) []DateProblem {
	type fate struct{ refused, instead *Certificate }
	names := make(map[fate][]string)
	for name, c := range s.Winners {
		if c.ValidAt(now) != Valid {
			names[fate{refused: c}] = append(names[fate{refused: c}], name)
		}
	}
	for name, c := range s.Yielding {
		f := fate{c, s.Winners[hostname.WildcardOver(name)]}
		names[f] = append(names[f], name)
	}
	if d := s.Default; d != nil && d.ValidAt(now) != Valid {
		if f := (fate{refused: d}); names[f] == nil {
			names[f] = []string{}
		}
	}
	var problems []DateProblem
	for f, covered := range names {
		slices.Sort(covered)
		state := "expired on " + day(f.refused.NotAfter)
		if f.refused.ValidAt(now) == NotYetValid {
			state = "is not valid before " + day(f.refused.NotBefore)
		}
		problems = append(problems, DateProblem{
			Certificate: f.refused, Names: covered, Instead: f.instead, state: state,
			Default: f.instead == nil && f.refused == s.Default,
		})
	}
	slices.SortFunc(problems, func(a, b DateProblem) int {
		return cmp.Or(cmp.Compare(a.Certificate.Name, b.Certificate.Name), cmp.Compare(a.Certificate.Source, b.Certificate.Source),
			cmp.Compare(a.state, b.state), slices.Compare(a.Names, b.Names))
	})
	return problems
}

// some keeps a message short when a certificate has hundreds of names.
func some(names []string) string {
	const limit = 3
	if len(names) <= limit {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:limit], ", "), len(names)-limit)
}
