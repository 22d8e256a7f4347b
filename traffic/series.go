package traffic

import (
	"math"
	"time"
)

// historySteps is how many steps a chart shows: the last hour.
const historySteps = 360

// Series is how the load of a fleet went, for charts. Its points are Step apart, the last of
// them is the newest that all Envoys have reported.
type Series struct {
	// Start is when the first step begins, at a multiple of Step since 1970.
	Start time.Time
	// Requests and Errors are rates per second; NaN where no Envoy reported.
	Requests, Errors []float64
}

// history keeps what happened in the steps of the last hour. It keeps more, as points of it are
// read before the last steps are reported.
type history struct {
	points [historySteps + kept]point
	last   int64 // the newest step with a point
}

type point struct {
	requests, errors uint64
	// known is set when an Envoy reported of the step.
	known bool
}

// at returns the point of a step, to be changed; nil if the step is too old.
func (h *history) at(step int64) *point {
	n := int64(len(h.points))
	if step > h.last {
		for i := max(h.last+1, step-n+1); i <= step; i++ {
			h.points[i%n] = point{}
		}
		h.last = step
	}
	if step <= h.last-n {
		return nil
	}
	return &h.points[step%n]
}

// get returns the point of a step.
func (h *history) get(step int64) point {
	n := int64(len(h.points))
	if step > h.last || step <= h.last-n {
		return point{}
	}
	return h.points[step%n]
}

// sum adds up histories, for the hour that ends with the step end.
func sum(all []*history, end int64) (requests, errors []float64) {
	requests, errors = make([]float64, historySteps), make([]float64, historySteps)
	for i := range historySteps {
		var p point
		for _, h := range all {
			one := h.get(end - historySteps + 1 + int64(i))
			p = point{p.requests + one.requests, p.errors + one.errors, p.known || one.known}
		}
		requests[i], errors[i] = math.NaN(), math.NaN()
		if p.known {
			requests[i], errors[i] = float64(p.requests)/Step.Seconds(), float64(p.errors)/Step.Seconds()
		}
	}
	return requests, errors
}

// load returns the rates at the end of a step, as window.load does.
func (h *history) load(from float64, end int64) Load {
	if float64(end) < from {
		return Load{}
	}
	var one, ten point
	for i := range int64(stepsInTen) {
		p := h.get(end - i)
		ten.requests, ten.errors = ten.requests+p.requests, ten.errors+p.errors
		if i == stepsInMinute-1 {
			one = ten
		}
	}
	short, long := seconds(from, end)
	return Load{
		Requests: float64(one.requests) / short, Errors: float64(one.errors) / short,
		Requests10m: float64(ten.requests) / long, Errors10m: float64(ten.errors) / long,
	}
}
