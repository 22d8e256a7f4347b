package scaling

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/scaling/autoscale"
	"relay/sources"
)

// load is how busy an app is, at the Envoys of all Relays.
type load struct {
	inProgress float64
	known      bool
}

// size is what is remembered of an app whose number of instances follows its load.
type size struct {
	auto autoscale.State
	next time.Time // when to decide again
	// seen is how many instances the source last said, and wrote how many this Relay last asked for. A
	// number of others is respected until then.
	seen, wrote int
	respected   time.Time
	// killed are the tasks that were killed last, until the deployment has ended.
	killed []string
	// decided is why the number is what it is.
	decided string
	drain   drain
	// held are tasks that take nothing new until heldUntil, though they do not drain any more: another
	// Relay was told that they do, and may be killing them.
	held      []string
	heldUntil time.Time
}

// drain is a set of tasks that take no new requests, and are killed then.
type drain struct {
	tasks  []string
	to     int
	reason string
	// since is when it began, and acknowledged when all Envoys had said so.
	since, acknowledged time.Time
	// told is when another Relay was told last that nothing is in progress there any more.
	told time.Time
}

const (
	// respectFor is how long a number of instances stays that others chose.
	respectFor = autoscale.StableWindow
	// drainTimeout is how long Envoys may take to hear that an instance is to be killed. From then on its
	// requests may take drainMost: a connection that is open for longer is cut. Reports of less than
	// drainLeast may be too early.
	drainTimeout, drainLeast, drainMost = time.Minute, 5 * time.Second, 10 * time.Minute
	// drainHeld is how long after it was told so another Relay may kill an instance.
	drainHeld = askTimeout + askAgain + writeTimeout
)

// sized reports whether the app's number of instances follows its load.
func (r *read) sized() bool {
	c := r.scaling()
	return c.Max > 0 && c.Target > 0 && r.instances > 0
}

// sized decides how many instances a running app has.
func (s state) sized(in *inputs) (state, action) {
	r := in.read
	if !r.sized() {
		s.size = nil
		return s, action{}
	}
	var z size // a copy, since states are values
	if s.size != nil {
		z = *s.size
	}
	if in.now.Before(z.next) {
		return s, action{due: z.next}
	}
	s.size = &z
	s.size.next = in.now.Add(autoscale.Tick)
	tick := action{due: s.size.next}
	if in.busy || s.stale(in) {
		return s, tick
	}
	defer s.size.hold(s.size.drain, in.now) // as it is now: what follows may end it
	tick.events = s.size.follow(in)
	c := r.scaling()
	config := autoscale.Config{Min: max(c.Min, 1), Max: max(c.Max, c.Min, 1), Target: c.Target, DownAfter: c.DownAfter}
	wanted := r.instances
	if len(s.drains()) > 0 {
		wanted = s.size.drain.to // which is decided, and not done yet
	}
	auto, d := autoscale.Decide(config, s.size.auto, autoscale.Observation{
		InProgress: in.load.inProgress, Known: in.load.known, Ready: len(r.serving) - len(s.drains()), Wanted: wanted,
	}, in.now)
	s.size.auto, s.size.decided = auto, d.Reason
	switch {
	case r.maintenance():
		s.size.drain, s.size.decided = drain{}, "people have put it into maintenance"
	case r.deploying && !s.owns(r):
		s.size.drain, s.size.decided = drain{}, "a deployment is running"
	case in.now.Before(s.size.respected):
		s.size.drain = drain{}
		s.size.decided = fmt.Sprintf("the number that others chose stays for %s", words(s.size.respected.Sub(in.now)))
	case in.now.Before(s.retry):
	case d.Wanted > r.instances:
		return s.resize(in, sources.Rescale{Instances: d.Wanted}, d.Reason, tick)
	case d.Wanted < r.instances:
		return s.shrink(in, d, tick)
	default:
		s.size.drain = drain{}
	}
	return s, tick
}

// follow notes a number of instances that others chose.
func (z *size) follow(in *inputs) []event {
	was, is := z.seen, in.read.instances
	z.seen = is
	if !in.read.deploying {
		z.killed = nil
	}
	own := is == z.wrote
	if z.wrote != 0 && !own {
		was = z.wrote // others have taken it back before it was read
	}
	if is == was {
		return nil
	}
	if z.wrote = 0; own || was == 0 {
		return nil
	}
	z.respected, z.drain = in.now.Add(respectFor), drain{}
	return []event{{eventResizedByOthers, fmt.Sprintf("others have changed the instances from %d to %d: that stays for %s", was, is, words(respectFor))}}
}

