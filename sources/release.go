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

// TakingOver returns the app of a deployment that takes over, and those whose tasks make room: the newest
// takes over, and while the service is rolled back, the one before it. The members must be in order.
func TakingOver(members []*App) (old []*App, taking *App) {
	old, taking = members[:len(members)-1], members[len(members)-1]
	if taking.Deployment.Back && len(old) > 0 {
		return []*App{taking}, old[len(old)-1]
	}
	return old, taking
}

// DrainedInDeployment returns the tasks that make room for those of the app that takes over. The
// members must be in order.
func DrainedInDeployment(members []*App) map[string]bool {
	old, taking := TakingOver(members)
	var tasks []string
	instances := 0
	for _, app := range old {
		tasks = append(tasks, tasksOf(app, true)...)
		instances += app.Deployment.Instances
	}
	slices.Sort(tasks)
	healthy := len(tasksOf(taking, false))
	// marathon-lb's target when none is given is 1.
	target := cmp.Or(taking.Deployment.TargetInstances, members[len(members)-1].Deployment.TargetInstances, 1)
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
