package traffic

import (
	"math"
	"time"
)

// Load is how much traffic something has. Rates are per second.
type Load struct {
	// Requests and Errors are rates over the last minute, Requests10m and Errors10m over the
	// last ten. A request that Envoy tries again counts once for each try, and a TCP connection
	// is one request. Errors are answers of 5xx, requests without an answer, and those that
	// Envoy refused since too many were under way.
	Requests, Errors, Requests10m, Errors10m float64
	// InProgress is how many requests and TCP connections are open. A WebSocket is a request.
	InProgress uint64
}

// add adds another load.
func (l *Load) add(o Load) {
	l.Requests += o.Requests
	l.Errors += o.Errors
	l.Requests10m += o.Requests10m
	l.Errors10m += o.Errors10m
	l.InProgress += o.InProgress
}

// Time is divided into steps, which are numbered. They begin at multiples of Step.
const (
	// Step is the length of one.
	Step = 10 * time.Second
	// stepsInMinute and stepsInTen are those of the two rates.
	stepsInMinute, stepsInTen = 6, 60
	// kept is how many steps, and how many minutes, a window keeps: those of the rates, and some
	// more, as the last ones are not reported yet.
	kept = 12
	// maxLag is how many steps a report may be late. The fine steps have to last for it.
	maxLag = kept - stepsInMinute - 1
)

// newestSteps is in how many steps before the newest a window counts anything.
const newestSteps = (kept + 1) * stepsInMinute

// tally is a number of requests, and of those that were errors.
type tally struct{ requests, errors uint32 }

func (t *tally) add(o tally) {
	t.requests, t.errors = saturated(t.requests, o.requests), saturated(t.errors, o.errors)
}

func saturated(a, b uint32) uint32 { return uint32(min(uint64(a)+uint64(b), math.MaxUint32)) }

// window counts what happened lately, in a fixed size: by steps for the last minute, by minutes
// for the last ten.
type window struct {
	steps, minutes [kept]tally
	// last is the newest step that was counted in.
	last int64
}

// add counts in a step.
func (w *window) add(step int64, t tally) {
	if step > w.last {
		clearSlots(&w.steps, w.last, step)
		clearSlots(&w.minutes, w.last/stepsInMinute, step/stepsInMinute)
		w.last = step
	}
	if step > w.last-kept {
		w.steps[step%kept].add(t)
	}
	if minute := step / stepsInMinute; minute > w.last/stepsInMinute-kept {
		w.minutes[minute%kept].add(t)
	}
}

// clearSlots makes room for what comes after last, up to next.
func clearSlots(slots *[kept]tally, last, next int64) {
	for i := max(last+1, next-kept+1); i <= next; i++ {
		slots[i%kept] = tally{}
	}
}

// slot returns what was counted in a step or minute; nothing if it is not kept.
func slot(slots *[kept]tally, last, at int64) tally {
	if at > last || at <= last-kept {
		return tally{}
	}
	return slots[at%kept]
}

// load returns the rates at the end of a step. From is when counting began, in steps. The oldest
// minute of the ten is in there in part, by as much as is left of it.
func (w *window) load(from float64, end int64) Load {
	if float64(end) < from || w.last < end-(kept+1)*stepsInMinute {
		return Load{} // most things have had no request for long
	}
	var one, ten struct{ requests, errors float64 }
	for i := range int64(stepsInMinute) {
		t := slot(&w.steps, w.last, end-i)
		one.requests += float64(t.requests)
		one.errors += float64(t.errors)
	}
	minute := end / stepsInMinute
	inLast := end%stepsInMinute + 1
	for i := range inLast {
		t := slot(&w.steps, w.last, end-i)
		ten.requests += float64(t.requests)
		ten.errors += float64(t.errors)
	}
	for i := int64(1); i <= stepsInTen/stepsInMinute; i++ {
		share := 1.0
		if i == stepsInTen/stepsInMinute {
			share = float64(stepsInMinute-inLast) / stepsInMinute
		}
		t := slot(&w.minutes, w.last/stepsInMinute, minute-i)
		ten.requests += share * float64(t.requests)
		ten.errors += share * float64(t.errors)
	}
	short, long := seconds(from, end)
	return Load{Requests: one.requests / short, Errors: one.errors / short, Requests10m: ten.requests / long, Errors10m: ten.errors / long}
}

// seconds returns over how long the two rates go that end with a step.
func seconds(from float64, end int64) (one, ten float64) {
	counted := float64(end+1) - from
	return min(stepsInMinute, counted) * Step.Seconds(), min(stepsInTen, counted) * Step.Seconds()
}
