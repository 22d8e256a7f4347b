package findings

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/plural"
)

// tasks are those of the ports that requests go to.
type tasks struct {
	// apps are those that have the ports.
	apps []string
	// in counts those in rotation, and unreachable those of them to which Envoys cannot connect.
	in, unreachable int
	// connect says of the first of these why.
	connect string
	// stopped is set if an app is scaled to 0.
	stopped bool
	// scaling is what Relay does with the instances; nil if nothing. maintenance is set if
	// requests do not get that far.
	scaling     *api.Scaling
	maintenance bool
	// out says which others are left out, and why; starting counts those that will not be soon.
	out      []string
	starting int
}

// starts is how the reason of a task begins that is not complete yet.
const starts = "is starting"

func (t *tasks) leaveOut(task, reason string) {
	t.out = append(t.out, "task "+task+" "+reason)
	if strings.HasPrefix(reason, starts) {
		t.starting++
	}
}

func (t *tasks) take(address, unreachable string) {
	t.in++
	if unreachable == "" {
		return
	}
	if t.unreachable++; t.unreachable == 1 {
		// What follows is what Envoys do about it.
		first, _, _ := strings.Cut(unreachable, ". ")
		t.connect = address + ": " + first
	}
}

// bad reports whether requests find no task, or one that takes no connections.
func (t *tasks) bad() bool { return t.in == 0 && !t.sleeps() || t.unreachable > 0 }

// up is when the last change was made, if there are tasks that take connections since; zero if there are none, or that is not
// known.
func (t *tasks) up(changes []api.Change) time.Time {
	if t.in == t.unreachable || len(changes) == 0 {
		return time.Time{}
	}
	return changes[0].Time
}

// sleeps reports whether requests wait for the app until it has started.
func (t *tasks) sleeps() bool {
	return t.scaling.Sleeps()
}

// asleep says why there is no task, though nothing is wrong.
func (t *tasks) asleep() string {
	text := named(t.apps, "The app") + " is " + t.scaling.Phase
	if t.scaling.Reason != "" {
		text += ": " + t.scaling.Reason
	}
	return text + "; " + t.scaling.Text
}

// tasks says whether there is a task that answers.
func (l *list) tasks(t tasks) {
	const connect = "see whether the task listens on that address and port, not only on localhost, and what is between it and the Envoys"
	who := named(t.apps, "the app")
	if t.maintenance {
		l.add(api.Warning, "take RELAY_MAINTENANCE off when it is over", "%s is in maintenance: requests get 503 and a page that says so", named(t.apps, "The app"))
	}
	if t.scaling != nil && t.scaling.Trouble != "" {
		l.add(api.Warning, "see whether Marathon runs, and whether the credentials of --scaling may write", "The last try to change the number of instances of %s failed: %s", who, t.scaling.Trouble)
	}
	switch {
	case t.in == 0 && t.sleeps(): // nothing is wrong: see asleep
	case t.in == 0 && t.scaling != nil && t.scaling.Phase == api.PhaseFailed:
		l.add(api.Critical, "look at the app's log and its last failed task in Marathon", "%s could not be woken, so requests get 503: %s", named(t.apps, "The app"), t.scaling.Reason)
	case t.in == 0 && t.stopped:
		l.add(api.Warning, "scale it up in Marathon", "%s is scaled to 0: requests get 503", named(t.apps, "The app"))
	case t.in == 0 && len(t.out) > 0 && t.starting == len(t.out):
		l.add(api.Critical, "wait until it has started; if that lasts, look at its log and its deployment in Marathon",
			"No task of %s is in rotation yet, so requests get 503: %s", who, t.out[0])
	case t.in == 0 && len(t.out) > 0:
		l.add(api.Critical, "look at the app's tasks, health checks and log in Marathon", "No task of %s is in rotation, so requests get 503: %s", who, t.out[0])
	case t.in == 0:
		l.add(api.Critical, "look at the app in Marathon: its deployment may wait for resources, or its tasks end at once", "There is no task of %s, so requests get 503", who)
	case t.unreachable == t.in:
		l.add(api.Critical, connect, "No task of %s takes connections: %s", who, t.connect)
	case t.unreachable > 0:
		l.add(api.Warning, connect, "%d of %s of %s %s no connections: %s", t.unreachable, plural.Of(t.in, "task"), who, verb(t.unreachable, "takes", "take"), t.connect)
	}
}

// silent is how long an Envoy may take for an answer before that is said to be critical, if no
// other Envoy of the fleet has the change.
const silent = 10 * time.Second

// envoys says which Envoys lack something. Changes are those of it, the newest first.
func (l *list) envoys(envoys []api.Progress, changes []api.Change, now time.Time) {
	behind, which, state := 0, "", ""
	for _, e := range envoys {
		i := slices.IndexFunc(e.Waiting, func(w api.Waiting) bool { return w.Error != "" })
		if i >= 0 {
			l.add(api.Critical, "docs/rejections.md says what to do; the Envoy keeps what it had", "Envoy %s rejected %s %s: %s",
				e.ID, e.Waiting[i].Type, e.Waiting[i].Name, e.Waiting[i].Error)
			return
		}
		i = slices.IndexFunc(e.Waiting, func(w api.Waiting) bool { return w.State != explain.OnDemand })
		if i >= 0 {
			if behind++; which == "" {
				which, state = e.ID, e.Waiting[i].Type+" "+e.Waiting[i].Name+" is "+e.Waiting[i].State
			}
		}
	}
	if behind == 0 {
		return
	}
	level, from := api.Warning, behindSince(changes, which)
	if behind == len(envoys) && !from.IsZero() && now.Sub(from) > silent {
		level = api.Critical
	}
	l.add(level, "if that lasts, look at the Envoy: it may hang, or the connection between it and Relay", "Envoy %s does not have all of it%s: %s%s",
		which, since(from), state, others(behind-1, "nor"))
}

// behindSince is the time of the oldest change that an Envoy does not have; zero if not known.
func behindSince(changes []api.Change, envoy string) (oldest time.Time) {
	for _, c := range changes {
		if slices.Contains(c.Waiting, envoy) {
			oldest = c.Time
		}
	}
	return oldest
}

// others says of how many other Envoys the same holds.
func others(n int, joint string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %s %s %s", joint, verb(n, "does", "do"), plural.Of(n, "other Envoy"))
}