// hold keeps what drained from requests, if another Relay may be killing it.
func (z *size) hold(was drain, now time.Time) {
	if !now.Before(z.heldUntil) {
		z.held = nil
	}
	if until := was.told.Add(drainHeld); !was.told.IsZero() && now.Before(until) && !all(was.tasks, func(task string) bool { return slices.Contains(z.drain.tasks, task) }) {
		z.held, z.heldUntil = was.tasks, until
	}
}

// drains are the tasks that take no new requests.
func (s *state) drains() []string {
	if s.size == nil {
		return nil
	}
	return s.size.drain.tasks
}

// leaving are the tasks that take no new requests: those that drain, and those that are being killed,
// as far as this Relay knows.
func (s *state) leaving() []string {
	if s.size == nil {
		return nil
	}
	return slices.Concat(s.size.drain.tasks, s.size.killed, s.size.held)
}

// resize changes the number of instances.
func (s state) resize(in *inputs, r sources.Rescale, reason string, a action) (state, action) {
	from := in.read.instances
	s.size.drain, s.size.wrote, s.size.killed = drain{}, r.Instances, slices.Concat(s.size.killed, r.Kill)
	s, a.rescale = s.write(in, in.read.target.Version, r)
	s.size.decided = fmt.Sprintf("from %d to %d instances: %s", from, r.Instances, reason)
	return s, a
}

// shrink takes instances out of rotation, and has them killed when their requests have ended.
func (s state) shrink(in *inputs, d autoscale.Decision, a action) (state, action) {
	r, dr := in.read, s.size.drain
	there := func(task string) bool { return slices.Contains(r.running, task) }
	last := len(dr.tasks) > 0 && all(r.serving, func(task string) bool { return slices.Contains(dr.tasks, task) })
	tasks := r.surplus(r.instances - d.Wanted)
	// One that did not run yet may run by now: then the source would take one that serves in its place.
	if dr.to != d.Wanted || !all(dr.tasks, there) || last || len(tasks) != len(dr.tasks) {
		s.size.drain = drain{tasks: tasks, to: d.Wanted, reason: d.Reason, since: in.now}
		reason := fmt.Sprintf("%s is taken out of rotation, to have %d instances in place of %d: %s", strings.Join(tasks, ", "), d.Wanted, r.instances, d.Reason)
		if len(tasks) > 0 {
			a.events = append(a.events, event{eventDrains, reason})
		}
		return s, a
	}
	switch {
	case len(dr.tasks) == 0:
		// What is too many does not run yet.
		return s.resize(in, sources.Rescale{Instances: d.Wanted}, d.Reason, a)
	case !in.acknowledged && in.now.Sub(dr.since) < drainTimeout:
		s.size.drain.acknowledged = time.Time{}
	case dr.acknowledged.IsZero():
		s.size.drain.acknowledged = in.now
	case !dr.over(in):
	case !dr.agreed(in):
		a.ask = in.now.Sub(in.peers.at) >= askAgain
		if in.now.Sub(dr.acknowledged) >= 2*drainMost {
			s.size.drain = drain{} // the others may have chosen other instances
		}
	default:
		return s.resize(in, sources.Rescale{Instances: d.Wanted, Kill: dr.tasks}, dr.reason, a)
	}
	return s, a
}

// agreed reports whether the other Relays say so, too: each has its own Envoys and its own time for it.
func (d *drain) agreed(in *inputs) bool {
	return in.alone || in.now.Sub(in.peers.at) <= askTimeout+askAgain &&
		!in.peers.at.Before(latest(d.acknowledged, in.leftSince)) && all(d.tasks, func(task string) bool { return slices.Contains(in.peers.drained, task) })
}

// over reports whether nothing is in progress any more at tasks that drain, or has been for too long.
func (d *drain) over(in *inputs) bool {
	switch waited := in.now.Sub(d.acknowledged); {
	case d.acknowledged.IsZero():
		return false
	case !in.left.known || in.left.inProgress > 0:
		return waited >= drainMost
	default:
		return waited >= drainLeast
	}
}

func all[T any](list []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !ok(v) })
}

// surplus are the tasks to kill of the target if there are n too many, as the source would choose
// them. Those that do not run yet are none of them: the source takes these first.
func (r *read) surplus(n int) []string {
	o := r.target.Orchestration
	tasks := make([]autoscale.Task, 0, len(o.StartedAt))
	for task, at := range o.StartedAt {
		tasks = append(tasks, autoscale.Task{ID: task, Started: at, Ready: slices.Contains(r.serving, task)})
	}
	return autoscale.Choose(tasks, n-max(o.Instances-len(tasks), 0), o.OldestFirst)
}

// wroteSize notes that a number of instances was changed.
func (s state) wroteSize(in *inputs, r *sources.Rescale) (state, []event) {
	if s.phase != Awake || s.size == nil {
		return s, nil
	}
	return s, []event{{eventRescaled, s.size.decided}}
}
