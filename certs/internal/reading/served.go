// Package reading has what every certificate store does with what it has read: it
// replaces the certificate that is served for an entry, and reports the outcome of
// a read.
package reading

import (
	"fmt"
	"iter"
	"time"

	"relay/certs"
)

// Served is the certificate that is served for one entry of a store, and a newer
// one that waits to replace it. The zero value has neither.
type Served struct {
	current, waiting *certs.Certificate
}

// Update takes the newest certificate of the entry. It is served at once, unless
// that would make things worse: one that is not valid yet waits for its time, and
// one that has expired does not replace one that is valid.
func (s *Served) Update(newest *certs.Certificate, now time.Time) {
	s.waiting = newest
	if s.current == nil {
		s.current, s.waiting = newest, nil
	}
	s.Advance(now)
}

// Advance serves the waiting certificate once it is no worse than the current one.
// It is called at every read, and at NextChange: time changes what an unchanged
// store means, and one that cannot be read.
func (s *Served) Advance(now time.Time) {
	if s.waiting != nil && s.waiting.ValidAt(now) >= s.current.ValidAt(now) {
		s.current, s.waiting = s.waiting, nil
	}
}

// NextChange returns when Advance will serve the waiting certificate; zero if none
// waits. It may be past.
func (s *Served) NextChange(now time.Time) time.Time {
	switch {
	case s.waiting == nil:
		return time.Time{}
	case s.waiting.ValidAt(now) == certs.Expired:
		return s.current.At(now).NotAfter.Add(time.Nanosecond)
	}
	return s.waiting.At(now).NotBefore
}

// FirstChange returns the earliest NextChange of all entries; zero if none has one.
func FirstChange(entries iter.Seq[*Served], now time.Time) (first time.Time) {
	for s := range entries {
		if at := s.NextChange(now); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// Current returns the certificate to serve; nil when there is none.
func (s *Served) Current() *certs.Certificate { return s.current }

// WaitingFor says why the newest certificate of the entry is not the one served;
// empty when it is.
func (s *Served) WaitingFor(now time.Time) string {
	switch {
	case s.waiting == nil:
		return ""
	case s.waiting.ValidAt(now) == certs.NotYetValid:
		return fmt.Sprintf("the new certificate is not valid before %s; the old one is served until then", s.waiting.At(now).NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the new certificate %s; the old one stays", s.waiting.Refused(now))
}
