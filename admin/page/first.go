package page

import (
	"cmp"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"relay/admin/api"
	"relay/admin/findings"
)

// The first screen shows what needs attention first; the other pages have the rest.
const (
	maxGroups       = 12 // of problems
	maxOfGroup      = 3  // problems
	maxFirst        = 6  // changes, groups of failures
	maxGrouped      = 200
	maxCertificates = 8
	maxUncovered    = 8
)

type firstBody struct {
	// Class is that of the verdict: "ok", "warn" or "bad".
	Class, Verdict string
	// Action is what to do about it, and Findings are the others.
	Action         string
	Findings       []api.Finding
	Charts         []shownChart
	HiddenGroups   int
	Changes        []api.Change
	Failures       []api.Failure
	Certificates   some[api.Certificate]
	Uncovered      some[api.UncoveredDomain]
	UncoveredKnown bool
	UncoveredTotal int
	// Authorities and Deployments are how many there are.
	Authorities, Deployments int
	// LoadHint says why no traffic is known; empty if some is.
	LoadHint string
}

// shownChart is a chart and the words around it.
type shownChart struct {
	Chart
	Now     []figure
	Unknown string
}

// figure is a number of now.
type figure struct{ ID, Name, Text, Class string }

// TopText is the value at the upper edge.
func (c shownChart) TopText() string { return c.Unit.write(c.Top()) }

// first answers GET /: is all well?
func (p *Pages) first(*http.Request) (view, error) {
	s := p.data.Status()
	b := firstBody{Charts: charts(s), HiddenGroups: s.MoreGroups + max(0, len(s.Worst)-maxGroups)}
	b.Class, b.Verdict = findingClass(s.Findings[0].Level), s.Findings[0].Text
	b.Action, b.Findings = s.Findings[0].Action, s.Findings[1:]
	few := url.Values{"limit": {strconv.Itoa(maxFirst)}}
	changes, err := p.data.Changes(few)
	failures, err2 := p.data.Failures(url.Values{"limit": {strconv.Itoa(maxGrouped)}})
	slow, err3 := p.slow.get(p.data)
	if err := cmp.Or(err, err2, err3); err != nil {
		return view{}, err
	}
	b.Changes, b.Failures = changes.Changes, findings.Kinds(failures.Failures, maxFirst)
	b.Certificates, b.Uncovered, b.UncoveredKnown, b.UncoveredTotal = slow.certificates, slow.uncovered, slow.known, slow.total
	b.Authorities, b.Deployments = slow.authorities, slow.deployments
	b.LoadHint = loadHint(s)
	return view{Name: "first", Title: b.Verdict, Nav: "first", Every: soon, Body: b}, nil
}

// slowFor is how old that of the first screen may be which costs a look at all apps, certificates and
// domains.
const slowFor = 5 * time.Second

// slow is the part of the first screen that is costly and changes slowly.
type slow struct {
	certificates some[api.Certificate]
	uncovered    some[api.UncoveredDomain]
	known        bool
	total        int // of the uncovered
	authorities  int
	deployments  int
}

// keptSlow is the slow part as it was read last.
type keptSlow struct {
	mu   sync.Mutex
	at   time.Time
	slow slow
}

func (k *keptSlow) get(data Data) (slow, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.at.IsZero() && time.Since(k.at) < slowFor {
		return k.slow, nil
	}
	certificates, err := data.Certificates(url.Values{"sort": {"days"}, "limit": {strconv.Itoa(maxCertificates)}})
	authorities, err2 := data.Authorities(url.Values{"limit": {"1"}})
	deployments, err3 := data.Deployments(url.Values{"limit": {"1"}})
	if err := cmp.Or(err, err2, err3); err != nil {
		return slow{}, err
	}
	all := data.Uncovered().Uncovered
	uncovered := firstOf(maxUncovered, all)
	uncovered.Shown = slices.Clone(uncovered.Shown) // so that the others can go
	k.at = time.Now()
	k.slow = slow{some[api.Certificate]{certificates.Certificates, certificates.Total - len(certificates.Certificates)}, uncovered, all != nil, len(all), authorities.Total, deployments.Total}
	return k.slow, nil
}

