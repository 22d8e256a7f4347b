package collator

import (
	"fmt"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

const (
	// maxGroupsCompared is how many groups of an app are compared with the names of the
	// fleets.
	maxGroupsCompared = 500
	// maxOtherGroups is how many groups of a port are shown that are no fleet.
	maxOtherGroups = 10
	// maxFleetsNamed is how many fleets people are told of.
	maxFleetsNamed = 10
)

// groupProblems says which groups of an app are no fleet, and likely were meant to be
// one. Groups that are other words are no problem: they may be of another load balancer.
func (c *Collator) groupProblems(app *sources.App) []problem.Problem {
	var names []string
	for _, f := range c.fleets {
		names = append(names, f.Name)
	}
	var problems sources.Problems
	compared := make(map[string]struct{})
	for i, port := range app.Ports {
		for _, group := range port.Groups {
			if _, done := compared[group]; done || len(compared) >= maxGroupsCompared {
				continue
			}
			compared[group] = struct{}{}
			if fleet := routing.NearFleet(group, names); fleet != "" {
				one := problem.Problem{Subject: fmt.Sprintf("port %d, groups", i)}
				if c.unserved(app.ID, port) {
					one.Severity = problem.Failing
				}
				problems.AddTo(one, "%.120q is no fleet of this Relay: did you mean %s? The fleets are %s", group, fleet, firstFew(names))
			}
		}
	}
	return problems.List()
}

// firstFew joins names, of which there may be many.
func firstFew(names []string) string {
	if over := len(names) - maxFleetsNamed; over > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxFleetsNamed], ", "), over)
	}
	return strings.Join(names, ", ")
}

// otherGroups returns the first few groups of a port that are no fleet.
func (c *Collator) otherGroups(port sources.Port) (other []string) {
	for _, group := range port.Groups {
		if len(other) < maxOtherGroups && !c.isFleet(group) {
			other = append(other, sources.Clip(group))
		}
	}
	return other
}

func (c *Collator) isFleet(name string) bool {
	return slices.ContainsFunc(c.fleets, func(f *fleetState) bool { return f.Name == name })
}
