package scaling

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/sources"
)

// read is what the source says of what is routed under one name: an app, or all apps of a
// deployment group. It is never modified.
type read struct {
	id      string
	members []*sources.App // ordered by id
	// target is the app whose number of instances may be changed; nil if none is, and why says why.
	target *sources.App
	why    string
	// version tells one definition of the target from another.
	version   string
	instances int // of all members
	asleep    int // how many the target had before it was put to sleep
	deploying bool
	// serving are the tasks that take requests, and places where each task is reached.
	serving []string
	places  map[string][]place
	// running are the tasks that run as far as is known, in rotation or not, and unseen those of them
	// that are not in rotation.
	running, unseen []string
	// started is when the newest task has.
	started time.Time
	failure *sources.TaskFailure
}

// place is where a task is reached.
type place struct {
	app      string
	port     int
	endpoint sources.Endpoint
}

// deploymentPrefix begins the routed names of deployment groups, which no id does.
const deploymentPrefix = "deployment-group/"

// routedID is the name under which an app is routed.
func routedID(app *sources.App) string {
	if app.Deployment == nil {
		return app.ID
	}
	return deploymentPrefix + strings.Trim(app.Deployment.Group, "/")
}

// concerns reports whether an app may be one that Relay scales: alone, or as part of a group. One
// that Relay put to sleep is also woken if it may not be scaled any more.
func concerns(app *sources.App) bool {
	return app.Scaling != nil || app.Deployment != nil || asleep(app) > 0
}

func asleep(app *sources.App) int {
	if app.Orchestration == nil || app.Orchestration.Instances > 0 {
		return 0
	}
	return app.Orchestration.Asleep
}

// instancesOf is how many instances an app has, or 1 if it has some and it is not known how many.
func instancesOf(app *sources.App) int {
	switch {
	case app.Orchestration != nil && app.Scaling != nil:
		return app.Orchestration.Instances
	case app.Stopped:
		return 0
	}
	return 1
}

// newRead puts together what was read of the members, of which there is at least one.
func newRead(id string, members []*sources.App) *read {
	slices.SortFunc(members, func(a, b *sources.App) int { return strings.Compare(a.ID, b.ID) })
	r := &read{id: id, members: members}
	for _, app := range members {
		r.instances += instancesOf(app)
		r.addTasks(app)
		if o := app.Orchestration; o != nil {
			r.deploying = r.deploying || o.Deploying
			if o.Failure != nil && (r.failure == nil || o.Failure.At.After(r.failure.At)) {
				r.failure = o.Failure
			}
		}
	}
	r.choose()
	if r.target != nil {
		r.version, r.asleep = r.target.ID+"@"+r.target.Version, asleep(r.target)
	}
	return r
}

// addTasks adds the tasks of a member.
func (r *read) addTasks(app *sources.App) {
	var excluded []string
	for i := range app.Ports {
		for _, e := range app.Ports[i].Endpoints {
			if e.Health != sources.Draining && len(r.places[e.Task]) == 0 {
				r.serving = append(r.serving, e.Task)
			}
			if r.places == nil {
				r.places = make(map[string][]place)
			}
			r.places[e.Task] = append(r.places[e.Task], place{app.ID, i, e})
		}
		for _, e := range app.Ports[i].Excluded {
			excluded = append(excluded, e.Task)
		}
	}
	if app.Orchestration == nil {
		return
	}
	slices.Sort(excluded)
	for task, at := range app.Orchestration.StartedAt {
		r.running = append(r.running, task)
		if at.After(r.started) {
			r.started = at
		}
		if _, found := slices.BinarySearch(excluded, task); found && len(r.places[task]) == 0 {
			r.unseen = append(r.unseen, task)
		}
	}
	slices.Sort(r.running)
	slices.Sort(r.unseen)
}

// choose finds the target: the one member that has instances, else the newest that sleeps.
func (r *read) choose() {
	var having, sleeping []*sources.App
	for _, app := range r.members {
		switch {
		case instancesOf(app) > 0:
			having = append(having, app)
		case asleep(app) > 0:
			sleeping = append(sleeping, app)
		}
	}
	switch {
	case len(having) > 1:
		r.why = fmt.Sprintf("%d apps of its deployment group have instances, such as %s and %s", len(having), having[0].ID, having[1].ID)
	case len(having) == 1 && having[0].Scaling == nil:
		r.why = "Relay may not scale " + having[0].ID
	case len(having) == 1:
		r.target = having[0]
	case len(sleeping) > 0:
		r.target = slices.MaxFunc(sleeping, func(a, b *sources.App) int {
			if a.Deployment == nil || b.Deployment == nil {
				return 0
			}
			return cmp.Or(a.Deployment.StartedAt.Compare(b.Deployment.StartedAt), cmp.Compare(a.ID, b.ID))
		})
	default:
		r.why = "nobody wants instances of it"
	}
}

// scaling is what the target asks for; never nil.
func (r *read) scaling() *sources.Scaling {
	if r.target != nil && r.target.Scaling != nil {
		return r.target.Scaling
	}
	return &sources.Scaling{}
}

func (r *read) idleAfter() time.Duration { return r.scaling().IdleAfter }

// wakeTimeout is how long a request waits for the target.
func (r *read) wakeTimeout() time.Duration {
	return cmp.Or(r.scaling().WakeTimeout, DefaultWakeTimeout)
}

// tasks are all that are reached, or run.
func (r *read) tasks() []string {
	all := slices.Clone(r.running)
	for task := range r.places {
		all = append(all, task)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// maintenance reports whether people have requests answered by a page: instances run on meanwhile.
func (r *read) maintenance() bool {
	return slices.ContainsFunc(r.members, func(app *sources.App) bool { return app.Maintenance })
}

// exists reports whether a task is known still, wherever it is reached.
func (r *read) exists(task string) bool {
	if len(r.places[task]) > 0 || slices.Contains(r.running, task) {
		return true
	}
	for _, app := range r.members {
		for i := range app.Ports {
			if slices.ContainsFunc(app.Ports[i].Excluded, func(e sources.Excluded) bool { return e.Task == task }) {
				return true
			}
		}
	}
	return false
}
