// Package reading holds what every certificate store does around its reads: the
// last good certificate of each entry, and the outcome for the admin page and the
// metrics.
package reading

import (
	"fmt"
	"iter"
	"time"

	"relay/certs"
)

// Entry is one entry of a store: the certificate that is served and, when its
// successor is not valid yet, the one that follows. The zero value is empty.
type Entry struct {
	current, next *certs.Certificate
}

// Offer replaces the certificate of the entry, unless that would make things
// worse: one that is not valid yet waits for its time, and one that has
// expired does not replace one that is valid.
func (e *Entry) Offer(c *certs.Certificate, now time.Time) {
	e.next = c
	if e.current == nil {
		e.current, e.next = c, nil
	}
	e.Advance(now)
}

// Advance puts the successor in place once it is no worse. It is called at
// every read, and when it is due, for time changes what an unchanged store means,
// and one that cannot be read.
func (e *Entry) Advance(now time.Time) {
	if e.next != nil && e.next.ValidAt(now) >= e.current.ValidAt(now) {
		e.current, e.next = e.next, nil
	}
}

// Due is when Advance will put a successor in place; zero without one. It may be
// past.
func (e *Entry) Due(now time.Time) time.Time {
	switch {
	case e.next == nil:
		return time.Time{}
	case e.next.ValidAt(now) == certs.Expired:
		return e.current.NotAfter.Add(time.Nanosecond)
	}
	return e.next.NotBefore
}

// Soonest returns when the first of the entries is due; zero if none will be.
func Soonest(entries iter.Seq[*Entry], now time.Time) (first time.Time) {
	for e := range entries {
		if at := e.Due(now); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// Current is the certificate to serve; nil when there is none.
func (e *Entry) Current() *certs.Certificate { return e.current }

// Held says why the newest certificate of the entry is not the one served;
// empty when it is.
func (e *Entry) Held(now time.Time) string {
	switch {
	case e.next == nil:
		return ""
	case e.next.ValidAt(now) == certs.NotYetValid:
		return fmt.Sprintf("the new certificate is not valid before %s; the old one is served until then", e.next.NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the new certificate expired on %s; the old one stays", e.next.NotAfter.UTC().Format(time.DateOnly))
}
