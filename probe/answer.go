package probe

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
)

// Query says which probes an answer has.
type Query struct {
	// Text is in the name, domain, app, owner, fleet or Envoy, in upper or lower case.
	Text string
	// Kind and Fleet are whole; empty for all.
	Kind, Fleet string
	// Failing leaves out all that do not fail.
	Failing bool
	// Limit is how many there are at most; api.DefaultLimit if 0. After is Next of the page before.
	Limit int
	After string
}

// Answer returns what was found last, those that fail first, then by their IDs.
func (e *Engine) Answer(q Query) api.Probes {
	states := e.Results()
	e.mu.Lock()
	pace := e.pace
	e.mu.Unlock()
	interval, _ := pace.bounds()
	a := api.Probes{Place: e.settings.Place, Time: time.Now(), Interval: interval.Seconds(), SampleInterval: pace.sampled.Seconds(), Probes: []api.Probe{}}
	var found []State
	for _, s := range states {
		switch {
		case !s.Asked:
			continue
		case s.Skipped != "":
			a.Skipped++
		case s.OK:
			a.OK++
		default:
			a.Failing++
		}
		if q.matches(s) {
			found = append(found, s)
		}
	}
	a.Total = len(found)
	slices.SortStableFunc(found, func(s, t State) int { return cmp.Compare(position(s), position(t)) })
	if q.After != "" {
		from, same := slices.BinarySearchFunc(found, q.After, func(s State, after string) int { return cmp.Compare(position(s), after) })
		if same {
			from++
		}
		found = found[from:]
	}
	if limit := cmp.Or(q.Limit, api.DefaultLimit); len(found) > limit {
		found = found[:limit]
		a.Next = position(found[limit-1])
	}
	for _, s := range found {
		p := answerOf(s)
		if of := pace.of(s.Target); of != interval {
			p.Interval = of.Seconds()
		}
		a.Probes = append(a.Probes, p)
	}
	return a
}

// position orders an answer, and names a place in it.
func position(s State) string {
	rank := "1/"
	if fails(s) {
		rank = "0/"
	}
	return rank + s.Target.ID
}

func fails(s State) bool { return s.Asked && !s.OK && s.Skipped == "" }

func (q Query) matches(s State) bool {
	t := s.Target
	if q.Kind != "" && q.Kind != string(t.Kind) || q.Fleet != "" && q.Fleet != t.Fleet || q.Failing && !fails(s) {
		return false
	}
	if q.Text == "" {
		return true
	}
	text := strings.ToLower(q.Text)
	return slices.ContainsFunc([]string{t.Name, t.Domain, t.App, t.Owner, t.Fleet, t.Envoy}, func(field string) bool {
		return strings.Contains(strings.ToLower(field), text)
	})
}

// answerOf is what the API says of a target.
func answerOf(s State) api.Probe {
	t := s.Target
	p := api.Probe{
		ID: t.ID, Name: t.Name, Kind: string(t.Kind), Fleet: t.Fleet, Envoy: t.Envoy, Domain: t.Domain, App: t.App, Port: t.Port,
		Owner: t.Owner, Sampled: t.Sampled, Success: s.OK, Late: s.Late, Skipped: s.Skipped, Time: s.Time, Since: s.Since,
		Duration: s.Duration.Seconds(), Status: s.Status, Code: s.Code, RequestID: s.RequestID, Reason: s.Reason, Explain: explainPath(t),
	}
	for _, step := range s.Steps {
		p.Steps = append(p.Steps, api.ProbeStep{Name: step.Name, Duration: step.Duration.Seconds(), Limit: step.Limit.Seconds(), OK: step.OK, Seen: step.Seen})
	}
	return p
}

// explainPath is where Relay says how a target is routed.
func explainPath(t Target) string {
	subject := cmp.Or(t.Domain, t.App)
	if subject == "" || t.Fleet == "" {
		return ""
	}
	return "/api/v1/explain?" + url.Values{"subject": {subject}}.Encode()
}
