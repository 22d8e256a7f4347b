package sources

import (
	"fmt"
	"maps"
	"slices"

	"relay/internal/problem"
)

// Problems collects the problems of an app, bounded in number and length. The
// zero value is empty.
type Problems struct {
	list []problem.Problem
	// on counts the problems on a subject, and more those that found no place.
	on   map[string]int
	more int
}

// Add notes a problem on a subject. What is more than MaxSubjectProblems on one,
// or MaxProblems altogether, is only counted.
func (p *Problems) Add(subject, format string, args ...any) {
	p.AddTo(problem.Problem{Subject: subject}, format, args...)
}

// AddFailing is Add for what costs requests.
func (p *Problems) AddFailing(subject, format string, args ...any) {
	p.AddTo(problem.Problem{Subject: subject, Severity: problem.Failing}, format, args...)
}

// AddTo is Add for a problem of which more is known than its subject.
func (p *Problems) AddTo(one problem.Problem, format string, args ...any) {
	if len(p.list) >= MaxProblems {
		p.more++
		return
	}
	if p.on == nil {
		p.on = map[string]int{}
	}
	one.Subject, one.Domain = Clip(one.Subject), Clip(one.Domain)
	if p.on[one.Subject]++; p.on[one.Subject] <= MaxSubjectProblems {
		one.Reason = fmt.Sprintf(format, args...)
		p.Append(one)
	}
}

// Append takes problems over from another collection, whatever their subjects.
func (p *Problems) Append(problems ...problem.Problem) {
	for _, one := range problems {
		if len(p.list) >= MaxProblems {
			p.more++
			continue
		}
		one.Subject, one.Reason = Clip(one.Subject), ClipReason(one.Reason)
		p.list = append(p.list, one)
	}
}

// List returns the problems in the order in which they came, and at the end how
// many more there are.
func (p *Problems) List() []problem.Problem {
	list := slices.Clip(p.list)
	for _, subject := range slices.Sorted(maps.Keys(p.on)) {
		if more := p.on[subject] - MaxSubjectProblems; more > 0 {
			list = append(list, problem.Problem{Subject: subject, Reason: fmt.Sprintf("has %d more problems", more)})
		}
	}
	if p.more > 0 {
		list = append(list, problem.Problem{Reason: fmt.Sprintf("has %d more problems than are shown", p.more)})
	}
	return list
}
