package vault

import (
	"errors"
	"math/rand/v2"
	"time"
)

// firstRetry is the wait after a first failure; each further one doubles it.
const firstRetry = time.Second

// schedule says when to read next. It does no I/O and has no clock.
type schedule struct {
	interval time.Duration

	poll     time.Time
	retry    time.Time
	failures int
	// followUps are the reads after a signal that brought nothing new: the
	// writer signals when its write is done, but a replica may be behind.
	followUps []time.Time
}

// start has a poll made now.
func (s *schedule) start(now time.Time) { s.poll, s.retry, s.followUps = now, time.Time{}, nil }

// next is when to read, or to renew the token, if renewal is not zero.
func (s *schedule) next(renewal time.Time) time.Time {
	next := s.poll
	for _, at := range append([]time.Time{s.retry, renewal}, s.followUps...) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// isTimeToRead says whether it is.
func (s *schedule) isTimeToRead(now time.Time) bool { return !s.next(time.Time{}).After(now) }

// begin notes that a read starts, and says whether it is a regular poll.
func (s *schedule) begin(now time.Time) (poll bool) {
	s.retry = time.Time{}
	for len(s.followUps) > 0 && !s.followUps[0].After(now) {
		s.followUps = s.followUps[1:]
	}
	if poll = !s.poll.After(now); poll {
		s.poll = now.Add(jittered(s.interval))
	}
	return poll
}

// succeeded plans after a good read. signalled is true when somebody asked
// for it, changed when it brought something new.
func (s *schedule) succeeded(now time.Time, signalled, changed bool) {
	s.failures = 0
	switch {
	case changed:
		s.followUps = nil
	case signalled:
		s.followUps = []time.Time{now.Add(time.Second), now.Add(3 * time.Second), now.Add(10 * time.Second)}
	}
}

// failed plans an early retry, but not of what only more polls can confirm.
func (s *schedule) failed(now time.Time, err error) {
	if errors.Is(err, errSuspicious) {
		return
	}
	s.retry = now.Add(jittered(firstRetry << min(s.failures, 10)))
	s.failures++
	var status *statusError
	if errors.As(err, &status) && status.retryAfter > 0 {
		// Vault says itself when to come back; the poll waits for it, too.
		s.retry = now.Add(status.retryAfter)
		if s.poll.Before(s.retry) {
			s.poll = s.retry
		}
	}
}

// jittered changes d by up to 20 %, to spread the reads of replicas that were
// started together.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
