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

// maxAuthorityWait bounds the time between two looks at the authorities: nobody says when there are
// others.
const maxAuthorityWait = time.Minute

// AuthorityCollator says which authorities let clients in.
type AuthorityCollator interface {
	// UsedAuthorities returns the authorities by which services let clients in. They are not modified.
	UsedAuthorities() []*certs.Authority
}

// AuthorityReminders shows when the authorities of clients that are in use, and their revocation lists, end,
// and logs when that is near. They go by the clock, as Reminders do.
type AuthorityReminders struct {
	collator AuthorityCollator
	logger   *slog.Logger
	// told has what was logged, as long as it is so. It belongs to Serve.
	told map[authorityReminder]bool
}

type authorityReminder struct{ source, name, reason string }

// NewAuthorities returns AuthorityReminders. The metrics have one series for each authority in use: their
// number is bounded by that of the stores' entries.
func NewAuthorities(collator AuthorityCollator, logger *slog.Logger, registerer prometheus.Registerer) *AuthorityReminders {
	r := &AuthorityReminders{collator: collator, logger: logger, told: make(map[authorityReminder]bool)}
	scrape.Register(registerer, r.ends, authorityExpiry, listExpiry)
	return r
}

// Serve reminds when there is something to say, until the context ends.
func (r *AuthorityReminders) Serve(ctx context.Context) error {
	for {
		now := time.Now()
		timer := time.NewTimer(r.remind(now).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// remind logs what is new, and returns when to look again.
func (r *AuthorityReminders) remind(now time.Time) (next time.Time) {
	next = now.Add(maxAuthorityWait)
	told := make(map[authorityReminder]bool)
	for _, a := range r.collator.UsedAuthorities() {
		due := a.Due(now)
		if !due.Next.IsZero() && due.Next.Before(next) {
			next = due.Next
		}
		level := slog.LevelWarn
		if due.Ended {
			level = slog.LevelError
		}
		for _, reason := range due.Reasons {
			reminder := authorityReminder{a.Source, a.Name, reason}
			if told[reminder] = true; !r.told[reminder] {
				r.logger.Log(context.Background(), level, "an authority of clients needs care", "event", "authority_reminder", "source", a.Source, "name", a.Name, "reason", reason)
			}
		}
	}
	r.told = told
	return next
}

var (
	authorityExpiry = scrape.NewGauge("relay_authority_expiry_timestamp_seconds", "When the first of the authorities of clients under a name in use expires, in Unix time.", "source", "name")
	listExpiry      = scrape.NewGauge("relay_revocation_list_expiry_timestamp_seconds", "When the first revocation list of an authority in use is out of date, in Unix time.", "source", "name")
)

// ends sets when each authority in use ends, and its lists.
func (r *AuthorityReminders) ends(set scrape.Set) {
	type labels struct{ source, name string }
	shown := make(map[labels]bool)
	for _, a := range r.collator.UsedAuthorities() {
		// File names may be no UTF-8, which labels have to be.
		l := labels{a.Source, strings.ToValidUTF8(a.Name, "\uFFFD")}
		if shown[l] {
			continue
		}
		shown[l] = true
		set(authorityExpiry, float64(a.NotAfter.Unix()), l.source, l.name)
		if !a.RevokedUntil.IsZero() {
			set(listExpiry, float64(a.RevokedUntil.Unix()), l.source, l.name)
		}
	}
}
