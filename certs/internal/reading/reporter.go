package reading

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/certs"
	"relay/internal/problem"
)

// Reporter reports the outcome of a store's reads: to the metrics, to the log what
// is new, and to the admin page. Succeeded and Failed are for one goroutine; Status
// is safe for all.
type Reporter struct {
	logger *slog.Logger
	// logged are the problems of the last good read.
	logged map[problem.Problem]bool

	reads        *prometheus.CounterVec
	lastGood     prometheus.Gauge
	certificates prometheus.Gauge
	problems     prometheus.Gauge
	expiry       prometheus.Gauge

	mu     sync.Mutex
	status certs.Status
}

// NewReporter registers the metrics of a source; they differ from those of other
// sources by the label "source".
func NewReporter(source string, logger *slog.Logger, registerer prometheus.Registerer) *Reporter {
	factory, labels := promauto.With(registerer), prometheus.Labels{"source": source}
	gauge := func(name, help string) prometheus.Gauge {
		return factory.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	}
	return &Reporter{
		logger: logger,
		status: certs.Status{Source: source},
		reads: factory.NewCounterVec(prometheus.CounterOpts{
			Name:        "relay_certificate_reads_total",
			Help:        "Reads of the certificate store, by result: ok or failed.",
			ConstLabels: labels,
		}, []string{"result"}),
		lastGood:     gauge("relay_certificate_last_read_timestamp_seconds", "When the certificate store was last read completely."),
		certificates: gauge("relay_certificates", "Usable certificates in the store."),
		problems:     gauge("relay_certificate_problems", "Entries of the certificate store with something wrong."),
		expiry:       gauge("relay_certificate_next_expiry_timestamp_seconds", "When the first of the store's certificates expires; 0 without certificates."),
	}
}

// Succeeded reports a complete read.
func (r *Reporter) Succeeded(now time.Time, certificates []*certs.Certificate, problems []problem.Problem) {
	r.reads.WithLabelValues("ok").Inc()
	r.lastGood.Set(float64(now.Unix()))
	r.certificates.Set(float64(len(certificates)))
	r.problems.Set(float64(len(problems)))
	var first time.Time
	for _, c := range certificates {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	if first.IsZero() {
		r.expiry.Set(0)
	} else {
		r.expiry.Set(float64(first.Unix()))
	}

	r.logProblems(problems)

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.LastError != "" || r.status.LastGoodRead.IsZero() {
		r.logger.Info("certificates read", "event", "certificates_read", "certificates", len(certificates), "problems", len(problems))
	}
	r.status.LastGoodRead, r.status.LastError = now, ""
	r.status.Certificates, r.status.Problems = len(certificates), len(problems)
}

// Failed reports a failed read; err must be free of secrets.
func (r *Reporter) Failed(err error) {
	r.reads.WithLabelValues("failed").Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.LastError != err.Error() {
		message := "certificates cannot be read"
		if !r.status.LastGoodRead.IsZero() {
			message += ": what is known stays in use"
		}
		r.logger.Error(message, "event", "certificates_unreadable", "error", err)
	}
	r.status.LastError = err.Error()
}

// logProblems logs each problem once, as long as it lasts.
func (r *Reporter) logProblems(problems []problem.Problem) {
	now := make(map[problem.Problem]bool, len(problems))
	for _, p := range problems {
		if !r.logged[p] && !now[p] {
			r.logger.Warn("certificate problem", "event", "certificate_problem", "name", p.Subject, "reason", p.Reason)
		}
		now[p] = true
	}
	r.logged = now
}

// Status returns the latest outcome.
func (r *Reporter) Status() certs.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}
