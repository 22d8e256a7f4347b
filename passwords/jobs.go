package passwords

import (
	"container/list"
	"context"
	"time"

	"relay/internal/panics"
)

// job is a password that is to be checked. All who send the same one wait for the same job.
type job struct {
	key     key
	place   place // of who came first
	matches func() bool
	cost    time.Duration

	ring    *ring
	element *list.Element // in the queue; nil if it does not wait there
	waiters int
	outcome outcome // set before done is closed
	done    chan struct{}
}

// checkOnce says whether a password is right, by what is known, or by a check.
func (s *Service) checkOnce(ctx context.Context, j *job) outcome {
	j, o := s.join(j, time.Now())
	if o != "" {
		return o
	}
	timer := time.NewTimer(s.limits.Wait)
	defer timer.Stop()
	select {
	case <-j.done:
		return j.outcome
	case <-timer.C:
		return s.leave(j, busy)
	case <-ctx.Done():
		return s.leave(j, left)
	}
}

// found returns the outcome of a check if it was found out before.
func (s *Service) found(j *job) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.foundBefore(j, time.Now())
}

func (s *Service) foundBefore(j *job, now time.Time) outcome {
	switch {
	case s.right.has(j.key, now):
		if !s.known.has(j.place, now) {
			s.known.add(j.place, now)
		}
		return kept
	case s.wrong.has(j.key, now):
		return wrong
	}
	return ""
}

// join returns the job to wait for, or the outcome if that is known.
func (s *Service) join(j *job, now time.Time) (*job, outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.foundBefore(j, now); o != "" {
		return nil, o
	}
	if same := s.pending[j.key]; same != nil {
		same.waiters++
		return same, ""
	}
	if s.turns.guesses.wait(j.place, now) > 0 {
		return nil, guessing
	}
	known := s.known.has(j.place, now)
	lost, ok := s.turns.room(j, known)
	if !ok {
		return nil, busy
	}
	if lost != nil {
		s.turns.remove(lost)
		s.end(lost, busy)
	}
	j.waiters, j.done = 1, make(chan struct{})
	s.pending[j.key] = j
	s.turns.add(j, known)
	s.start(now)
	return j, ""
}

// leave has nobody wait for a job any more for whose sake it was there. The outcome is o, unless there is one.
func (s *Service) leave(j *job, o outcome) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.outcome != "" {
		return j.outcome
	}
	if j.waiters--; j.waiters == 0 && j.element != nil {
		s.turns.remove(j)
		delete(s.pending, j.key)
	}
	return o
}

// start starts the checks whose turn it is.
func (s *Service) start(now time.Time) {
	for s.running < s.limits.AtOnce {
		j, wait := s.turns.next(now)
		switch {
		case j == nil && wait > 0:
			s.startIn(wait)
			return
		case j == nil:
			return
		case s.turns.guesses.wait(j.place, now) > 0:
			// It was found out while this one waited that the client guesses.
			s.turns.spent.add(j.place.app, -j.cost.Seconds(), now)
			s.turns.ended(j.place.app)
			s.end(j, guessing)
			continue
		}
		s.running++
		go s.run(j)
	}
}

// startIn has start called later.
func (s *Service) startIn(wait time.Duration) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.start(time.Now())
	})
}

// run checks a password.
func (s *Service) run(j *job) {
	matches := false
	err := panics.Catch(func() error { matches = j.matches(); return nil })
	if err != nil {
		panics.Log(s.log, err, "app", j.place.app)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.running--
	s.turns.ended(j.place.app)
	if matches {
		s.right.add(j.key, now)
		s.known.add(j.place, now)
		s.end(j, right)
	} else {
		s.wrong.add(j.key, now)
		s.turns.guesses.add(j.place, 1, now)
		if s.turns.guesses.wait(j.place, now) > 0 {
			s.guessed.Do(func() {
				s.log.Warn("somebody tries many passwords: the client has to wait between them", "event", "password_guessing",
					"app", j.place.app, "client", j.place.network)
			})
		}
		s.end(j, wrong)
	}
	s.start(now)
}

// end gives all who wait for a job its outcome.
func (s *Service) end(j *job, o outcome) {
	delete(s.pending, j.key)
	j.outcome = o
	close(j.done)
}
