package wake

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Waiting is an app that requests wait for.
type Waiting struct {
	App string `json:"app"`
	// Requests is how many wait; 0 if only the page was shown.
	Requests int `json:"requests"`
	// Since is when the first of them came; zero if none waits.
	Since time.Time `json:"since,omitzero"`
	// Why says what they wait for.
	Why string `json:"why"`
}

// Waiting returns the apps that requests wait for, the longest first.
func (s *Service) Waiting() []Waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Waiting, 0, len(s.waiting))
	for _, a := range s.waiting {
		all = append(all, s.waitingFor(a))
	}
	slices.SortFunc(all, func(a, b Waiting) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.App, b.App)) })
	return all
}

// WaitingFor returns what waits for one app; false if nothing does.
func (s *Service) WaitingFor(app string) (Waiting, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.waiting[app]
	if a == nil {
		return Waiting{}, false
	}
	return s.waitingFor(a), true
}

func (s *Service) waitingFor(a *app) Waiting {
	w := Waiting{App: a.id, Requests: a.requests, Why: s.why(a)}
	for _, l := range a.lines {
		if since := l.requests.Front().Value.(*held).since; w.Since.IsZero() || since.Before(w.Since) {
			w.Since = since
		}
	}
	return w
}

// why says what the requests of an app wait for.
func (s *Service) why(a *app) string {
	switch {
	case a.state.Phase == Unavailable:
		return "what runs the app does not answer"
	case a.state.Phase == unread:
		return "the apps to be read, which this Relay has just begun"
	case a.pending:
		return fmt.Sprintf("its turn to be woken: %g apps are woken a second, and clients of %d networks wait for some", s.config.Rate, s.turns.order.Len())
	case a.state.Phase == Running:
		return "Envoy to acknowledge an instance"
	case a.state.Text != "":
		return a.state.Text
	}
	return "an instance to start"
}

// metrics are those of the service.
type metrics struct {
	wakes   prometheus.Counter
	refused *prometheus.CounterVec
	hold    *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer, s *Service) *metrics {
	locked := func(f func() int) func() float64 {
		return func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(f())
		}
	}
	auto := promauto.With(registerer)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_wake_held_requests", Help: "Requests that wait for an app to wake.",
	}, locked(func() int { return s.held }))
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_wake_held_apps", Help: "Apps that requests wait for.",
	}, locked(func() int { return len(s.waiting) }))
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_wake_queued_apps", Help: "Apps that wait for their turn to be woken; one that clients of several networks ask for counts for each.",
	}, locked(func() int { return s.turns.queued }))
	m := &metrics{
		wakes: auto.NewCounter(prometheus.CounterOpts{
			Name: "relay_wake_wakes_total", Help: "Times that an app was to be woken for a request.",
		}),
		refused: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_wake_refused_total", Help: "Requests to apps that sleep or wake that were not let through, by reason.",
		}, []string{"reason"}),
		hold: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: "relay_wake_hold_seconds", Help: "How long requests waited for an app to wake, by what became of them.",
			Buckets: []float64{.01, .05, .1, .5, 1, 2, 5, 10, 20, 60, 120, 600},
		}, []string{"outcome"}),
	}
	for _, o := range []outcome{timedOut, crashed, left, unavailable, fullApp, fullNetwork, fullInAll, ignored, shownPage} {
		m.refused.WithLabelValues(string(o))
	}
	for _, o := range []outcome{through, timedOut, crashed, left, unavailable} {
		m.hold.WithLabelValues(string(o))
	}
	return m
}
