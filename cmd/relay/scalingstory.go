package main

import (
	"fmt"

	"relay/admin/api"
)

// scaling writes what Relay does with the number of instances of an app.
func (p printer) scaling(s *api.Scaling) {
	if s == nil {
		return
	}
	p.title("Sleep and size")
	since := ""
	if !s.Since.IsZero() {
		since = " since " + clock(s.Since) + ", " + ago(s.Since)
	}
	p.pair("phase", s.Phase+since)
	p.screen.Paragraph("  ", s.Text)
	wanted := count(s.Instances, "instance", "instances")
	if s.Before > 0 {
		wanted += fmt.Sprintf("; %d before it was put to sleep", s.Before)
	}
	p.pair("wanted", wanted)
	if s.Waiting > 0 {
		p.pair("waiting", count(s.Waiting, "request", "requests"))
	}
	for _, q := range s.Queues {
		p.pair(fmt.Sprintf("queue of %d", q.Port), fmt.Sprintf("at most %s an instance; %d in progress, %d of at most %d waiting",
			count(q.Concurrency, "request", "requests"), q.InProgress, q.Waiting, q.Length))
	}
	for _, e := range s.Events[:min(len(s.Events), shownOfStory)] {
		took := ""
		if e.Took > 0 {
			took = fmt.Sprintf(" (took %.3g s)", e.Took)
		}
		p.screen.Hanging(fmt.Sprintf("  %s  %-7s ", clock(e.Time), e.Kind), "                     ", e.Text+took)
	}
}
