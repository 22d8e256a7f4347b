package autoscale

import (
	"cmp"
	"slices"
	"time"
)

// Task is an instance of an app that may be one too many.
type Task struct {
	ID string
	// Started is when it has started to run; zero if it has not.
	Started time.Time
	// Ready is set if it takes requests.
	Ready bool
}

// Choose returns the ids of the n tasks that Marathon would kill, in the order in which it would: those
// that take no requests first, then the youngest, or the oldest. Of tasks that started at the
// same moment it is the one with the greatest id, so that all Relays choose the same. All is at most
// what there is.
// https://mesosphere.github.io/marathon/docs/configure-task-handling.html
func Choose(tasks []Task, n int, oldestFirst bool) (ids []string) {
	tasks = slices.Clone(tasks)
	slices.SortFunc(tasks, func(a, b Task) int {
		if a.Ready != b.Ready {
			if b.Ready {
				return -1
			}
			return 1
		}
		age := cmp.Or(compareStart(b, a), cmp.Compare(b.ID, a.ID))
		if oldestFirst {
			age = cmp.Or(compareStart(a, b), cmp.Compare(b.ID, a.ID))
		}
		return age
	})
	for _, task := range tasks[:max(0, min(n, len(tasks)))] {
		ids = append(ids, task.ID)
	}
	return ids
}

// compareStart puts the older one first. What has not started yet is the youngest.
func compareStart(a, b Task) int {
	if a.Started.IsZero() != b.Started.IsZero() {
		if b.Started.IsZero() {
			return -1
		}
		return 1
	}
	return a.Started.Compare(b.Started)
}
