package probe_test

import (
	"context"
	"strings"
	"testing"

	"relay/probe"
)

// answering is a prober that answers by the name of the target.
type answering map[string]probe.Result

func (a answering) Probe(_ context.Context, t probe.Target) probe.Result { return a[t.Name] }

func answered(t *testing.T, n int) *probe.Engine {
	t.Helper()
	s := probe.DefaultSettings()
	s.Place = "here"
	e := probe.New(probe.Options{Settings: s, Probers: map[probe.Kind]probe.Prober{probe.HTTP: answering{
		"0": {OK: true}, "1": {OK: true}, "2": {Skipped: "the app sleeps"},
		"3": {Reason: "answer: the status is 500", Status: 500, RequestID: "probe-1", Steps: []probe.Step{{Name: "answer", Seen: "the status is 500"}}},
		"4": {Reason: strings.Repeat("x", 5000)},
	}}})
	targets := targetsOf(n, false)
	targets[0].App, targets[0].Owner, targets[3].Kind = "/shop", "Team-A", probe.HTTP
	targets = append(targets, probe.Target{ID: "g/e/x", Name: "x", Kind: probe.Device, Fleet: "g", Envoy: "e"})
	e.SetTargets(targets)
	e.Once(t.Context())
	return e
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	e := answered(t, 5)
	a := e.Answer(probe.Query{})
	if a.Place != "here" || a.Interval != 30 || a.OK != 2 || a.Failing != 2 || a.Skipped != 2 || a.Total != 6 || len(a.Probes) != 6 {
		t.Errorf("got %+v", a)
	}
	if a.Probes[0].Success || a.Probes[1].Success || a.Probes[0].ID != "f/e0/3.test" {
		t.Errorf("those that fail are not first: %+v", a.Probes)
	}
	if first := a.Probes[0]; first.Reason != "answer: the status is 500" || first.Explain != "/api/v1/explain?subject=3.test" || first.Steps[0].Seen != "the status is 500" || first.RequestID != "probe-1" {
		t.Errorf("got %+v", first)
	}
	if long := a.Probes[1].Reason; len(long) > 600 {
		t.Errorf("the reason has %d bytes", len(long))
	}
	tests := []struct {
		query probe.Query
		want  int
	}{
		{probe.Query{Failing: true}, 2},
		{probe.Query{Fleet: "g"}, 1},
		{probe.Query{Kind: "device"}, 1},
		{probe.Query{Kind: "http"}, 5},
		{probe.Query{Text: "TEAM-a"}, 1},
		{probe.Query{Text: "/shop"}, 1},
		{probe.Query{Text: "e1"}, 2},
		{probe.Query{Text: "nothing"}, 0},
	}
	for _, tt := range tests {
		if got := e.Answer(tt.query); got.Total != tt.want || len(got.Probes) != tt.want || got.OK != 2 {
			t.Errorf("%+v: got %+v, want %d", tt.query, got, tt.want)
		}
	}
	if before := probe.New(probe.Options{Settings: probe.DefaultSettings()}).Answer(probe.Query{}); before.Probes == nil || before.Total != 0 {
		t.Errorf("got %+v", before)
	}
}

// Pages have all, each once.
func TestAnswerPages(t *testing.T) {
	t.Parallel()
	e := answered(t, 105)
	seen := make(map[string]bool)
	for q := (probe.Query{Limit: 10}); ; {
		a := e.Answer(q)
		for _, p := range a.Probes {
			if seen[p.ID] {
				t.Errorf("%s is there twice", p.ID)
			}
			seen[p.ID] = true
		}
		if a.Total != 106 || len(a.Probes) > 10 {
			t.Fatalf("got %d of %d", len(a.Probes), a.Total)
		}
		if q.After = a.Next; a.Next == "" {
			break
		}
	}
	if len(seen) != 106 {
		t.Errorf("the pages have %d", len(seen))
	}
}
