package relay

import (
	"strings"
	"testing"

	"relay/internal/problem"
)

// What to do about one problem of an app is not said of the next one, which needs something else.
func TestEachProblemHasItsAction(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := &checker{out: &out}
	one := func(subject, action string) problem.Problem {
		return problem.Problem{Kind: problem.TCP, App: "/imp", Subject: subject, Severity: problem.Failing, Reason: "is missing", Action: action}
	}
	r.sayProblems([]problem.Problem{one("a", "give one"), one("b", "give one"), one("c", "give another")})
	const want = `wrong  app /imp: a: is missing
wrong  app /imp: b: is missing
       -> give one
wrong  app /imp: c: is missing
       -> give another
`
	if out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", out.String(), want)
	}
}
