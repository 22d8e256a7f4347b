package scaling

import (
	"fmt"
	"strings"
	"time"

	"relay/sources"
)

// idle says why an app must not sleep, as far as this Relay knows, and when that may be over; zero is
// not before something else happens. The reason is empty if it may.
func (s *state) idle(in *inputs) (reason string, due time.Time) {
	r, soon := in.read, in.soon()
	after := r.idleAfter()
	switch {
	case r.target == nil:
		return r.why, time.Time{}
	case after <= 0:
		return "it does not say after which time", time.Time{}
	case r.maintenance():
		return "people have put it into maintenance", time.Time{}
	case r.deploying:
		return "a deployment is running", time.Time{}
	case len(r.serving) == 0:
		return "no instance takes requests, so it cannot be known whether anybody comes", time.Time{}
	case in.queued > 0:
		return fmt.Sprintf("%s in its queue", wait(in.queued)), soon
	case len(r.unseen) > 0:
		return fmt.Sprintf("%s is not in rotation, and may have connections all the same", r.unseen[0]), time.Time{}
	case len(s.lingering) > 0:
		return fmt.Sprintf("%s may have connections of before it was changed, which no Envoy reports", s.lingering[0]), time.Time{}
	case in.doubt != "":
		return "it cannot be known whether it is used: " + in.doubt, soon
	case in.use.Until.IsZero():
		return "it cannot be known whether it is used: an Envoy has not reported for long enough", soon
	case in.use.InProgress > 0:
		return fmt.Sprintf("%d requests or connections are in progress", in.use.InProgress), latest(soon, in.use.Last.Add(after))
	}
	for _, limit := range []struct {
		at   time.Time
		what string
	}{
		{in.use.Last, "the last request was"},
		{s.asked, "the last request that waited for it was"},
		{r.started, "its newest instance has started"},
		{s.served, "none of its instances took requests until"},
		{in.use.Since, "this Relay knows who uses it since"},
	} {
		if at := limit.at.Add(after); !limit.at.IsZero() && at.After(in.now) {
			return fmt.Sprintf("%s%s if nobody uses it: %s %s ago, and it sleeps after %s",
				sleepsIn, words(at.Sub(in.now)), limit.what, words(in.now.Sub(limit.at)), words(after)), at
		}
	}
	if s.notBefore.After(in.now) {
		return fmt.Sprintf("it tries again in %s: %s", words(s.notBefore.Sub(in.now)), strings.TrimPrefix(s.reason, staysAwake)), s.notBefore
	}
	return "", time.Time{}
}

// sleepsIn begins the reason of an app that sleeps if nothing happens.
const sleepsIn = "it sleeps in "

// soon is when to look again if something that keeps the app awake may end unnoticed: an app that sleeps
// after a few seconds is looked at more often.
func (in *inputs) soon() time.Time {
	return in.now.Add(min(doubtPause, max(in.read.idleAfter(), minDoubtPause)))
}

// wait says that requests do.
func wait(requests int) string {
	if requests == 1 {
		return "1 request waits"
	}
	return fmt.Sprintf("%d requests wait", requests)
}

// sight notes whether an instance takes requests.
func (s state) sight(in *inputs) state {
	none := len(in.read.serving) == 0
	if none || s.unserved {
		s.served = in.now
	}
	s.unserved = none
	return s
}

// latest returns the later time.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// awake decides whether an app falls asleep, or has another size.
func (s state) awake(in *inputs) (state, action) {
	s = s.sight(in)
	reason, due := s.idle(in)
	if reason != "" {
		s, a := s.sized(in)
		a.due = earliest(a.due, due)
		return s, a
	}
	if !in.alone {
		switch recent := in.now.Sub(in.peers.at) < askAgain; {
		case in.busy:
			return s, action{}
		case !recent:
			return s, action{ask: true}
		case in.peers.against != "":
			return s, action{due: in.soon()}
		}
	}
	idleFor := in.now.Sub(latest(latest(in.use.Last, in.use.Since), latest(latest(s.asked, s.served), in.read.started)))
	s = s.enter(FallingAsleep, in.now, fmt.Sprintf("nobody used it for %s", words(idleFor)))
	s.falls, s.dying = in.read.version, in.read.tasks()
	return s, action{due: in.now.Add(time.Second), events: []event{{eventFalling, s.reason}}}
}

