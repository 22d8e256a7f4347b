package main

import (
	"fmt"
	"strings"

	"relay/admin/api"
	"relay/internal/plural"
	"relay/internal/terminal"
)

// scaling writes what Relay does with the number of instances of an app.
func (p printer) scaling(s *api.Scaling) {
	if s == nil {
		return
	}
	p.title("Sleep and size")
	since := ""
	if !s.Since.IsZero() {
		since = " since " + clock(s.Since) + ", for " + ago(s.Since)
	}
	p.pair("phase", s.Phase+since)
	p.pair("why", s.Reason)
	p.pair("next", s.Text)
	p.pair("size", s.Size)
	p.pair("trouble", s.Trouble)
	wanted := plural.Of(s.Instances, "instance")
	if s.Before > 0 {
		wanted += fmt.Sprintf("; it wakes with %d", s.Before)
	}
	if s.Instances > 0 || s.Before > 0 || s.Phase != api.PhaseAwake { // else it only has a queue, and people choose
		p.pair("wanted", wanted)
	}
	if s.Waiting > 0 {
		p.pair("waiting", plural.Of(s.Waiting, "request")+", until it has started")
	}
	for _, q := range s.Queues {
		p.pair(fmt.Sprintf("queue of %d", q.Port), fmt.Sprintf("at most %s an instance; %d in progress, %d of at most %d waiting",
			plural.Of(q.Concurrency, "request"), q.InProgress, q.Waiting, q.Length))
	}
	for _, e := range s.Events[:min(len(s.Events), shownOfStory)] {
		p.screen.Hanging(fmt.Sprintf("  %s  %s: ", clock(e.Time), e.Kind), "                       ", e.Text)
	}
}

// scalingSums says in the first screen what is done with the number of instances.
func (p printer) scalingSums(s *api.ScalingStatus) {
	if s == nil {
		return
	}
	all, parts := 0, []string(nil)
	for _, phase := range api.Phases() {
		if n := s.Apps[phase]; n > 0 {
			all, parts = all+n, append(parts, fmt.Sprintf("%d %s", n, phase))
		}
	}
	text := "no app asks for it"
	if all > 0 {
		text = plural.Of(all, "app") + ": " + strings.Join(parts, ", ")
	}
	if s.Queued > 0 {
		text += "; " + plural.Of(s.Queued, "request waits", "requests wait") + " in queues"
	}
	p.pair("scaling", text)
}

// wakes shows the apps that requests wait for.
func (p printer) wakes(s *api.ScalingStatus) {
	if s == nil || len(s.Wakes) == 0 {
		return
	}
	p.title("Apps that requests wait for: " + plural.Of(s.Waiting, "request"))
	var rows [][]terminal.Cell
	for _, w := range s.Wakes {
		since := unknown
		if !w.Since.IsZero() {
			since = ago(w.Since)
		}
		rows = append(rows, []terminal.Cell{terminal.Text(w.App), terminal.Text(fmt.Sprint(w.Requests)), terminal.Text(since), terminal.Text(w.Why)})
	}
	p.table(rows, terminal.Column{Title: "APP"}, terminal.Column{Title: "REQUESTS", Right: true}, terminal.Column{Title: "SINCE", Right: true}, terminal.Column{Title: "WHAT FOR", Shrinks: true})
	if s.MoreWakes > 0 {
		p.line("and %d more", s.MoreWakes)
	}
}
