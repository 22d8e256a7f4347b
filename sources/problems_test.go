package sources

import (
	"fmt"
	"strings"
	"testing"

	"relay/internal/problem"
)

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var p Problems
	if p.List() != nil {
		t.Error("there are problems in the beginning")
	}
	long := strings.Repeat("ü", 1<<20)
	for range 25 {
		p.Add(long, "is %s", long)
	}
	for i := range MaxSubjectProblems {
		p.Add("other", "%d", i)
	}
	list := p.List()
	if n := len(list); n != 2*MaxSubjectProblems+1 || list[n-1].Reason != "has 15 more problems" || !strings.HasPrefix(list[n-1].Subject, "ü") {
		t.Errorf("%d problems, the last is %+v", n, list[n-1])
	}
	for i := range 10_000 {
		p.Add(fmt.Sprint("subject ", i), "is wrong")
		p.Append(problem.Problem{Subject: long, Reason: long})
	}
	list = p.List()
	if n := len(list); n != MaxProblems+2 || list[n-1] != (problem.Problem{Reason: "has 19920 more problems than are shown"}) {
		t.Errorf("%d problems, the last is %+v", n, list[n-1])
	}
	for _, one := range list {
		if len(one.Subject) > 130 || len(one.Reason) > 1010 {
			t.Errorf("a problem has %d and %d bytes", len(one.Subject), len(one.Reason))
		}
	}
}
