package collator

import (
	"cmp"
	"slices"
	"sync"
)

// Kind says what a Problem is about.
type Kind string

// The kinds.
const (
	// AppProblem is something ignored in an app's definition.
	AppProblem Kind = "app"
	// ClashProblem is a domain or TCP port that another app port has.
	ClashProblem Kind = "clash"
	// HTTPSProblem is a wish for TLS that a fleet cannot fulfil.
	HTTPSProblem Kind = "https"
	// TCPProblem is a TCP service that a fleet does not open.
	TCPProblem Kind = "tcp"
	// CertificateProblem is an entry of a certificate store.
	CertificateProblem Kind = "certificate"
	// ResourceProblem is a resource that Envoy would refuse.
	ResourceProblem Kind = "resource"
	// InternalProblem is a bug in Relay that cost one app or resource.
	InternalProblem Kind = "internal"
)

var kinds = []Kind{AppProblem, ClashProblem, HTTPSProblem, TCPProblem, CertificateProblem, ResourceProblem, InternalProblem}

// Problem is one thing that is not as its author wanted, in words an operator
// can act on.
type Problem struct {
	Kind Kind `json:"kind"`
	// Fleet is empty when it concerns all.
	Fleet string `json:"fleet,omitempty"`
	// App is the app id; empty when it is no app's.
	App string `json:"app,omitempty"`
	// Subject is the label, domain, certificate or resource.
	Subject string `json:"subject,omitempty"`
	Reason  string `json:"reason"`
}

// owner is where problems of a kind were found. Those found there next replace them.
type owner struct {
	kind  Kind
	fleet string // empty when they concern all
	place place
	name  string // of the app, domain, …; empty where there is one place only
}

// place is what was looked at when problems were found.
type place uint8

const (
	inApp place = iota
	inDomain
	inListener
	inResource // or in a part of one
	inStore    // of certificates
	inSelection
	inDates // of certificates
)

// problemSet holds all problems, by what they were found in.
type problemSet struct {
	mu      sync.RWMutex
	byOwner map[owner][]Problem
	counts  map[Kind]int
}

func newProblemSet() *problemSet {
	return &problemSet{byOwner: make(map[owner][]Problem), counts: make(map[Kind]int)}
}

// set replaces the problems of an owner, and fills in kind and fleet.
func (s *problemSet) set(o owner, problems ...Problem) {
	for i := range problems {
		problems[i].Kind, problems[i].Fleet = o.kind, o.fleet
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[o.kind] += len(problems) - len(s.byOwner[o])
	if len(problems) == 0 {
		delete(s.byOwner, o)
		return
	}
	s.byOwner[o] = problems
}

// clear forgets all problems, for them to be found again.
func (s *problemSet) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byOwner, s.counts = make(map[owner][]Problem), make(map[Kind]int)
}

func (s *problemSet) count(kind Kind) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.counts[kind]
}

// all returns every problem for which keep holds, sorted.
func (s *problemSet) all(keep func(Problem) bool) []Problem {
	s.mu.RLock()
	var found []Problem
	for _, problems := range s.byOwner {
		for _, p := range problems {
			if keep(p) {
				found = append(found, p)
			}
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Reason, b.Reason))
	})
	return found
}
