package marathonlb

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// grouped is an app, or the apps of a deployment group as the one that marathon-lb makes of
// them.
type grouped struct {
	app     App
	members []string
}

const deploymentPrefix = "HAPROXY_DEPLOYMENT_"

// merge makes one app of those of each deployment group. An app with a label that marathon-lb
// cannot read is left out, and noted.
func (r *Rules) merge(apps []App) (all []grouped) {
	var groups []*grouped
	byName := make(map[string]*grouped)
	for _, app := range apps {
		name, given := app.Labels[deploymentPrefix+"GROUP"]
		if !given {
			all = append(all, grouped{app, []string{app.ID}})
			continue
		}
		if name == "" {
			r.fail(app.ID, deploymentPrefix+"GROUP", "it is empty")
			continue
		}
		member := app.ID
		app.ID = "/" + strings.TrimPrefix(name, "/")
		before := byName[app.ID]
		if before == nil {
			byName[app.ID] = &grouped{app, []string{member}}
			groups = append(groups, byName[app.ID])
			continue
		}
		merged, label, reason := mergeTwo(before.app, app)
		if reason != "" {
			r.fail(member, label, reason)
			continue
		}
		before.app, before.members = merged, append(before.members, member)
	}
	for _, g := range groups {
		all = append(all, *g)
	}
	return all
}

// mergeTwo makes one app of two: the definition of the old one, and the tasks of both. As
// many old tasks drain as there are healthy new ones, but no more than can be spared. reason
// says why marathon-lb cannot do that, by a label.
func mergeTwo(before, current App) (merged App, label, reason string) {
	was, is := startOf(before), startOf(current)
	switch {
	case !was.understood || !is.understood:
		return merged, deploymentPrefix + "STARTED_AT", "it is no time"
	case was.zoned != is.zoned:
		return merged, deploymentPrefix + "STARTED_AT", "one app of the group has a time with a zone there, another one without"
	}
	older, newer := current, before
	if was.time.Before(is.time) {
		older, newer = before, current
	}
	target := 1
	if _, zdd := newer.Labels[deploymentPrefix+"NEW_INSTANCES"]; zdd {
		if readTime(older.lastScalingAt).time.After(readTime(newer.lastScalingAt).time) {
			older, newer = newer, older
		}
		var err error
		if target, err = strconv.Atoi(strings.TrimSpace(newer.Labels[deploymentPrefix+"TARGET_INSTANCES"])); err != nil {
			return merged, deploymentPrefix + "TARGET_INSTANCES", "it is no whole number"
		}
	}
	healthy := newer.instances
	if current.hasChecks {
		healthy = 0
		for _, t := range newer.tasks {
			if t.alive() {
				healthy++
			}
		}
	}
	drained := max(0, healthy+older.instances-target)
	tasks := slices.Clone(older.tasks)
	slices.SortStableFunc(tasks, func(a, b task) int { return strings.Compare(a.ID, b.ID) })
	for i := range min(len(tasks), healthy, drained) {
		tasks[i].draining = true
	}
	merged = older
	merged.tasks = append(tasks, newer.tasks...)
	return merged, "", ""
}

// moment is a time as labels have it.
type moment struct {
	time              time.Time
	zoned, understood bool
}

// startOf is when an app of a group was deployed: at the beginning of time if no label says
// it.
func startOf(a App) moment {
	text, given := a.Labels[deploymentPrefix+"STARTED_AT"]
	if !given {
		return moment{understood: true}
	}
	return readTime(text)
}

// readTime reads times in the usual forms, which are fewer than marathon-lb takes.
func readTime(text string) moment {
	text = strings.Replace(strings.TrimSpace(text), " ", "T", 1)
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return moment{t, true, true}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return moment{t, false, true}
		}
	}
	return moment{}
}

func splitGroups(value string) []string { return strings.Split(value, ",") }
