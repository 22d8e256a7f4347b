package scaling

import (
	"fmt"
	"slices"
	"time"

	"relay/scaling/wake"
)

// State implements wake.Apps.
func (c *Controller) State(id string, _ int) (wake.State, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.apps[id]
	if a == nil {
		return wake.State{}, nil
	}
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	a.shown = a.state.shown(a.read, time.Now())
	return a.shown, a.changed
}

// Used implements wake.Apps.
func (c *Controller) Used(id string, _ int) {
	c.request(id, "", func(p Phase) bool { return p != Asleep && p != Failed })
}

// Wake implements wake.Apps.
func (c *Controller) Wake(id string, _ int, by wake.Client) {
	c.request(id, whose(by), func(Phase) bool { return true })
}

// whose says of whom a request is, to be put after the word.
func whose(by wake.Client) (words string) {
	if by.Domain != "" {
		words = " for " + by.Domain
	}
	if by.Network.IsValid() {
		words += " from " + by.Network.String()
	}
	return words
}

// request notes that a request came, and has the app do what is to be done then, if it is in a phase
// in which that may be.
func (c *Controller) request(id, by string, wakes func(Phase) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.apps[id]
	if a == nil {
		return
	}
	if !wakes(a.state.phase) {
		return
	}
	if a.state.phase == Awake || a.state.phase == Off {
		a.state.asked = time.Now() // nothing else to decide
		return
	}
	c.decide(a, func(in *inputs) (state, action) {
		in.by = by
		s, events := a.state.request(in)
		s, act := next(s, in)
		act.events = append(events, act.events...)
		return s, act
	})
}

// show tells who waits for a change of the app's state.
func (c *Controller) show(a *app) {
	if a.changed == nil {
		return
	}
	var now wake.State
	if a.read != nil {
		now = a.state.shown(a.read, time.Now())
	}
	if now != a.shown || a.read == nil {
		close(a.changed)
		a.changed = nil
	}
}

// shown is what requests are told.
func (s *state) shown(r *read, now time.Time) wake.State {
	c := r.scaling()
	to := wake.State{Timeout: r.wakeTimeout(), Page: c.WakePage}
	switch s.phase {
	case Awake, FallingAsleep, Unread:
		to.Phase = wake.Running
	case Asleep:
		to.Phase, to.Text = wake.Asleep, "The application was asleep, and is being woken."
	case Stopping:
		to.Phase, to.Text = wake.Asleep, "It is just going to sleep, and will be woken."
		if !s.wokenAt.IsZero() {
			to.Phase = wake.Waking
		}
	case Waking:
		to.Phase, to.Text = wake.Waking, s.progress(r)
		if s.attempts > 0 {
			// Who waits asks again after each try.
			tried := "once"
			if s.attempts > 1 {
				tried = fmt.Sprintf("%d times", s.attempts)
			}
			to.Phase, to.Text = wake.Unavailable, fmt.Sprintf("It cannot be started now. That was tried %s, and is tried again.", tried)
		}
	case Failed:
		to.Phase, to.Text = wake.Failed, "It does not start."
		if now.Sub(s.since) >= failedPause {
			to.Phase = wake.Asleep
		}
	}
	return to
}

// progress says how far an app is that starts.
func (s *state) progress(r *read) string {
	tasks := r.tasks()
	for _, member := range r.members {
		for _, port := range member.Ports {
			for _, e := range port.Excluded {
				tasks = append(tasks, e.Task)
			}
		}
	}
	tasks = slices.DeleteFunc(tasks, func(task string) bool { return slices.Contains(s.dying, task) })
	started := slices.ContainsFunc(tasks, func(task string) bool { return slices.Contains(r.running, task) })
	failed := ""
	if s.failures > 0 {
		failed = " Its first instance has failed."
	}
	switch {
	case r.instances == 0:
		return "It was asked to start."
	case started:
		return "An instance has started, and is to say that it is healthy." + failed
	case len(tasks) > 0:
		return "An instance is starting." + failed
	}
	return "A place is being found for it." + failed
}
