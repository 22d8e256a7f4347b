package scaling

import (
	"cmp"
	"fmt"
	"time"
)

// follow takes over what the source says: people and other Relays change apps, too.
func (s state) follow(in *inputs) (state, []event) {
	if s.stale(in) {
		return s, nil
	}
	s.old, s.staleUntil = nil, time.Time{}
	s = s.countFailures(in)
	r := in.read
	if s.phase == Awake && !r.deploying {
		s.dying = nil
	}
	switch {
	case r.instances > 0:
		return s.readRunning(in)
	case r.asleep > 0:
		s.wakeTo, s.dying = r.asleep, r.tasks()
		return s.readAsleep(in)
	case s.phase == Off:
		return s, nil
	case s.phase == Unread:
		return s.enter(Off, in.now, "people have scaled it to 0"), nil
	}
	s = s.enter(Off, in.now, "people have scaled it to 0")
	return s, []event{{eventOffline, s.reason}}
}

// readAsleep follows an app that the source says is asleep.
func (s state) readAsleep(in *inputs) (state, []event) {
	wanted := in.busy || s.wanted(in)
	switch s.phase {
	case Asleep:
		return s, nil
	case Waking:
		if wanted {
			return s, nil // it is to be woken, and that is not done yet
		}
		s = s.enter(Asleep, in.now, "nobody waits for it any more")
	case Stopping:
		if !s.wokenAt.IsZero() {
			return s.wake(in, s.wokenAt, "a request came while it was stopped"), nil
		}
		s = s.enter(Asleep, in.now, s.reason)
		return s, []event{{eventAsleep, fmt.Sprintf("%s; it wakes with %s", s.reason, instances(s.wakeTo))}}
	case Unread:
		return s.enter(Asleep, in.now, "it was asleep when it was first read"), nil
	default:
		if wanted {
			return s.wake(in, s.asked, "it was put to sleep by others just after a request"), nil
		}
		s = s.enter(Asleep, in.now, "it was put to sleep by another Relay")
	}
	return s, []event{{eventAsleep, s.reason}}
}

// readRunning follows an app that the source says has instances.
func (s state) readRunning(in *inputs) (state, []event) {
	r := in.read
	usable := s.usable(r)
	switch s.phase {
	case Unread:
		if len(usable) == 0 && r.deploying && r.idleAfter() > 0 {
			return s.wake(in, time.Time{}, "it was starting when it was first read"), nil
		}
		return s.enter(Awake, in.now, "it was running when it was first read"), nil
	case Awake:
		return s, nil
	case FallingAsleep:
		switch {
		case r.version == s.falls:
		case !in.alone && r.deploying && len(usable) == 0:
			// Another Relay has put it to sleep, and started it again. Or somebody else has changed it.
			if s.size != nil {
				s.wakeTo = s.size.seen
			}
			return s.wake(in, time.Time{}, "it was started again while it fell asleep"), nil
		default:
			return s.stay(in, "it was changed meanwhile", fallPause)
		}
		return s, nil
	case Off:
		s = s.enter(Awake, in.now, "people have scaled it up")
		s.size = &size{seen: r.instances, respected: in.now.Add(respectFor)}
		return s, []event{{eventAwake, s.reason}}
	case Stopping:
		if len(usable) > 0 {
			return s.stay(in, cmp.Or(s.trouble, "it was changed meanwhile"), fallPause)
		}
		return s.wake(in, s.wokenAt, "it was started again while it was stopped"), nil
	case Asleep:
		s = s.wake(in, time.Time{}, "it was started by people or by another Relay")
	}
	if len(usable) == 0 || in.busy {
		return s, nil
	}
	reason := usable[0] + " takes requests"
	s.woken = 0
	if !s.wokenAt.IsZero() {
		s.woken = in.now.Sub(s.wokenAt)
		reason = fmt.Sprintf("a request%s woke it: %s took requests %s after it", s.by, usable[0], words(s.woken))
	}
	s = s.enter(Awake, in.now, reason)
	if s.wakeTo > 0 {
		s.size = &size{seen: s.wakeTo} // another number is one that others chose
	}
	return s, []event{{eventWoken, reason}}
}

// countFailures notes a task that failed since the wake began.
func (s state) countFailures(in *inputs) state {
	f, was := in.read.failure, s.failure
	if f == nil || was != nil && f.Task == was.Task && f.At.Equal(was.At) {
		return s
	}
	s.failure = f
	if s.phase == Waking {
		s.failures++
	}
	return s
}

// wake begins the wake. by is when the first request came, zero if none did.
func (s state) wake(in *inputs, by time.Time, reason string) state {
	s = s.enter(Waking, in.now, reason)
	s.wokenAt = by
	if f := in.read.failure; f != nil {
		s.failure = f
	}
	return s
}

// staysAwake begins the reason of what was to sleep.
const staysAwake = "it stays awake: "

// stay leaves an app awake that was to sleep. The next try is after a pause.
func (s state) stay(in *inputs, reason string, pause time.Duration) (state, []event) {
	if s.phase == FallingAsleep || s.unsure || !in.read.deploying {
		s.dying = nil // nobody has stopped them
	}
	stopped := s.phase == Stopping
	s = s.enter(Awake, in.now, staysAwake+reason)
	if stopped {
		s.size = &size{seen: s.wakeTo} // another number is one that others chose
	}
	s.notBefore = in.now.Add(pause)
	return s, []event{{eventStays, reason}}
}

// leave ends falling asleep as stay does, unless another Relay may be stopping the app just now: then
// Envoys go on asking until that is known.
func (s state) leave(in *inputs, reason string, pause time.Duration) (state, []event) {
	if !s.told {
		return s.stay(in, reason, pause)
	}
	s = s.enter(Stopping, in.now, reason)
	s.unsure, s.wakeTo, s.trouble = true, in.read.instances, reason
	if s.wanted(in) {
		s.wokenAt = in.now
	}
	s.old, s.staleUntil, s.rests = []string{in.read.version}, in.now.Add(staleRead), in.read.target.Version
	return s, nil
}

// request notes a request that wants the app.
func (s state) request(in *inputs) (state, []event) {
	s.asked = in.now
	switch s.phase {
	case FallingAsleep:
		return s.leave(in, "a request came", 0)
	case Asleep:
		slept := in.now.Sub(s.since)
		s = s.wake(in, in.now, "a request"+in.by+" came")
		s.by = in.by
		return s, []event{{eventWaking, fmt.Sprintf("%s after %s of sleep", s.reason, words(slept))}}
	case Failed:
		if in.now.Sub(s.since) >= failedPause {
			s = s.wake(in, in.now, "a request"+in.by+" came, and it may start now")
			s.by = in.by
		}
	case Stopping, Waking:
		if s.wokenAt.IsZero() {
			s.wokenAt, s.by = in.now, in.by
		}
	}
	return s, nil
}
