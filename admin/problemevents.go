package admin

import (
	"slices"
	"time"

	"relay/admin/api"
	"relay/internal/problem"
)

const (
	// maxTold is how many problems an event names.
	maxTold = 20
	// maxCompared is how many problems are compared with those before: of more, only the counts are
	// told.
	maxCompared = 5000
)

// problemEvents finds what is new among problems.
type problemEvents struct {
	known          bool
	at             time.Time // when they were found
	count, failing int
	// before are those of the last call, if they were few enough.
	before         map[problem.Problem]struct{}
	beforeWasShort bool
}

// next compares the problems with those of the last call, and reports whether they differ.
func (x *problemEvents) next(found foundProblems) (event api.ProblemEvent, differs bool) {
	if x.known && x.at.Equal(found.at) {
		return event, false
	}
	problems, failing := found.all, found.failing
	event.Problems, event.Failing = len(problems), failing
	differs = len(problems) != x.count || failing != x.failing
	now := make(map[problem.Problem]struct{})
	short := len(problems) <= maxCompared
	if short {
		for _, p := range problems {
			now[p] = struct{}{}
			if _, was := x.before[p]; !was && x.beforeWasShort {
				differs = true
				if len(event.Appeared) < maxTold {
					event.Appeared = append(event.Appeared, p)
				}
			}
		}
		for p := range x.before {
			if _, is := now[p]; !is {
				differs = true
				if len(event.Ended) < maxTold {
					event.Ended = append(event.Ended, p)
				}
			}
		}
	}
	known := x.known
	*x = problemEvents{known: true, at: found.at, count: len(problems), failing: failing, before: now, beforeWasShort: short}
	if !known || !differs {
		return event, false
	}
	problem.Sort(event.Ended)
	event.Appeared, event.Ended = told(event.Appeared), told(event.Ended)
	return event, true
}

func told(problems []problem.Problem) []problem.Problem {
	if len(problems) == 0 {
		return nil
	}
	return shownAll(slices.Clone(problems))
}
