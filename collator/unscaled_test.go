package collator

import (
	"strings"
	"testing"
	"time"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// Labels that have no effect without --scaling are told where people look for the app.
func TestUnscaledProblems(t *testing.T) {
	t.Parallel()
	sleepy := webApp("/web", "web.test")
	sleepy.Scaling = &sources.Scaling{IdleAfter: time.Hour}
	sized := webApp("/web", "web.test")
	sized.Scaling = &sources.Scaling{Min: 1, Max: 3}
	queued := changed(webApp("/web", "web.test"), func(p *sources.Port) { p.Queue = &sources.Queue{Concurrency: 1} })
	slept := stopped(sleepy)
	slept.Orchestration = &sources.Orchestration{Asleep: 2}
	elsewhere := changed(sleepy, func(p *sources.Port) { p.Groups = []string{"other"} })
	for _, tt := range []struct {
		name     string
		app      *sources.App
		severity problem.Severity
		want     string // of the reason; empty for no problem
	}{
		{"an app that asks for nothing", webApp("/web", "web.test"), "", ""},
		{"sleep", sleepy, problem.Advice, "RELAY_IDLE_AFTER has no effect"},
		{"size", sized, problem.Advice, "RELAY_SCALE has no effect"},
		{"a queue", queued, problem.Advice, "its requests do not queue"},
		{"asleep", slept, problem.Ignored, "no request wakes it"},
		{"of another group", elsewhere, "", ""},
	} {
		for _, fleet := range []routing.Fleet{plain(), scalingFleet()} {
			c, _ := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
			syncApps(c, tt.app)
			var told []problem.Problem
			for _, p := range c.Problems() {
				if p.Subject == "scaling" {
					told = append(told, p)
				}
			}
			switch {
			case tt.want == "" || fleet.Scaling:
				if len(told) > 0 {
					t.Errorf("%s, scaling %v: %v", tt.name, fleet.Scaling, told)
				}
			case len(told) != 1 || told[0].Severity != tt.severity || !strings.Contains(told[0].Reason, tt.want):
				t.Errorf("%s: %v, want %s: %s", tt.name, told, tt.severity, tt.want)
			}
		}
	}
}
