package collator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/internal/plural"
	"relay/internal/problem"
	"relay/sources"
)

// maxGroupsSeen is how many groups people are told of where no app names a fleet.
const maxGroupsSeen = 5

// groupIndex counts the apps that name each group.
type groupIndex struct {
	apps map[string]int
	// changed is set until reportUnnamed has looked at it.
	changed bool
}

func newGroupIndex() *groupIndex { return &groupIndex{apps: make(map[string]int), changed: true} }

// update takes in a change of an app. Either version may be nil.
func (x *groupIndex) update(before, after *sources.App) {
	if samePolicy(before, after) {
		return
	}
	for group := range groupsOf(before) {
		if x.apps[group]--; x.apps[group] == 0 {
			delete(x.apps, group)
		}
	}
	for group := range groupsOf(after) {
		x.apps[group]++
	}
	x.changed = true
}

func groupsOf(app *sources.App) map[string]struct{} {
	if app == nil {
		return nil
	}
	groups := make(map[string]struct{}, 1)
	for _, port := range app.Ports {
		for _, group := range port.Groups {
			groups[group] = struct{}{}
		}
	}
	return groups
}

// reportUnnamed says which fleets no app names, once apps have been read and there are any.
// The words are made anew only while a fleet has the problem.
func (c *Collator) reportUnnamed() {
	if !c.groups.changed {
		return
	}
	c.groups.changed = false
	for _, f := range c.fleets {
		var problems []problem.Problem
		if len(c.apps) > 0 && c.groups.apps[f.Name] == 0 {
			problems = []problem.Problem{{Reason: "no app names it in HAPROXY_GROUP (in a YAML file: groups), so it serves nothing; " + c.groups.seen()}}
		}
		c.problems.set(owner{problem.Fleet, f.Name, inGroups, ""}, problems...)
	}
}

// seen says which groups apps name, those of most apps first.
func (x *groupIndex) seen() string {
	if len(x.apps) == 0 {
		return "no app has a group"
	}
	groups := slices.SortedFunc(maps.Keys(x.apps), func(a, b string) int {
		return cmp.Or(cmp.Compare(x.apps[b], x.apps[a]), cmp.Compare(a, b))
	})
	var words []string
	for _, group := range groups[:min(len(groups), maxGroupsSeen)] {
		words = append(words, fmt.Sprintf("%s (%s)", sources.Clip(group), plural.Of(x.apps[group], "app")))
	}
	list := strings.Join(words, ", ")
	if more := len(groups) - maxGroupsSeen; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return "groups seen: " + list
}
