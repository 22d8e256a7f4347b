package certs

import (
	"fmt"
	"time"
)

// authorityWarning is how long before its end people are told of an authority: whoever has a
// certificate of it needs another one.
const authorityWarning = 30 * 24 * time.Hour

// DueAuthority is what time alone says of an authority.
type DueAuthority struct {
	// Reasons say what ends, or has ended.
	Reasons []string
	// Ended is set if certificates are refused for it now.
	Ended bool
	// Next is when there is something else to say; zero if never.
	Next time.Time
}

// Due says what is near its end, or past it, of an authority and its lists.
func (a *Authority) Due(now time.Time) (due DueAuthority) {
	at := func(t time.Time) (past bool) {
		if t.IsZero() {
			return false
		}
		if t.After(now) {
			due.Next = earliest(due.Next, t)
			return false
		}
		return true
	}
	say := func(ended bool, format string, args ...any) {
		due.Reasons = append(due.Reasons, fmt.Sprintf(format, args...))
		due.Ended = due.Ended || ended
	}
	warn := a.NotAfter.Add(-min(authorityWarning, a.NotAfter.Sub(a.NotBefore)/2))
	switch {
	case at(a.NotAfter):
		say(true, "an authority of it has expired on %s: no certificate of that is taken any more", day(a.NotAfter))
	case at(warn):
		say(false, "an authority of it expires on %s: put the next one beside it, and give clients certificates of that before", day(a.NotAfter))
	}
	if !a.NotBefore.IsZero() && !at(a.NotBefore) {
		say(true, "an authority of it is not valid before %s: no certificate of that is taken until then", stamp(a.NotBefore))
	}
	if len(a.Revoked) == 0 {
		return due
	}
	switch {
	case at(a.RevokedUntil):
		say(true, "a revocation list of it is out of date since %s, and no certificate of that authority is taken: put a newer one there", stamp(a.RevokedUntil))
	case at(a.warn):
		say(false, "a revocation list of it is out of date from %s on: then no certificate of that authority is taken any more; put a newer one there before", stamp(a.RevokedUntil))
	}
	if !a.RevokedAt.IsZero() && !at(a.RevokedAt) {
		say(true, "a revocation list of it is not valid before %s: no certificate of that authority is taken until then", stamp(a.RevokedAt))
	}
	return due
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
