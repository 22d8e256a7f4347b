package certs

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// reminderDays are how many days before its end a certificate is spoken of.
// ACME clients renew with a third of the time left, 30 days of 90: who is
// reminded again at 15 days has a client that does not work.
var reminderDays = [...]int{1, 7, 15, 30}

// Reminder returns the reminder that is due for c at now, as the lowest of 30,
// 15, 7 and 1 days to expiry that has been reached, or 0 when none has; and the
// moment of the next one, zero when none follows. Only reminders in the second
// half of the certificate's life count: one that lives for a week is not
// overdue on its first day.
func (c *Certificate) Reminder(now time.Time) (days int, next time.Time) {
	half := c.NotAfter.Sub(c.NotBefore) / 2
	for _, d := range reminderDays {
		before := time.Duration(d) * 24 * time.Hour
		if before >= half {
			break
		}
		at := c.NotAfter.Add(-before)
		if !at.After(now) {
			return d, next
		}
		next = at
	}
	return 0, next
}

// Certificates returns the certificates that may answer some client, ordered by
// source and name.
func (s Selection) Certificates() []*Certificate {
	seen := make(map[*Certificate]bool)
	for _, winners := range []map[string]*Certificate{s.Winners, s.Seconds, s.LeftToWildcard} {
		for _, c := range winners {
			seen[c] = true
		}
	}
	for _, c := range []*Certificate{s.Default, s.DefaultSecond} {
		if c != nil {
			seen[c] = true
		}
	}
	all := make([]*Certificate, 0, len(seen))
	for c := range seen {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Certificate) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Name, b.Name), strings.Compare(a.Fingerprint, b.Fingerprint))
	})
	return all
}
