// Package renewal tells people of certificates that nobody renews.
package renewal

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
)

const (
	// maxWait bounds the time between two looks, for clocks that jump, and for
	// certificates that come into use.
	maxWait = time.Hour
	// While it is not known whether a certificate is in use, a reminder waits: at
	// the start until apps have been read, but no longer than patience.
	patience = 10 * time.Minute
	retry    = 2 * time.Second
)

// InUse reports whether a certificate that is selected is used, by the source and
// name of its entry; known is false as long as that cannot be said.
type InUse func(source, name string) (used, known bool)

// Watch stands between the certificate stores and a Sink. Of the certificates
// that are in use, it shows the time to expiry as a metric, and logs those that
// come near their end. They are those that certs.Select makes of all stores
// together, without those that nobody uses: ACME clients leave the certificates
// of domains that went where they are, and nobody has to care for them. It goes by
// its own clock: a store that cannot be read any more is one reason for
// certificates to grow old.
type Watch struct {
	next    certs.Sink
	inUse   InUse
	logger  *slog.Logger
	changed chan struct{}
	days    *prometheus.Desc
	// told is the latest reminder of each certificate, and waiting since when one
	// waits. They belong to Serve.
	told    map[certificate]int
	waiting map[certificate]time.Time

	mu       sync.Mutex
	reads    map[string]read
	selected []*certs.Certificate
}

// read is what a store had when it was last read.
type read struct {
	certificates []*certs.Certificate
	problems     []certs.Problem
}

// certificate tells a renewed certificate from the one before.
type certificate struct{ source, name, fingerprint string }

// NewWatch returns a Watch that hands what is new on to next, and asks inUse,
// which must answer at once.
//
// The metric relay_certificate_days_to_expiry has one series per certificate
// in use. Their number is bounded by that of the stores' entries: the label
// "name" is the entry's, which a renewal keeps, and what is not in use any more
// has none.
func NewWatch(next certs.Sink, inUse InUse, logger *slog.Logger, registerer prometheus.Registerer) (*Watch, error) {
	w := &Watch{
		next: next, inUse: inUse, logger: logger, changed: make(chan struct{}, 1),
		days: prometheus.NewDesc("relay_certificate_days_to_expiry",
			"Days until a certificate in use expires; negative afterwards.", []string{"source", "name"}, nil),
		told: make(map[certificate]int), waiting: make(map[certificate]time.Time),
		reads: make(map[string]read),
	}
	if err := registerer.Register(w); err != nil {
		return nil, fmt.Errorf("register the metric of certificate renewal: %w", err)
	}
	return w, nil
}

// SyncCertificates implements certs.Sink. What is the same as before is not
// handed on: a poll without news costs the stages behind nothing.
func (w *Watch) SyncCertificates(source string, certificates []*certs.Certificate, problems []certs.Problem) {
	w.mu.Lock()
	before, synced := w.reads[source]
	w.reads[source] = read{certificates, problems}
	w.mu.Unlock()
	// Most reads bring nothing new, and stores keep what they have parsed.
	same := synced && slices.Equal(before.certificates, certificates)
	if same && slices.Equal(before.problems, problems) {
		return
	}
	w.next.SyncCertificates(source, certificates, problems)
	if same {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Serve looks at the certificates whenever they change, and whenever one of
// them comes near its end, until the context ends.
func (w *Watch) Serve(ctx context.Context) error {
	for {
		now := time.Now()
		timer := time.NewTimer(min(w.look(now).Sub(now), maxWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-w.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// look selects, reminds, and returns when to look again.
func (w *Watch) look(now time.Time) time.Time {
	w.mu.Lock()
	var all []*certs.Certificate
	for _, r := range w.reads {
		all = append(all, r.certificates...)
	}
	w.mu.Unlock()

	selection := certs.Select(all, now)
	selected := selection.InUse()
	w.mu.Lock()
	w.selected = selected
	w.mu.Unlock()

	again := now.Add(maxWait)
	at := func(t time.Time) {
		if !t.IsZero() && t.Before(again) {
			again = t
		}
	}
	at(selection.Next)
	told, waiting := make(map[certificate]int), make(map[certificate]time.Time)
	for _, c := range selected {
		days, next := c.Reminder(now)
		at(next)
		if days == 0 {
			continue
		}
		key := certificate{c.Source, c.Name, c.Fingerprint}
		if before := w.told[key]; before != 0 && before <= days {
			told[key] = before
			continue
		}
		since := w.waiting[key]
		if since.IsZero() {
			since = now
		}
		switch used, known := w.inUse(c.Source, c.Name); {
		case used, !known && now.Sub(since) >= patience:
			w.remind(c, days, now)
			told[key] = days
		case !known:
			waiting[key] = since
			at(now.Add(retry))
		}
	}
	w.told, w.waiting = told, waiting
	return again
}

// remind logs one line. The first reminder is about the day of a usual renewal.
func (w *Watch) remind(c *certs.Certificate, days int, now time.Time) {
	level, message := slog.LevelWarn, "a certificate was not renewed and expires soon"
	switch {
	case now.After(c.NotAfter):
		level, message = slog.LevelError, "a certificate was not renewed and has expired"
	case days == 1:
		level = slog.LevelError
	case days == 30:
		level, message = slog.LevelInfo, "a certificate is due for renewal"
	}
	w.logger.Log(context.Background(), level, message, "source", c.Source, "name", c.Name,
		"expires", c.NotAfter.UTC().Format(time.RFC3339), "reminder_days", days)
}

// Describe implements prometheus.Collector.
func (w *Watch) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- w.days }

// Collect implements prometheus.Collector.
func (w *Watch) Collect(metrics chan<- prometheus.Metric) {
	w.mu.Lock()
	selected := w.selected
	w.mu.Unlock()
	now := time.Now()
	seen := make(map[certificate]bool, len(selected))
	for _, c := range selected {
		if used, known := w.inUse(c.Source, c.Name); known && !used {
			continue
		}
		// File names may be no UTF-8, which labels have to be. Of two names
		// that become the same one is shown.
		label := certificate{source: c.Source, name: strings.ToValidUTF8(c.Name, "\uFFFD")}
		if seen[label] {
			continue
		}
		seen[label] = true
		metrics <- prometheus.MustNewConstMetric(w.days, prometheus.GaugeValue, c.NotAfter.Sub(now).Hours()/24, label.source, label.name)
	}
}
