package sources

import (
	"cmp"
	"slices"
)

// Yielding returns how many instances of older versions take nothing new while a service is released: one
// for each healthy instance of the newest version, once there are more than are wanted in the end. Running
// is how many there are, or shall be, of older versions, and old how many of them can be reached.
func Yielding(old, running, healthy, wanted int) int {
	return max(0, min(old, healthy, healthy+running-wanted))
}

// CompareInDeployment orders the apps of a deployment: the oldest comes first.
func CompareInDeployment(a, b *App) int {
	return cmp.Or(a.Deployment.StartedAt.Compare(b.Deployment.StartedAt), cmp.Compare(a.ID, b.ID))
}

// DrainedInDeployment returns the tasks that make room for those of the newest app of a deployment. The
// members must be in order.
func DrainedInDeployment(members []*App) map[string]bool {
	old, newest := members[:len(members)-1], members[len(members)-1]
	var tasks []string
	instances := 0
	for _, app := range old {
		tasks = append(tasks, tasksOf(app, true)...)
		instances += app.Deployment.Instances
	}
	slices.Sort(tasks)
	healthy := len(tasksOf(newest, false))
	// marathon-lb's target when none is given.
	target := cmp.Or(newest.Deployment.TargetInstances, 1)
	n := Yielding(len(tasks), instances, healthy, target)
	drain := make(map[string]bool, n)
	for _, task := range tasks[:n] {
		drain[task] = true
	}
	return drain
}

// tasksOf returns the tasks with endpoints, sorted: all of them, or the healthy ones.
func tasksOf(app *App, all bool) []string {
	var tasks []string
	for _, port := range app.Ports {
		for _, e := range port.Endpoints {
			if all || e.Health == Healthy {
				tasks = append(tasks, e.Task)
			}
		}
	}
	slices.Sort(tasks)
	return slices.Compact(tasks)
}
