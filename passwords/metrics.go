package passwords

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics has no label for apps, of which there may be any number.
type metrics struct{ checks *prometheus.CounterVec }

func newMetrics(registerer prometheus.Registerer, s *Service) *metrics {
	factory := promauto.With(registerer)
	m := &metrics{checks: factory.NewCounterVec(prometheus.CounterOpts{
		Name: "relay_password_checks_total",
		Help: "Requests whose password Relay was asked about, by what became of them: right; kept, which was right before; wrong; none; guessing, of a client that has tried too many; busy, when too many were to be checked; left, as the client was gone; unavailable, when Relay does not know the app.",
	}, []string{"result"})}
	for _, o := range []outcome{right, kept, wrong, none, guessing, busy, left, unavailable} {
		m.checks.WithLabelValues(string(o))
	}
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_password_checks_waiting", Help: "Passwords that wait for their turn to be checked.",
	}, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(s.turns.waiting)
	})
	return m
}
