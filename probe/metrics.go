package probe

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/scrape"
)

// maxSeries is how many targets have series of their own at most. Those that were chosen by chance never have.
const maxSeries = 5000

// metrics are what the engine counts. Metrics of targets are made of the results when somebody asks for them.
type metrics struct {
	probes  *prometheus.CounterVec
	hung    prometheus.Counter
	hanging prometheus.Gauge
}

// targetLabels name a target. They are those of its Envoy, of its app, and its name.
var targetLabels = []string{"probe", "kind", "fleet", "envoy", "domain", "app", "owner"}

// The names of metrics of a target are those of blackbox_exporter.
var (
	success  = scrape.NewGauge("probe_success", "Whether the last probe of a target succeeded. Absent while it is not asked, as what sleeps.", targetLabels...)
	duration = scrape.NewGauge("probe_duration_seconds", "How long the last probe of a target took.", targetLabels...)
	phases   = scrape.NewGauge("probe_http_duration_seconds", "How long each phase of the last probe by HTTP took.", append(targetLabels[:len(targetLabels):len(targetLabels)], "phase")...)
	status   = scrape.NewGauge("probe_http_status_code", "Status of the last answer by HTTP.", targetLabels...)
	expiry   = scrape.NewGauge("probe_ssl_earliest_cert_expiry", "When the first certificate of the chain expires, in Unix time.", targetLabels...)
	envoyUp  = scrape.NewGauge("relay_probe_envoy_up", "Whether an Envoy answers probes; 0 if none through it was answered for the interval that is set, and two or all of its targets were not.", "fleet", "envoy")
	sampled  = scrape.NewGauge("relay_probe_sampled", "Targets that were chosen by chance, by what was found last.", "fleet", "envoy", "result")
	targets  = scrape.NewGauge("relay_probe_targets", "Targets that are asked.", "kind")
	dropped  = scrape.NewGauge("relay_probe_targets_dropped", "Targets that are not asked, or have no series of their own, because they are too many.", "what")
	interval = scrape.NewGauge("relay_probe_interval_seconds", "How often each target is asked: longer than set where the rate has no room for all.", "chosen")
	overdue  = scrape.NewGauge("relay_probe_overdue_seconds", "For how long the target has been due that waits for longest: next to 0, but while an Envoy hangs, or nothing is asked any more.")
	placed   = scrape.NewGauge("relay_probe_info", "Where it is asked from. It is always 1.", "place")
)

func newMetrics(registerer prometheus.Registerer, e *Engine) *metrics {
	auto := promauto.With(registerer)
	m := &metrics{
		probes:  auto.NewCounterVec(prometheus.CounterOpts{Name: "relay_probes_total", Help: "Probes that ended, by kind and result."}, []string{"kind", "result"}),
		hung:    auto.NewCounter(prometheus.CounterOpts{Name: "relay_probe_hung_total", Help: "Probes that did not end in their time."}),
		hanging: auto.NewGauge(prometheus.GaugeOpts{Name: "relay_probe_hanging", Help: "Probes that did not end yet though their time is over. Each takes one of the places for probes."}),
	}
	if registerer != nil {
		scrape.Register(registerer, e.collect, success, duration, phases, status, expiry, envoyUp, sampled, targets, dropped, interval, overdue, placed)
	}
	return m
}

// collect makes metrics of what was found last.
func (e *Engine) collect(set scrape.Set) {
	now := time.Now()
	c := collection{set: set, seen: make(map[[7]string]bool), kinds: make(map[Kind]int), sampled: make(map[sampledKey]int)}
	for _, s := range e.Results() {
		c.add(s)
	}
	for kind, n := range c.kinds {
		set(targets, float64(n), string(kind))
	}
	for key, n := range c.sampled {
		set(sampled, float64(n), valid(key.fleet), valid(key.envoy), key.result)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, s := range e.envoys {
		if up, known := s.up(now, e.settings.Interval, e.through[key]); known {
			set(envoyUp, number(up), valid(key.fleet), valid(key.envoy))
		}
	}
	set(dropped, float64(e.dropped), "target")
	set(dropped, float64(c.left), "series")
	_, longest := e.pace.bounds()
	set(interval, longest.Seconds(), "label")
	set(interval, e.pace.sampled.Seconds(), "sample")
	set(overdue, max(e.queues.overdue(now), e.places.overdue(now)).Seconds())
	set(placed, 1, e.settings.Place)
}

type sampledKey struct {
	envoyKey
	result string
}

// collection is what is counted of one scrape.
type collection struct {
	set     scrape.Set
	seen    map[[7]string]bool
	kinds   map[Kind]int
	sampled map[sampledKey]int
	left    int
}

func (c *collection) add(s State) {
	t := s.Target
	c.kinds[t.Kind]++
	if t.Sampled {
		if s.Asked {
			c.sampled[sampledKey{envoyKey{t.Fleet, t.Envoy}, outcome(s)}]++
		}
		return
	}
	if !s.Asked || s.Skipped != "" {
		return
	}
	labels := [7]string{valid(t.Name), string(t.Kind), valid(t.Fleet), valid(t.Envoy), valid(t.Domain), valid(t.App), valid(t.Owner)}
	if s.unlisted || c.seen[labels] {
		c.left++
		return
	}
	c.seen[labels] = true
	c.set(success, number(s.OK), labels[:]...)
	c.set(duration, s.Duration.Seconds(), labels[:]...)
	for phase, seconds := range s.Phases {
		c.set(phases, seconds, append(labels[:], phase)...)
	}
	if t.Kind == HTTP {
		c.set(status, float64(s.Status), labels[:]...)
	}
	if !s.CertificateExpires.IsZero() {
		c.set(expiry, float64(s.CertificateExpires.Unix()), labels[:]...)
	}
}

// valid is a text that Prometheus takes as the value of a label.
func valid(text string) string { return strings.ToValidUTF8(bound(text, 300), "?") }

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
