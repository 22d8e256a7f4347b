package traffic

import (
	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/failure"
)

var (
	failuresMetric = prometheus.NewDesc("relay_failures_total",
		"Requests that Envoys answered themselves, answers that ended in the middle, and TCP connections that failed. docs/errors.md has the codes.",
		[]string{"fleet", "code"}, nil)
	sampledMetric = prometheus.NewDesc("relay_failures_sampled_total",
		"Failures whose code was taken from others of the same moment, as there were too many to look into all.", []string{"fleet"}, nil)
)

// Describe implements prometheus.Collector.
func (*Failures) Describe(descs chan<- *prometheus.Desc) {
	descs <- failuresMetric
	descs <- sampledMetric
}

// Collect implements prometheus.Collector. Each code of each fleet is there from the start, so
// that a first failure shows as an increase.
func (f *Failures) Collect(metrics chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, fleet := range f.fleets {
		for _, code := range failure.Codes() {
			metrics <- prometheus.MustNewConstMetric(failuresMetric, prometheus.CounterValue, float64(fleet.counts[code.Name]), name, code.Name)
		}
		metrics <- prometheus.MustNewConstMetric(sampledMetric, prometheus.CounterValue, float64(fleet.sampled), name)
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
