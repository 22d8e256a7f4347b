// Package renewal reminds people of certificates that nobody renews.
package renewal

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/internal/scrape"
)

const (
	// maxWait bounds the time between two checks, for clocks that jump.
	maxWait = time.Hour
	// useTimeout is how long a reminder waits while it is not known whether the
	// certificate is in use: at the start, until apps have been read.
	useTimeout = 10 * time.Minute
)

// Collator says which certificates are selected.
type Collator interface {
	// SelectedCertificates returns the certificates that certs.Select chose among
	// those of all stores, and a channel that is closed when there is a newer
	// answer. The slice is not modified.
	SelectedCertificates() (selected []certs.Selected, changed <-chan struct{})
}

// Reminders shows the time to expiry of the certificates that are in use as a
// metric, and logs those that come near their end. ACME clients leave the
// certificates of domains that are gone where they are: nobody has to care for
// those. Reminders go by the clock, not by what the stores say: a store that
// cannot be read any more is one reason for certificates to grow old.
type Reminders struct {
	collator Collator
	logger   *slog.Logger
	// reminded has the latest reminder of each certificate, in days to expiry, and
	// waiting since when a reminder waits. Both belong to Serve.
	reminded map[certificate]int
	waiting  map[certificate]time.Time
}

// certificate identifies a certificate; a renewed one has another fingerprint.
type certificate struct{ source, name, fingerprint string }

// New returns Reminders of the certificates that the collator selects.
//
// The metric relay_certificate_expiry_timestamp_seconds has one series per certificate
// in use. Their number is bounded by that of the stores' entries: the label
// "name" is the entry's, which a renewal keeps, and what is not in use any more
// has none.
func New(collator Collator, logger *slog.Logger, registerer prometheus.Registerer) *Reminders {
	r := &Reminders{
		collator: collator, logger: logger,
		reminded: make(map[certificate]int), waiting: make(map[certificate]time.Time),
	}
	scrape.Register(registerer, r.expiries, expiryGauge)
	return r
}

// Serve reminds when certificates change, and when a reminder comes due, until
// the context ends.
func (r *Reminders) Serve(ctx context.Context) error {
	for {
		selected, changed := r.collator.SelectedCertificates()
		now := time.Now()
		timer := time.NewTimer(r.remind(selected, now).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// remind logs the reminders that are due, and returns when to check again.
func (r *Reminders) remind(selected []certs.Selected, now time.Time) (next time.Time) {
	next = now.Add(maxWait)
	checkAt := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	reminded, waiting := make(map[certificate]int), make(map[certificate]time.Time)
	for _, c := range selected {
		days, following := c.Reminder(now)
		checkAt(following)
		if days == 0 {
			continue
		}
		id := certificate{c.Source, c.Name, c.Fingerprint}
		if before := r.reminded[id]; before != 0 && before <= days {
			reminded[id] = before
			continue
		}
		since := r.waiting[id]
		if since.IsZero() {
			since = now
		}
		switch {
		case c.Use == certs.InUse, c.Use == certs.UseUnknown && now.Sub(since) >= useTimeout:
			r.log(c.Certificate, days, now)
			reminded[id] = days
		case c.Use == certs.UseUnknown:
			waiting[id] = since
			checkAt(since.Add(useTimeout))
		}
	}
	r.reminded, r.waiting = reminded, waiting
	return next
}

// log writes one line. The first reminder is about the day of a usual renewal.
func (r *Reminders) log(c *certs.Certificate, days int, now time.Time) {
	level, message := slog.LevelWarn, "a certificate was not renewed and expires soon"
	switch {
	case now.After(c.NotAfter):
		level, message = slog.LevelError, "a certificate was not renewed and has expired"
	case days == 1:
		level = slog.LevelError
	case days == 30:
		level, message = slog.LevelInfo, "a certificate is due for renewal"
	}
	args := []any{"event", "certificate_reminder", "source", c.Source, "name", c.Name, "expires", c.NotAfter.UTC().Format(time.RFC3339), "reminder_days", days}
	if c.EndsWith != "" {
		args = append(args, "with_issuer", c.EndsWith)
	}
	r.logger.Log(context.Background(), level, message, args...)
}

var expiryGauge = scrape.NewGauge("relay_certificate_expiry_timestamp_seconds", "When a certificate in use, or the first issuer in its chain, expires, in Unix time.", "source", "name")

// expiries sets the time at which each certificate in use expires.
func (r *Reminders) expiries(set scrape.Set) {
	selected, _ := r.collator.SelectedCertificates()
	type labels struct{ source, name string }
	shown := make(map[labels]bool, len(selected))
	for _, c := range selected {
		if c.Use == certs.Unused {
			continue
		}
		// File names may be no UTF-8, which labels have to be. Of two names
		// that become the same one is shown.
		l := labels{c.Source, strings.ToValidUTF8(c.Name, "\uFFFD")}
		if !shown[l] {
			shown[l] = true
			set(expiryGauge, float64(c.NotAfter.Unix()), l.source, l.name)
		}
	}
}
