// Package waiting is what the services have in common that have connections to TCP services wait:
// what is measured of them, who gives up a place, and how often it is looked whether some may go on.
package waiting

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"

	"relay/internal/panics"
)

// Described says what the metrics of a service are called, and what they tell.
type Described struct {
	// Results counts connections by what became of them, which is the label "result".
	Results prometheus.CounterOpts
	// Waited is how long they waited, in seconds.
	Waited prometheus.HistogramOpts
	// Waiting is how many wait now.
	Waiting prometheus.GaugeOpts
}

// Metrics are those of a service. They have no label for apps, of which there may be any number.
type Metrics struct {
	Results *prometheus.CounterVec
	Waited  prometheus.Histogram
}

// NewMetrics registers the metrics of a service. Each result is counted from zero.
func NewMetrics[R ~string](registerer prometheus.Registerer, d Described, results []R, waiting func() int) *Metrics {
	factory := promauto.With(registerer)
	m := &Metrics{Results: factory.NewCounterVec(d.Results, []string{"result"}), Waited: factory.NewHistogram(d.Waited)}
	for _, r := range results {
		m.Results.WithLabelValues(string(r))
	}
	factory.NewGaugeFunc(d.Waiting, func() float64 { return float64(waiting()) })
	return m
}

// Seldom limits how often one thing is logged, however many connections it happens to.
func Seldom() rate.Sometimes { return rate.Sometimes{First: 1, Interval: time.Minute} }

// OfOneClient is how many connections of one client may wait for an app port, for which so many may wait.
func OfOneClient(perPort int) int { return max(1, perPort/2) }

// Longest returns the port for which the most wait, if one of them may give up its place for a connection to
// another port, for which fewer wait: so a flood of connections to some services leaves places for those to others.
func Longest[K comparable, P any](ports map[K]P, waiting func(P) int, here int) (longest P, ok bool) {
	most := here + 1
	for _, p := range ports {
		if n := waiting(p); n > most {
			longest, most, ok = p, n, true
		}
	}
	return longest, ok
}

// Repeat takes steps until one of them says that it was the last, with the pause that each asks for. One that
// panics is logged, and taken again after a while.
func Repeat(log *slog.Logger, step func() (pause time.Duration, ended bool)) {
	const afterPanic = 100 * time.Millisecond
	for {
		pause, ended := afterPanic, false
		panics.Log(log, panics.Catch(func() error {
			pause, ended = step()
			return nil
		}))
		if ended {
			return
		}
		time.Sleep(pause)
	}
}
