package scaling

import (
	"slices"
	"time"

	"relay/sources"
	"relay/traffic"
)

// state is what is remembered of a routed app. It is a value: its slices are replaced, and never modified.
type state struct {
	phase Phase
	// since is when the phase began, and reason why.
	since  time.Time
	reason string

	// old are versions of before the last change at the source: what is read of them is stale until
	// staleUntil. rests is the version on which the last change rests, and written the one that it
	// made, if that is known.
	old            []string
	staleUntil     time.Time
	rests, written string
	// deployment is that of the last change: another change may take its place.
	deployment string
	// attempts counts the tries to change something that failed one after the other, and retry is when
	// to try again. trouble is why the last one failed.
	attempts int
	retry    time.Time
	trouble  string

	// falls is the version of what falls asleep, acknowledged is when all Envoys had said that they ask
	// first, and told is set once another Relay relies on it. notBefore is when to try again after it
	// did not work.
	falls                   string
	acknowledged, notBefore time.Time
	told                    bool
	// untouched counts how often in a row the source did not even begin to put it to sleep.
	untouched int
	// unsure is set of a stopping app if another Relay may have put it to sleep.
	unsure bool
	// wakeTo is how many instances the app wakes to.
	wakeTo int
	// dying are tasks that ran when the app was put to sleep, or fell asleep.
	dying []string
	// lingering are tasks of which Envoys may have connections that they do not report.
	lingering []string
	// unserved is set of an awake app while no instance takes requests, and served is when that was last
	// so. Envoys answer themselves meanwhile, which no report tells.
	unserved bool
	served   time.Time

	// asked is when a request last wanted the app, and wokenAt when the first one of this wake did.
	asked, wokenAt time.Time
	// by is of whom that one was: its domain and network, in words.
	by string
	// woken is how long the last wake took, from the first request to the first instance; 0 if no
	// request asked for it.
	woken time.Duration
	// failures counts the tasks that failed since the wake began; failure is the last one known.
	failures int
	failure  *sources.TaskFailure

	// size is nil of an app whose number of instances does not follow its load.
	size *size
}

// enter begins a phase.
func (s state) enter(p Phase, now time.Time, reason string) state {
	s.phase, s.since, s.reason = p, now, reason
	s.acknowledged, s.told, s.unsure, s.failures = time.Time{}, false, false, 0
	if p == Off {
		s.dying = nil
	}
	if p != Stopping && p != Waking {
		s.wokenAt, s.by = time.Time{}, ""
	}
	switch {
	case p == FallingAsleep && s.size != nil:
		z := *s.size
		z.drain = drain{}
		s.size = &z
	case p != Awake:
		s.size = nil
	}
	return s.settle()
}

// settle forgets tries that failed.
func (s state) settle() state {
	s.attempts, s.retry, s.trouble = 0, time.Time{}, ""
	return s
}

// stale reports whether what was read may be older than what was written.
func (s *state) stale(in *inputs) bool {
	return slices.Contains(s.old, in.read.version) && (in.busy || in.now.Before(s.staleUntil))
}

// usable are the tasks that take requests, and go on to.
func (s *state) usable(r *read) []string {
	if len(s.dying) == 0 || !r.deploying {
		return r.serving
	}
	return slices.DeleteFunc(slices.Clone(r.serving), func(task string) bool { return slices.Contains(s.dying, task) })
}

// inputs is what next decides by.
type inputs struct {
	now time.Time
	// read is what the source says.
	read *read
	// use is what Envoys report, of all clusters of the app, and doubt why it is not known: both only
	// in the phases that need it.
	use   traffic.Use
	doubt string
	// acknowledged is whether all Envoys have what was handed on last, and waiting who has not.
	acknowledged bool
	waiting      string
	// queued is how many requests wait in queues of this Relay, in the phases that need use.
	queued int
	// alone is set if there are no other Relays, and peers is what they last answered.
	alone bool
	peers answers
	// busy is set while peers are asked, or a change of the app is under way at the source.
	busy bool
	// by says of whom the request is that came just now, to be put after the word.
	by string
	// load is what Envoys of all Relays have in progress, for apps that are sized by it.
	load load
	// left is what is in progress at tasks that drain, by reports of after all Envoys knew.
	// LeftSince is when an Envoy last came or went.
	left      load
	leftSince time.Time
}

// answers are what the peers said.
type answers struct {
	// at is when they were asked.
	at time.Time
	// against is why one of them is against sleep, or could not be asked.
	against string
	// noise says who is not quiet; empty if all are.
	noise string
	// stopping is set if one of them puts the app to sleep at the source, or knows of another version of it.
	stopping bool
	// drained are the tasks at which nothing is in progress at any of them.
	drained []string
	// failed is set if one could not be asked.
	failed bool
}

// action is what is to be done, besides keeping the state.
type action struct {
	// ask has peers asked, and rescale the number of instances changed.
	ask     bool
	rescale *sources.Rescale
	// due is when to look again if nothing happens before; zero is never.
	due time.Time
	// events is what is told of the decision.
	events []event
}

// event is one thing to tell people.
type event struct{ name, reason string }

// next says what an app does next. It is called when something was read of the app, a request came,
// a change at the source ended, or the time has come that the last call named.
func next(s state, in *inputs) (state, action) {
	s, events := s.follow(in)
	if in.queued > 0 {
		s.asked = in.now
	}
	var a action
	switch s.phase {
	case Awake:
		s, a = s.awake(in)
	case FallingAsleep:
		s, a = s.falling(in)
	case Stopping:
		s, a = s.stopping(in)
	case Waking:
		s, a = s.waking(in)
	case Failed:
		s, a = s.failed(in)
	}
	a.events = append(events, a.events...)
	return s, a
}

// backOff is when to try again after n tries that failed.
func backOff(now time.Time, n int) time.Time {
	wait := lastRetry
	if n < 6 {
		wait = min(firstRetry<<max(n-1, 0), lastRetry)
	}
	return now.Add(wait)
}
