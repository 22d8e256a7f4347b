package findings

import (
	"slices"

	"relay/admin/api"
)

// tasks are those of the ports that requests go to.
type tasks struct {
	// in counts those in rotation, and unreachable those of them to which Envoys cannot connect.
	in, unreachable int
	// stopped is set if an app is scaled to 0.
	stopped bool
	// out says which others are left out, and why.
	out []string
}

// tasks says whether there is a task that answers.
func (l *list) tasks(t tasks) {
	const connect = "see whether the tasks listen on that port, and what is between them and the Envoys"
	switch {
	case t.in == 0 && t.stopped:
		l.add(api.Warning, "scale it up in Marathon", "It is scaled to 0: requests get 503")
	case t.in == 0 && len(t.out) > 0:
		l.add(api.Critical, "look at the app's tasks, health checks and log in Marathon", "No task is in rotation, so requests get 503: %s", t.out[0])
	case t.in == 0:
		l.add(api.Critical, "look at the app in Marathon: its deployment may wait for resources, or its tasks end at once", "It has no task, so requests get 503")
	case t.unreachable == t.in:
		l.add(api.Critical, connect, "Envoys can connect to none of its tasks")
	case t.unreachable > 0:
		l.add(api.Warning, connect, "Envoys cannot connect to %d of %s", t.unreachable, plural(t.in, "task"))
	}
}

// envoys says which Envoys lack something.
func (l *list) envoys(envoys []api.Progress) {
	behind, which := 0, ""
	for _, e := range envoys {
		i := slices.IndexFunc(e.Waiting, func(w api.Waiting) bool { return w.Error != "" })
		if i >= 0 {
			l.add(api.Critical, "docs/rejections.md says what to do; the Envoy keeps what it had", "Envoy %s rejected %s %s: %s",
				e.ID, e.Waiting[i].Type, e.Waiting[i].Name, e.Waiting[i].Error)
			return
		}
		if e.Acknowledged < e.Needs {
			if behind++; which == "" {
				which = e.ID
			}
		}
	}
	if behind > 0 {
		l.add(api.Warning, "if that lasts, look at the Envoy: it may hang, or Relay's port may be hard to reach", "%s, such as %s, %s not have all of it yet",
			plural(behind, "Envoy"), which, verb(behind, "does", "do"))
	}
}
