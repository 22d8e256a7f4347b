package collator

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"relay/internal/problem"
)

// owner is where problems of a kind were found. Those found there next replace them.
type owner struct {
	kind  problem.Kind
	fleet string // empty when they concern all
	place place
	name  string // of the app, domain, …; empty where there is one place only
}

// complete returns a problem with what its owner says of it: its kind and fleet, and the
// app in which it was found.
func (o owner) complete(p problem.Problem) problem.Problem {
	p.Kind, p.Fleet = o.kind, o.fleet
	if o.place == inApp {
		p.App = o.name
	}
	return p
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
	inDates  // of certificates
	inGroups // that apps name
	inACME   // the app of it

	inAuthorities // of clients, in a store
	inServiceTLS  // of a TCP service

	inCredentials // that an app names, or in a store
	inUses        // of other apps, by an app
	inExternals   // hosts outside, asked for an app
)

// problemSet holds all problems, by what they were found in.
type problemSet struct {
	mu      sync.RWMutex
	byOwner map[owner][]problem.Problem
	// byApp has the owners that have a problem of an app.
	byApp   map[string]map[owner]struct{}
	counts  map[problem.Kind]int
	failing int // those of this severity
}

func newProblemSet() *problemSet {
	return &problemSet{byOwner: make(map[owner][]problem.Problem), byApp: make(map[string]map[owner]struct{}), counts: make(map[problem.Kind]int)}
}

// failingOf counts the problems of an owner that cost requests.
func failingOf(o owner, problems []problem.Problem) (n int) {
	for _, p := range problems {
		if p.Kind = o.kind; p.Complete().Severity == problem.Failing {
			n++
		}
	}
	return n
}

// set replaces the problems of an owner. They are not modified: sources share theirs.
func (s *problemSet) set(o owner, problems ...problem.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[o.kind] += len(problems) - len(s.byOwner[o])
	s.failing += failingOf(o, problems) - failingOf(o, s.byOwner[o])
	s.file(o, s.byOwner[o], false)
	s.file(o, problems, true)
	if len(problems) == 0 {
		delete(s.byOwner, o)
		return
	}
	s.byOwner[o] = problems
}

// file adds an owner to the apps that its problems are of, or takes it out.
func (s *problemSet) file(o owner, problems []problem.Problem, has bool) {
	for _, p := range problems {
		app := o.complete(p).App
		switch owners := s.byApp[app]; {
		case app == "":
		case has && owners == nil:
			s.byApp[app] = map[owner]struct{}{o: {}}
		case has:
			owners[o] = struct{}{}
		default:
			if delete(owners, o); len(owners) == 0 {
				delete(s.byApp, app)
			}
		}
	}
}

// of returns the problems of apps, sorted.
func (s *problemSet) of(apps ...string) []problem.Problem {
	s.mu.RLock()
	var found []problem.Problem
	for _, app := range apps {
		for o := range s.byApp[app] {
			for _, p := range s.byOwner[o] {
				if p = o.complete(p); p.App == app {
					found = append(found, p)
				}
			}
		}
	}
	s.mu.RUnlock()
	sortProblems(found)
	return found
}

// clear forgets all problems, for them to be found again.
func (s *problemSet) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byOwner, s.byApp, s.counts, s.failing = make(map[owner][]problem.Problem), make(map[string]map[owner]struct{}), make(map[problem.Kind]int), 0
}

// ProblemCounts returns how many Problems and UncoveredProblems of each kind there are, and how
// many of all cost requests now. It looks at none of them.
func (c *Collator) ProblemCounts() (counts map[problem.Kind]int, failing int) {
	s := c.problems
	s.mu.RLock()
	defer s.mu.RUnlock()
	counts, untold := maps.Clone(s.counts), c.uncoveredCount()
	counts[problem.HTTPS] += untold
	return counts, s.failing + untold
}

// all returns every problem for which keep holds, sorted.
func (s *problemSet) all(keep func(problem.Problem) bool) []problem.Problem {
	s.mu.RLock()
	var found []problem.Problem
	for o, problems := range s.byOwner {
		for _, p := range problems {
			if p = o.complete(p); keep(p) {
				found = append(found, p)
			}
		}
	}
	s.mu.RUnlock()
	sortProblems(found)
	return found
}

func sortProblems(found []problem.Problem) {
	slices.SortFunc(found, func(a, b problem.Problem) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Reason, b.Reason))
	})
}
