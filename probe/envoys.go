package probe

import "time"

// envoyKey names an Envoy.
type envoyKey struct{ fleet, envoy string }

// envoyState is when an Envoy answered last, and when it did not.
type envoyState struct{ answered, failed time.Time }

// up reports whether an Envoy answers: false when all that was asked through it failed for the whole interval, so that
// one bad app says nothing of it. known is false before there is any result.
func (s envoyState) up(now time.Time, interval time.Duration) (up, known bool) {
	if s.answered.IsZero() && s.failed.IsZero() {
		return false, false
	}
	return !s.answered.IsZero() && (!s.failed.After(s.answered) || now.Sub(s.answered) < interval), true
}

// seeEnvoy keeps what a result says of its Envoy.
func (e *Engine) seeEnvoy(r Result) {
	if r.Target.Envoy == "" || r.Skipped != "" && !r.Answered {
		return
	}
	key := envoyKey{r.Target.Fleet, r.Target.Envoy}
	s := e.envoys[key]
	if s == nil {
		s = &envoyState{}
		e.envoys[key] = s
	}
	if r.OK || r.Answered {
		s.answered = r.Time.Add(r.Duration)
	} else {
		s.failed = r.Time.Add(r.Duration)
	}
}

// forgetEnvoys drops those through which nothing is asked any more.
func (e *Engine) forgetEnvoys() {
	asked := make(map[envoyKey]bool)
	for _, one := range e.entries {
		asked[envoyKey{one.target.Fleet, one.target.Envoy}] = true
	}
	for key := range e.envoys {
		if !asked[key] {
			delete(e.envoys, key)
		}
	}
}
