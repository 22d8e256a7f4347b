package collator

import (
	"slices"
	"testing"

	"relay/internal/problem"
)

// A source says what is wrong with which label. The rest is filled in, and what the source
// has stays as it is.
func TestProblemsAreCompleted(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	app := webApp("/shop", "shop.test")
	said := problem.Problem{Subject: "HAPROXY_0_VHOSTS", Reason: "is not a known label"}
	app.Problems = []problem.Problem{said}
	syncApps(c, app)
	c.mergeCertificates(map[string]certificateRead{"vault": {problems: []problem.Problem{{Subject: "a.test", Reason: "no key"}}}})
	want := []problem.Problem{
		{Kind: problem.Certificate, Subject: "a.test", Reason: "no key"},
		{Kind: problem.App, App: "/shop", Subject: said.Subject, Reason: said.Reason},
	}
	got := slices.DeleteFunc(c.Problems(), func(p problem.Problem) bool { return p.Kind == problem.HTTPS })
	if !slices.Equal(got, want) {
		t.Errorf("problems %+v, want %+v", got, want)
	}
	if app.Problems[0] != said {
		t.Errorf("the problem of the source is %+v now", app.Problems[0])
	}
}

func (s *problemSet) count(kind problem.Kind) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.counts[kind]
}
