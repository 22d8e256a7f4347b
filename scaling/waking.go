package scaling

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"relay/sources"
)

// waking has the source start an app, and waits for its first instance. That one instance takes
// requests is found by follow.
func (s state) waking(in *inputs) (state, action) {
	r := in.read
	stale := s.stale(in)
	switch {
	case in.busy:
		return s, action{}
	case stale && s.trouble == "":
		return s, action{due: s.staleUntil}
	case stale && !s.wanted(in):
		s.old = nil // what was read decides
		return s, action{due: in.now}
	case !stale && r.instances > 0 && s.failures >= failedTasks:
		s = s.enter(Failed, in.now, fmt.Sprintf("%d tasks have failed since it was woken, the last one: %s", failedTasks, failureText(s.failure)))
		_, a := s.giveUp(in)
		a.events = []event{{eventFailed, s.reason}}
		return s, a
	case !stale && r.instances > 0:
		return s.giveUp(in)
	case in.now.Before(s.retry):
		return s, action{due: s.retry}
	}
	if !stale {
		s.rests = r.target.Version
	}
	s, rescale := s.write(in, s.rests, sources.Rescale{Instances: max(s.wakeTo, 1)})
	return s, action{rescale: rescale}
}

// wanted reports whether a request came not long ago. Those that wait ask again and again.
func (s *state) wanted(in *inputs) bool {
	return !s.asked.IsZero() && in.now.Sub(s.asked) < stillWanted
}

// failed waits for a request that tries again, which request is for, or for people. If neither comes,
// the app is put to sleep: its tasks would be tried for ever.
func (s state) failed(in *inputs) (state, action) {
	if in.busy || in.read.instances == 0 {
		return s, action{}
	}
	return s.giveUp(in)
}

// giveUp puts an app to sleep that was to wake, cannot, and is wanted by nobody any more.
func (s state) giveUp(in *inputs) (state, action) {
	r := in.read
	after := r.idleAfter()
	if r.target == nil || after <= 0 || r.maintenance() || r.deploying && !s.owns(r) {
		return s, action{}
	}
	if at := latest(s.since, s.asked).Add(after + r.wakeTimeout()); at.After(in.now) {
		return s, action{due: at}
	}
	if in.now.Before(s.retry) {
		return s, action{due: s.retry}
	}
	reason := fmt.Sprintf("no instance took requests, and nobody asked for it for %s", words(in.now.Sub(latest(s.since, s.asked))))
	s = s.enter(Stopping, in.now, reason)
	s.wakeTo, s.dying = r.instances, r.tasks()
	s, rescale := s.write(in, r.target.Version, sources.Rescale{Asleep: r.instances})
	return s, action{rescale: rescale}
}

// owns reports whether what is deployed is the last change that this Relay made.
func (s *state) owns(r *read) bool {
	return s.deployment != "" && r.target != nil && r.target.Version == s.written
}

// wrote takes over what became of a change at the source.
func (s state) wrote(in *inputs, r *sources.Rescale, done sources.Rescaled, err error) (state, []event) {
	if err == nil {
		s = s.settle()
		s.untouched = 0
		s.written, s.deployment = done.Version, cmp.Or(done.Deployment, s.deployment)
		s.staleUntil = in.now.Add(staleWritten)
		if done.Version == r.Version {
			s.old = nil // there was nothing to change
		}
		return s.wroteSize(in, r)
	}
	if s.size != nil {
		z := *s.size
		z.killed, z.wrote = nil, 0
		s.size = &z
	}
	s.attempts++
	s.retry = backOff(in.now, s.attempts)
	s.trouble = err.Error()
	told := []event{{eventTrouble, fmt.Sprintf("%s; the next try is in %s", err, words(s.retry.Sub(in.now)))}}
	switch {
	case errors.Is(err, sources.ErrGone):
		return s.enter(Off, in.now, err.Error()), told
	case s.phase == Stopping && errors.Is(err, sources.ErrLocked):
		// Nothing was changed. Who deploys has the app as it is.
		s.old, s.dying = nil, nil
		s, events := s.stay(in, err.Error(), fallPause)
		return s, append(told, events...)
	case s.phase == Stopping && errors.Is(err, sources.ErrUntouched) && len(in.read.serving) > 0:
		// Its instances serve still, and must not be kept from it until the source is back.
		if s.untouched++; in.alone {
			s.old, s.dying = nil, nil
			s, events := s.stay(in, err.Error(), s.untouchedPause())
			return s, append(told, events...)
		}
		s.unsure = true // another Relay may have reached the source
	}
	// It may be changed by now, by this write or by that of somebody else. What is read next says so.
	s.staleUntil = s.retry.Add(staleRead)
	if s.phase == Stopping {
		s.staleUntil = in.now.Add(staleRead)
	}
	return s, told
}

// untouchedPause is how long after a try that the source did not begin there is another: each one has all
// Envoys told twice.
func (s *state) untouchedPause() time.Duration {
	if s.untouched == 0 {
		return 0
	}
	return min(fallPause<<min(s.untouched-1, 4), 10*fallPause)
}

// failureText is what is said of a failed task, for operators.
func failureText(f *sources.TaskFailure) string {
	text := f.Task + " " + f.State
	if f.Message != "" {
		text += ": " + f.Message
	}
	return text
}
