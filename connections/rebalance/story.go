package rebalance

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/scrape"
)

// Story is what goes on with the connections of a port, for people.
type Story struct {
	Phase Phase
	// Text says it in words, and why.
	Text string
	// Since is when it became uneven; zero if it is even, or nobody knows.
	Since time.Time
	// Ended is how many connections have ended since then, where some are to end.
	Ended int
}

// Story returns what goes on with a port, by the routed name of its app. It is false if the port does not ask
// for rebalancing, or was not looked at yet.
func (b *Balancer) Story(app string, number int) (Story, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.ports[key{app, number}]
	if p == nil {
		return Story{}, false
	}
	s := &p.state
	return Story{Phase: s.phase, Text: s.text, Since: s.uneven, Ended: int(s.total)}, true
}

var servicesGauge = scrape.NewGauge("relay_rebalancing_services", "TCP services with RELAY_n_REBALANCE, by what goes on with their connections.", "phase")

// metrics counts what is decided.
type metrics struct{ ended prometheus.Counter }

func newMetrics(registerer prometheus.Registerer, b *Balancer) *metrics {
	m := &metrics{ended: promauto.With(registerer).NewCounter(prometheus.CounterOpts{
		Name: "relay_rebalancing_ended_total", Help: "Connections that ended at instances that had too many, while some were to end.",
	})}
	if registerer != nil {
		scrape.Register(registerer, b.countServices, servicesGauge)
	}
	return m
}

// count counts what a step of the rule found.
func (m *metrics) count(s *state, now time.Time) {
	for _, e := range s.ended {
		if e.at.Equal(now.Add(-lookEvery / 2)) {
			m.ended.Add(e.n)
		}
	}
}

func (b *Balancer) countServices(set scrape.Set) {
	counts := map[Phase]int{Even: 0, Unknown: 0, Waiting: 0, Ending: 0, Paused: 0}
	b.mu.Lock()
	for _, p := range b.ports {
		counts[p.state.phase]++
	}
	b.mu.Unlock()
	for phase, n := range counts {
		set(servicesGauge, float64(n), string(phase))
	}
}
