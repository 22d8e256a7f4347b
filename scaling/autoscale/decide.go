// Package autoscale decides how many instances an app needs, by how many requests are in progress.
// It is the concurrency autoscaler of Knative, with its windows and thresholds, as a pure function:
// https://knative.dev/docs/serving/autoscaling/kpa-specific/
//
// A stable window of 60 s says how much there is to do. If the last 6 s ask for twice the instances
// that are ready, the rule panics: the short window counts as well, and nothing is taken away. There
// are never more than twice as many instances wanted as a second before, and fewer only after they
// would have been enough for a while.
//
// An app that is too slow for its requests has ever more of them in progress. The rule cannot tell
// that from more clients: it asks for more than is needed in the end, and gives it back later. The
// upper bound is what limits that.
package autoscale

import (
	"math"
	"time"
)

const (
	// Tick is how often Decide is meant to be called.
	Tick = time.Second
	// StableWindow and PanicWindow are how far back averages go.
	StableWindow = 60 * time.Second
	PanicWindow  = 6 * time.Second
	// panicThreshold is how many times the instances that are ready are needed for panic.
	panicThreshold = 2
	// maxRate is how many times the instances of before there may be after a step.
	maxRate = 2
	// DefaultDownAfter is Config.DownAfter where an app does not say.
	DefaultDownAfter = 5 * time.Minute
	// spare is the part of the load for which fewer instances must have room beyond it. So a
	// number that is just enough is not left and taken again with every breath of the load.
	spare = 0.1
	// maxGap is how long reports may be missing until all instances count as needed meanwhile: the
	// longest interval between two reports.
	maxGap = 10 * time.Second
)

// Config is what people ask for. Target is more than 0, Min at least 1, and Max at least Min.
type Config struct {
	// Min and Max bound the number of instances.
	Min, Max int
	// Target is how many requests in progress one instance is meant to have.
	Target float64
	// DownAfter is for how long fewer instances must have been enough; 0 is DefaultDownAfter. It
	// may take a thirtieth longer.
	DownAfter time.Duration
}

// Observation is what is known at a moment.
type Observation struct {
	// InProgress is how many requests are in progress at all Envoys, by their last reports to any
	// Relay, with those that wait in a queue.
	InProgress float64
	// Known is false if an Envoy does not report, or a Relay cannot be asked: there may be more to do
	// then. That asks for more instances if it has to, and never for fewer.
	Known bool
	// Ready is how many instances take requests, and Wanted how many there shall be.
	Ready, Wanted int
}

// State is what Decide remembers of an app, in a fixed size. Its zero value is that of an app that
// was never looked at. It need not be kept over a restart: Decide looks on for DownAfter before it
// takes an instance away.
type State struct {
	samples samples
	needs   needs
	// began is when Decide was first called. All else counts from it, so that a clock that is set
	// makes no jump. Last is when it was called last.
	began time.Time
	last  time.Duration
	// decided is what was wanted after the last decision.
	decided int
	// known is when the load was last known, and panicked when the short window last asked for
	// panic; each is less than 0 if it never was.
	known, panicked time.Duration
	// load is what was in progress when it was last known.
	load float64
}

// Decision is what Decide makes of an observation.
type Decision struct {
	// Wanted is how many instances there shall be. If it is Observation.Wanted, nothing is to be done.
	Wanted int
	// Reason says why, with the figures.
	Reason string
	// Panic is set while the short window counts.
	Panic bool
}

// Decide says how many instances there shall be, and what to remember. Relays that see the same
// come to the same number, each with a state of its own: a number that somebody else has set, a
// Relay or people, counts as needed at that moment, so none takes back what another has done.
//
// An app that has no instances sleeps or is suspended, and is left alone.
func Decide(c Config, s State, o Observation, now time.Time) (State, Decision) {
	if c.DownAfter <= 0 {
		c.DownAfter = DefaultDownAfter
	}
	if o.Wanted <= 0 {
		return State{}, Decision{Reason: "no instances are wanted: people, or the first request to an app that sleeps, change that"}
	}
	at := now.Sub(s.began)
	if s.began.IsZero() || at < s.last {
		s, at = State{began: now, known: -1, panicked: -1}, 0
	}
	s.last = at
	f := figures{config: c, from: o.Wanted, known: o.Known, limit: max(o.Wanted, maxRate*min(o.Wanted, s.decided))}
	s.observe(c, o, at)
	s.panic(c, o, at)
	f.panic = s.panicked >= 0
	f.average(&s, at)
	if f.loaded {
		s.needs.add(at, enough(f.load*(1+spare), c.Target))
	} else {
		s.needs.add(at, o.Wanted)
	}
	f.decide(&s, at)
	s.decided = f.wanted
	return s, Decision{Wanted: f.wanted, Reason: f.reason(), Panic: f.panic}
}

// observe takes the sample. What is not known counts as if all instances had been needed, and, for as
// long as one report may be away from the next, as much to do as before.
func (s *State) observe(c Config, o Observation, at time.Duration) {
	changed := s.needs.setLength(c.DownAfter)
	gap := s.known < 0 || at-s.known > maxGap
	if changed || o.Wanted != s.decided || gap {
		s.needs.add(at, o.Wanted)
	}
	load := o.InProgress
	switch {
	case o.Known:
		if gap {
			s.samples = samples{} // of a part of the load
		}
		s.known, s.load = at, load
	case !gap:
		load = max(load, s.load)
	}
	s.samples.add(at, load)
}

// panic begins or ends a panic.
func (s *State) panic(c Config, o Observation, at time.Duration) {
	load, ok := s.samples.average(at, PanicWindow)
	switch {
	case ok && enough(load, c.Target) >= panicThreshold*max(1, o.Ready):
		s.panicked = at
	case at-s.panicked > StableWindow:
		s.panicked = -1
	}
}

// average finds the load that counts.
func (f *figures) average(s *State, at time.Duration) {
	f.load, f.loaded = s.samples.average(at, StableWindow)
	f.over = StableWindow
	if !f.panic {
		return
	}
	if load, ok := s.samples.average(at, PanicWindow); ok && (!f.loaded || load > f.load) {
		f.load, f.loaded, f.over = load, true, PanicWindow
	}
}

// decide makes a number of what was found.
func (f *figures) decide(s *State, at time.Duration) {
	f.asked = f.from
	f.needed = enough(f.load, f.config.Target)
	f.fewer = s.needs.most()
	f.since = s.needs.since(at, f.from)
	switch {
	case f.loaded && f.needed > f.from:
		f.asked = f.needed
	case f.known && f.loaded && !f.panic && f.fewer < f.from:
		f.asked = f.fewer
	}
	f.wanted = min(max(min(f.asked, f.limit), f.config.Min), f.config.Max)
}

// enough is how many instances have room for a load. A thousandth of an instance is none: sums of
// the same numbers in another order differ by less.
func enough(load, target float64) int {
	n := math.Ceil(load/target - 0.001)
	return int(min(max(n, 0), math.MaxInt32))
}
