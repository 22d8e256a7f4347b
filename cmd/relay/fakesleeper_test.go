package main

import (
	"time"

	"relay/admin/api"
	"relay/admin/findings"
)

// fakeSleeper is an app that sleeps.
func fakeSleeper() api.AppStory {
	const woke = "a request for report.test from 192.0.2.0/24 woke it: report.4 took requests 2.1 s after it"
	story := api.AppStory{App: api.App{
		ID: "/shop/report", Version: "2026-11-30T11:20:00.000Z", Failures: pointer(0), Changed: before(40 * time.Minute),
		Ports: []api.Port{{Fleets: []string{"external"}, Domains: []string{"report.test"}, Cluster: "/shop/report_0"}},
		Scaling: &api.Scaling{
			Phase: api.PhaseAsleep, Since: before(40 * time.Minute), Reason: "nobody used it for 30 min", Text: "the next request wakes it, with 2 instances", Before: 2,
			Events: []api.ScalingEvent{
				{Time: before(40 * time.Minute), Kind: "fell asleep", Text: "nobody used it for 30 min; wakes to 2 instances"},
				{Time: before(2 * time.Hour), Kind: "woke up", Text: woke, Took: 2.1},
				{Time: before(2*time.Hour + 2*time.Second), Kind: "is woken", Text: "a request for report.test from 192.0.2.0/24 came after 11 h of sleep"},
			},
		},
	}}
	story.Findings = findings.OfApp(&story, nil, fakeNow)
	return story
}

// inLists is an app as lists have it.
func inLists(app api.App) api.App {
	short := *app.Scaling
	short.Events, app.Scaling = nil, &short
	return app
}