// earliest returns the earlier time; zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// falling waits until it is certain that nobody uses the app, and has it stopped then.
func (s state) falling(in *inputs) (state, action) {
	wait := action{due: in.now.Add(time.Second)}
	reason, _ := s.idle(in)
	if reason != "" {
		s, events := s.leave(in, reason, 0)
		return s, action{due: in.now.Add(time.Second), events: events}
	}
	if over := in.now.Sub(s.since); over >= fallTimeout {
		s, events := s.leave(in, fmt.Sprintf("after %s %s", words(over), s.holdUp(in)), fallPause)
		return s, action{due: in.now.Add(time.Second), events: events}
	}
	if !in.acknowledged {
		s.acknowledged = time.Time{}
		return s, wait
	}
	if s.acknowledged.IsZero() {
		s.acknowledged = in.now
	}
	if s.holdUp(in) != "" {
		if asks := !in.alone && s.holdUpHere(in) == "" && !in.busy; asks {
			wait.ask = in.now.Sub(in.peers.at) >= askAgain || in.peers.at.Before(s.acknowledged)
		}
		return s, wait
	}
	if in.busy {
		return s, action{}
	}
	r := in.read
	reason = s.reason
	s = s.enter(Stopping, in.now, reason)
	s.wakeTo, s.dying = r.instances, r.tasks()
	s, rescale := s.write(in, r.target.Version, sources.Rescale{Asleep: r.instances})
	return s, action{rescale: rescale}
}

// holdUp says what an app that falls asleep waits for; empty if for nothing.
func (s *state) holdUp(in *inputs) string {
	here := s.holdUpHere(in)
	switch {
	case here != "" || in.alone:
		return here
	case in.peers.at.Before(s.acknowledged):
		return "the other Relays have not answered yet"
	case in.peers.against != "":
		return in.peers.against
	}
	return in.peers.noise
}

// holdUpHere is holdUp without what concerns other Relays.
func (s *state) holdUpHere(in *inputs) string {
	switch {
	case !in.acknowledged || s.acknowledged.IsZero():
		return fmt.Sprintf("an Envoy has not acknowledged yet that it asks Relay first: %s", in.waiting)
	case in.use.Until.Before(s.acknowledged):
		return "an Envoy has not reported its load since it asks Relay first"
	}
	return ""
}

// write begins a change at the source.
func (s state) write(in *inputs, version string, r sources.Rescale) (state, *sources.Rescale) {
	r.App, r.Version, r.Over = in.read.target.ID, version, s.deployment
	s.old = []string{in.read.version}
	s.staleUntil, s.rests, s.trouble = in.now.Add(staleRead), version, ""
	return s, &r
}

// stopping waits until the source says that the app has no instances.
func (s state) stopping(in *inputs) (state, action) {
	if in.busy {
		return s, action{}
	}
	wait := action{due: earliest(s.retry, s.staleUntil)}
	if s.unsure {
		if in.peers.stopping && in.now.Sub(s.since) < unsureMost {
			s.staleUntil = latest(s.staleUntil, in.peers.at.Add(3*askAgain))
		}
		switch {
		case in.peers.at.Before(s.since):
			return s, action{ask: true}
		case !in.peers.stopping && !in.peers.failed:
			s, events := s.stay(in, s.reason, s.untouchedPause())
			return s, action{due: in.now.Add(time.Second), events: events}
		case in.now.Sub(in.peers.at) >= askAgain:
			return s, action{ask: true}
		}
		return s, action{due: in.peers.at.Add(askAgain)}
	}
	switch {
	case s.wokenAt.IsZero():
		return s, action{due: s.staleUntil}
	case in.now.Before(s.retry):
		return s, wait
	}
	version := s.rests
	if s.trouble == "" {
		version = s.written
	}
	s = s.wake(in, s.wokenAt, "a request came while it was stopped")
	s, rescale := s.write(in, version, sources.Rescale{Instances: s.wakeTo})
	s.old = append(s.old, in.read.target.ID+"@"+version)
	return s, action{rescale: rescale, events: []event{{eventWaking, s.reason}}}
}
