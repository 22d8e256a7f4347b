package relay

import (
	"fmt"
	"slices"
	"strings"

	"relay/collator"
	"relay/internal/plural"
	"relay/internal/problem"
)

const (
	// maxSaidOfGroup is how many problems of one app or domain are printed.
	maxSaidOfGroup = 10
	// maxNotes is how many of what may be meant, of what is worth knowing of certificates, and of
	// domains that are closed, are printed.
	maxNotes = 20
)

// sayProblems prints what is wrong, by app and domain, the worst first, and what to do about
// it. What may be as people want it is a note.
func (r *checker) sayProblems(problems []problem.Problem) {
	notes := 0
	for _, group := range problem.Groups(problems, maxSaidOfGroup) {
		word := "wrong"
		if group.Problems[0].MayBeMeant() {
			if word = "note "; notes >= maxNotes {
				continue
			}
			notes++
		} else {
			r.wrong += group.Count
		}
		todo := group.Action
		for i, p := range group.Problems {
			if i > 0 && p.Action != todo {
				fmt.Fprintf(r.out, "       -> %s\n", todo)
			}
			todo = p.Action
			fmt.Fprintf(r.out, "%s  %s\n", word, problemText(p))
		}
		if more := group.More(); more > 0 {
			fmt.Fprintf(r.out, "%s  %s %s: %d more like these\n", word, group.About, group.Subject, more)
		}
		fmt.Fprintf(r.out, "       -> %s\n", todo)
	}
}

// sayClosed names the first domains of which nobody is let in, and says why. Their problems have been counted.
func (r *checker) sayClosed(closed []collator.ClosedDomain, problems []problem.Problem) {
	for i, domain := range closed {
		if i == maxNotes {
			fmt.Fprintf(r.out, "closed and %s\n", plural.Of(len(closed)-i, "more domain"))
			return
		}
		why := "a restriction that is asked for cannot be kept"
		if i := slices.IndexFunc(problems, func(p problem.Problem) bool { return slices.Contains(domain.Apps, p.App) && closes(p) }); i >= 0 {
			why = problemText(problems[i])
		}
		fmt.Fprintf(r.out, "closed %s: %s\n", domain.Name, why)
	}
}

// closes reports whether a problem says that nobody is let in.
func closes(p problem.Problem) bool {
	return strings.Contains(p.Reason, "every request is answered 403") || strings.Contains(p.Reason, "nobody is let in")
}

// problemText says where a problem is, and what it is.
func problemText(p problem.Problem) (text string) {
	for _, part := range []struct{ what, name string }{{"fleet ", p.Fleet}, {"app ", p.App}, {"", p.Subject}} {
		if part.name != "" {
			text += part.what + part.name + ": "
		}
	}
	return text + p.Reason
}
