// Package reading is what stores of credentials have in common: how they tell what came of a read.
package reading

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/problem"
)

// Status is what people are shown of a store.
type Status struct {
	// Source is "vault" or "dir".
	Source string
	// LastGoodRead is when the store was last read completely; zero when it never was.
	LastGoodRead time.Time
	// LastError is why the latest read failed, free of secrets; empty when it did not fail.
	LastError string
	// Credentials counts what the last good read gave.
	Credentials int
}

// Reporter tells what came of the reads of a store: metrics, the log what is new, and people. Succeeded and Failed
// are for one goroutine; Status is safe for all.
type Reporter struct {
	logger *slog.Logger
	// logged are the problems of the last good read.
	logged map[problem.Problem]bool

	reads                 *prometheus.CounterVec
	lastGood, credentials prometheus.Gauge

	mu     sync.Mutex
	status Status
}

// NewReporter registers the metrics of a store; they differ from those of other stores by the label "source".
func NewReporter(source string, logger *slog.Logger, registerer prometheus.Registerer) *Reporter {
	factory, labels := promauto.With(registerer), prometheus.Labels{"source": source}
	gauge := func(name, help string) prometheus.Gauge {
		return factory.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	}
	return &Reporter{
		logger: logger, status: Status{Source: source},
		reads: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_credential_reads_total", Help: "Reads of the store of credentials, by result: ok or failed.", ConstLabels: labels,
		}, []string{"result"}),
		lastGood:    gauge("relay_credential_last_read_timestamp_seconds", "When the store of credentials was last read completely."),
		credentials: gauge("relay_credentials", "Credentials in the store."),
	}
}

// Succeeded reports a complete read.
func (r *Reporter) Succeeded(now time.Time, credentials int, problems []problem.Problem) {
	r.reads.WithLabelValues("ok").Inc()
	r.lastGood.Set(float64(now.Unix()))
	r.credentials.Set(float64(credentials))
	told := make(map[problem.Problem]bool, len(problems))
	for _, p := range problems {
		if !r.logged[p] && !told[p] {
			r.logger.Warn("a credential has a problem", "event", "credential_problem", "path", p.Subject, "reason", p.Reason)
		}
		told[p] = true
	}
	r.logged = told
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.LastError != "" || r.status.LastGoodRead.IsZero() {
		r.logger.Info("credentials read", "event", "credentials_read", "credentials", credentials, "problems", len(problems))
	}
	r.status.LastGoodRead, r.status.LastError, r.status.Credentials = now, "", credentials
}

// Failed reports a failed read; err must be free of secrets.
func (r *Reporter) Failed(err error) {
	r.reads.WithLabelValues("failed").Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.LastError != err.Error() {
		r.logger.Error("credentials cannot be read: what is known stays in use", "event", "credentials_unreadable", "error", err)
	}
	r.status.LastError = err.Error()
}

// Status returns the latest outcome.
func (r *Reporter) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}
