package marathon

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"relay/sources"
)

// drainNote says of a task why it takes nothing new.
const drainNote = "takes no new connections: a healthy task of a newer version has taken its place"

// release has the tasks of older versions drain while Marathon deploys an app anew, at its ports that are
// TCP services: connections there stay for as long as Marathon lets their task live, and a new one that
// went to an old task would be cut soon. Ports for HTTP stay as they are: Envoy sends the next request
// elsewhere. It rests on what is read alone, so it is the same after a restart. Older are the tasks of versions
// before the newest, and wanted is how many instances there shall be.
func (out *mapped) release(older map[string]time.Time, wanted int) {
	if len(older) == 0 {
		return
	}
	yielded := false
	for i := range out.app.Ports {
		port := &out.app.Ports[i]
		if port.TCP == nil || port.TCP.Implicit {
			continue
		}
		for _, n := range yielding(port.Endpoints, older, wanted) {
			port.Endpoints[n].Health, yielded = sources.Draining, true
			out.app.Notes = append(out.app.Notes, sources.Note{Task: port.Endpoints[n].Task, Text: drainNote})
		}
	}
	if yielded {
		out.sort()
	}
}

// outdated returns the listed tasks of versions before the newest, with their versions.
func outdated(tasks []taskJSON, judge *standards, listed history) map[string]time.Time {
	var older map[string]time.Time
	for i := range tasks {
		by := judge.of(&tasks[i])
		if _, is := listed[tasks[i].ID]; !is || by.age != olderVersion {
			continue
		}
		if older == nil {
			older = make(map[string]time.Time)
		}
		older[tasks[i].ID] = by.at
	}
	return older
}

// yielding returns the positions of the endpoints that drain. Those that are being killed count, and come
// first. Of the others the newest versions do: after a rollback, these are the ones that were rolled back.
func yielding(endpoints []sources.Endpoint, older map[string]time.Time, wanted int) (drain []int) {
	var old []int
	healthy := 0
	for n, e := range endpoints {
		if _, is := older[e.Task]; is {
			old = append(old, n)
		} else if e.Health == sources.Healthy {
			healthy++
		}
	}
	slices.SortFunc(old, func(a, b int) int {
		x, y := endpoints[a], endpoints[b]
		return cmp.Or(first(x.Health == sources.Draining, y.Health == sources.Draining), older[y.Task].Compare(older[x.Task]), strings.Compare(x.Task, y.Task))
	})
	for _, n := range old[:sources.Yielding(len(old), len(old), healthy, wanted)] {
		if endpoints[n].Health != sources.Draining {
			drain = append(drain, n)
		}
	}
	return drain
}

// first compares so that what is true comes first.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