// firstGroups cuts the groups of problems, and the problems of each.
func firstGroups(groups []api.Group) some[api.Group] {
	shown := firstOf(maxGroups, groups)
	shown.Shown = slices.Clone(shown.Shown)
	for i := range shown.Shown {
		g := &shown.Shown[i]
		g.Problems = g.Problems[:min(len(g.Problems), maxOfGroup)]
	}
	return shown
}

// loadHint says what to do where no Envoy reports its traffic.
func loadHint(s *api.Status) string {
	late := slices.ContainsFunc(s.Fleets, func(f api.FleetStatus) bool { return len(f.NotReported) > 0 && f.NotReported[0].ReportDue(s.Time) })
	if s.Load != nil || !late {
		return ""
	}
	return "No Envoy reports its load, so no traffic is shown: start Envoys with a bootstrap of this version (relay bootstrap)."
}

// tellsAway reports whether the findings of a page tell of sources that cannot be read.
func tellsAway(page string) bool {
	return page == "first" || page == "app-story" || page == "domain-story"
}

// charts draws the last hour.
func charts(s *api.Status) []shownChart {
	series := s.Series
	if series == nil {
		series = &api.Series{Start: s.Time.Add(-time.Hour), Step: 10}
	}
	step := time.Duration(max(series.Step, 1)) * time.Second
	load, failures := s.Load, math.NaN()
	requests, errors := math.NaN(), math.NaN()
	if load != nil {
		requests, errors = load.Requests, load.Errors
	}
	if s.Failures != nil {
		failures = *s.Failures
	}
	chart := func(id, title string, unit Unit, lines ...Line) Chart {
		return Chart{ID: id, Title: title, Unit: unit, Lines: lines, Start: series.Start, Step: step}
	}
	changes := chart("changes", "Changes", PerMinute, Line{"changes", "main", perMinute(floats(series.Changes), step, sum)})
	changes.Bars, changes.Step = true, time.Minute
	// Many steps have no change. The slowest of a minute says what matters.
	convergence := chart("convergence", "Until all Envoys have a change", Seconds,
		Line{"p99", "dim", perMinute(floats(series.P99), step, math.Max)}, Line{"p50", "main", perMinute(floats(series.P50), step, math.Max)})
	convergence.Bars, convergence.Step = true, time.Minute
	p50, p99 := math.NaN(), math.NaN()
	if s.Convergence != nil {
		p50, p99 = s.Convergence.P50, s.Convergence.P99
	}
	return []shownChart{
		{
			chart("traffic", "Traffic", PerSecond, Line{"requests", "main", floats(series.Requests)}, Line{"errors", "bad", floats(series.Errors)}),
			[]figure{{"n-requests", "requests", PerSecond.write(requests), ""}, {"n-errors", "errors", PerSecond.write(errors), errorClass(load)}},
			"No Envoy has reported its load in the last hour.",
		},
		{
			chart("failed", "Failures", PerSecond, Line{"failures", "bad", floats(series.Failures)}),
			[]figure{{"n-failures", "answered by Envoy itself", PerSecond.write(failures), badIf(failures > 0.01*max(requests, 1))}},
			"No failures were reported in the last hour.",
		},
		{changes, []figure{{"n-changes", "in the last hour", hour(series.Changes), ""}}, "Nothing was published in the last hour."},
		{
			convergence,
			[]figure{{"n-p50", "p50", seconds(p50), ""}, {"n-p99", "p99", seconds(p99), ""}},
			"No Envoy was sent a change in the last hour.",
		},
	}
}

func badIf(b bool) string {
	if b {
		return "bad"
	}
	return ""
}

// hour sums up what is known.
func hour(values api.Values) string {
	all, known := 0.0, false
	for _, v := range values {
		if v.Known() {
			all, known = all+float64(v), true
		}
	}
	if !known {
		return "–"
	}
	return count(int(all))
}

func floats(values api.Values) []float64 {
	list := make([]float64, len(values))
	for i, v := range values {
		list[i] = float64(v)
	}
	return list
}
