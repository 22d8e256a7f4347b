// Package compare says what Relay does differently from a marathon-lb: by the rules that both
// make of the same apps, by what a running marathon-lb says that it has, and by what both
// answer. Rules are compared without asking anybody; only ask.go and its neighbours connect
// to something.
package compare

import (
	"cmp"
	"slices"
)

// Verdict is what a Finding means for a move.
type Verdict string

// The verdicts, the worst first.
const (
	// Different is what somebody has to look at.
	Different Verdict = "different"
	// CannotTell is what could not be compared.
	CannotTell Verdict = "cannot-tell"
	// Expected is a difference that is documented, and of which nothing follows.
	Expected Verdict = "expected"
)

// Part says by what something was compared.
type Part string

// The parts.
const (
	// Rules compares what both make of the apps.
	Rules Part = "rules"
	// Running compares what the running marathon-lb says that it has.
	Running Part = "running"
	// Requests compares answers.
	Requests Part = "requests"
)

// Finding is one thing that is not the same.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Part    Part    `json:"part"`
	Kind    Kind    `json:"kind"`
	Fleet   string  `json:"fleet"`
	// Subject is what is asked for: a domain with a path, such as "shop.test/api"; "tcp/5432";
	// or the port of an app, such as "/shop/web port 0".
	Subject string `json:"subject"`
	// App is the id of the app concerned; empty if there is none.
	App string `json:"app,omitempty"`
	// Old is what marathon-lb does, and New what Relay does.
	Old string `json:"old"`
	New string `json:"new"`
	// Reason says why they differ, and Do what to do about it. Both may be empty.
	Reason string `json:"reason,omitempty"`
	Do     string `json:"do,omitempty"`
}

// Kind is what a Finding is about. The names do not change.
type Kind string

// The kinds, the worst first: those of which clients or other people notice most.
const (
	Broken      Kind = "marathon-lb-stuck" // marathon-lb makes no configuration
	Closed      Kind = "closed"            // Relay answers 403, marathon-lb the app
	Open        Kind = "open"              // Relay lets in whom marathon-lb does not
	Missing     Kind = "missing"           // Relay has nothing where marathon-lb has an app
	OtherApp    Kind = "other-app"
	Redirect    Kind = "redirect"
	NoHTTPS     Kind = "no-https"
	Certificate Kind = "certificate"
	Failed      Kind = "failed" // one side does not answer
	Status      Kind = "status"
	Location    Kind = "location"
	Header      Kind = "header"
	Body        Kind = "body"
	TCPPort     Kind = "tcp-port"
	ServicePort Kind = "service-port" // of an HTTP app
	Extra       Kind = "extra"        // Relay has something where marathon-lb has nothing
	Instances   Kind = "instances"
	Paths       Kind = "paths" // StripPrefix and such
	Template    Kind = "template"
	HSTS        Kind = "hsts"
	Balance     Kind = "balance"
	Sticky      Kind = "sticky"
	NotInModel  Kind = "not-in-model" // the running marathon-lb has other rules than it should
	AppID       Kind = "app-id"       // the port 9091 of marathon-lb
	Unknown     Kind = "unknown-domain"
)

var kindOrder = []Kind{
	Broken, Closed, Open, Missing, OtherApp, Redirect, NoHTTPS, Certificate, Failed, Status, Location, Header, Body, TCPPort, ServicePort, Extra,
	Instances, Paths, Template, HSTS, Balance, Sticky, NotInModel, AppID, Unknown,
}

var verdictOrder = []Verdict{Different, CannotTell, Expected}

// compareFindings puts the worst first.
func compareFindings(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(slices.Index(verdictOrder, a.Verdict), slices.Index(verdictOrder, b.Verdict)),
		cmp.Compare(slices.Index(kindOrder, a.Kind), slices.Index(kindOrder, b.Kind)),
		cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.App, b.App), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Old, b.Old),
	)
}

// Tally is how many things were compared in one part, and what came of it.
type Tally struct {
	Part     Part   `json:"part"`
	Fleet    string `json:"fleet,omitempty"`
	Compared int    `json:"compared"`
	Same     int    `json:"same"`
	// Different, CannotTell and Expected count the things compared by their worst finding.
	Different  int `json:"different"`
	CannotTell int `json:"cannotTell"`
	Expected   int `json:"expected"`
	// NotDone says why the part, or the rest of it, was not compared; empty if it was.
	NotDone string `json:"notDone,omitempty"`
	// Failed is set if it was asked for, and could not be done at all.
	Failed bool `json:"failed,omitempty"`
}

// MaxFindings is how many findings a report has. More are only counted.
const MaxFindings = 50_000

// Report is all that was found.
type Report struct {
	// Version is that of this form: 1. Fields are added without a new one.
	Version int `json:"version"`
	// Interrupted is set if somebody stopped it: it has what was known by then.
	Interrupted bool      `json:"interrupted,omitempty"`
	Tallies     []*Tally  `json:"parts"`
	Findings    []Finding `json:"findings"`
	// LeftOut is how many findings there are beyond MaxFindings.
	LeftOut int `json:"leftOut,omitempty"`
}

// NewReport returns an empty report.
func NewReport() *Report { return &Report{Version: 1, Findings: []Finding{}} }

func (r *Report) tally(part Part, fleet string) *Tally {
	t := &Tally{Part: part, Fleet: fleet}
	r.Tallies = append(r.Tallies, t)
	return t
}

// NotDone notes that a part was not compared.
func (r *Report) NotDone(part Part, fleet, reason string) { r.tally(part, fleet).NotDone = reason }

// count notes one thing that was compared, and its findings.
func (r *Report) count(t *Tally, findings []Finding) {
	t.Compared++
	if len(findings) == 0 {
		t.Same++
		return
	}
	worst := slices.MinFunc(findings, compareFindings)
	switch worst.Verdict {
	case Different:
		t.Different++
	case CannotTell:
		t.CannotTell++
	case Expected:
		t.Expected++
	}
	for _, f := range findings {
		f.Part, f.Fleet = t.Part, t.Fleet
		if len(r.Findings) >= MaxFindings {
			r.LeftOut++
			continue
		}
		r.Findings = append(r.Findings, f)
	}
}

// Sort puts the worst findings first.
func (r *Report) Sort() { slices.SortStableFunc(r.Findings, compareFindings) }

// Counts returns how many findings there are of a verdict.
func (r *Report) Counts() (different, cannotTell, expected int) {
	for _, t := range r.Tallies {
		different, cannotTell, expected = different+t.Different, cannotTell+t.CannotTell, expected+t.Expected
	}
	return different, cannotTell, expected
}
