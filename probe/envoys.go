package probe

import "time"

// envoyKey names an Envoy.
type envoyKey struct{ fleet, envoy string }

// envoyState is when an Envoy answered last, and how many probes through it were not answered since.
type envoyState struct {
	answered time.Time
	missed   int
}

// enough is how many probes have to be missed, of an Envoy through which as many are asked: one that fails for
// reasons of its own, such as a certificate, is no sign of an Envoy that is down, and nor is it if the others are asked seldom.
const enough = 2

// up reports whether an Envoy answers: false when all that was asked through it was missed for the interval, so that
// one bad app says nothing of it. through is how many targets are asked through it. known is false before there are results.
func (s envoyState) up(now time.Time, interval time.Duration, through int) (up, known bool) {
	down := s.missed >= min(enough, through) && s.missed > 0 && (s.answered.IsZero() || now.Sub(s.answered) >= interval)
	return !down, down || !s.answered.IsZero()
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
	if r.OK && !r.Answered && r.Target.silent() && e.telling[key] > 0 {
		return // others know better
	}
	if r.OK || r.Answered {
		s.answered, s.missed = r.Time.Add(r.Duration), 0
	} else {
		s.missed++
	}
}

// silent reports whether a target may succeed though its Envoy hangs, as the kernel takes the connection.
func (t Target) silent() bool { return t.Kind == TCP && !t.TLS }

// answers reports whether the Envoy of a target is not known to be down.
func (e *Engine) answers(t Target) bool {
	key := envoyKey{t.Fleet, t.Envoy}
	s := e.envoys[key]
	if s == nil {
		return true
	}
	up, _ := s.up(time.Now(), e.settings.Interval, e.through[key])
	return up
}

// countEnvoys counts the targets of each Envoy, and drops Envoys through which nothing is asked any more.
func (e *Engine) countEnvoys() {
	e.through, e.telling = make(map[envoyKey]int), make(map[envoyKey]int)
	for _, one := range e.entries {
		key := envoyKey{one.target.Fleet, one.target.Envoy}
		e.through[key]++
		if one.target.Skip == "" && !one.target.silent() {
			e.telling[key]++
		}
	}
	for key := range e.envoys {
		if e.through[key] == 0 {
			delete(e.envoys, key)
		}
	}
}
