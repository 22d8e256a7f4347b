package traffic

import (
	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/failure"
	"relay/internal/scrape"
)

var (
	failuresCounter = scrape.NewCounter("relay_failures_total",
		"Requests that Envoys answered themselves, answers that ended in the middle, and TCP connections that failed. docs/errors.md has the codes.",
		"fleet", "code")
	sampledCounter = scrape.NewCounter("relay_failures_sampled_total",
		"Failures whose code was taken from others of the same moment, as there were too many to look into all.", "fleet")
)

// Register registers the metrics of failures.
func (f *Failures) Register(registerer prometheus.Registerer) {
	scrape.Register(registerer, f.count, failuresCounter, sampledCounter)
}

// count tells each code of each fleet from the start, so that a first failure shows as an increase.
func (f *Failures) count(set scrape.Set) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, fleet := range f.fleets {
		for _, code := range failure.Codes() {
			set(failuresCounter, float64(fleet.counts[code.Name]), name, code.Name)
		}
		set(sampledCounter, float64(fleet.sampled), name)
	}
}

// subscriber is somebody who follows failures.
type subscriber struct{ failures chan Failure }

// tell hands on a failure, unless the buffer is full.
func (s *subscriber) tell(f Failure) {
	select {
	case s.failures <- f:
	default:
	}
}

// Subscribe returns a channel with the failures from now on, until cancel is called. A reader
// that is more than buffer behind misses some. A failure comes when it is new: those like it
// that it stands for are not told of.
func (f *Failures) Subscribe(buffer int) (failures <-chan Failure, cancel func()) {
	s := &subscriber{make(chan Failure, buffer)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribers[s] = true
	return s.failures, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subscribers, s)
	}
}
