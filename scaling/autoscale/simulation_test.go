package autoscale

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// simulation is an app behind some Envoys, in steps of a tenth of a second.
type simulation struct {
	r      *rand.Rand
	config Config
	// offered is how many requests would be in progress if all instances had time.
	offered func(at time.Duration) float64
	// capacity is how many requests an instance works on at the same time; 0 is any number. Others
	// wait, and are in progress as well.
	capacity float64
	// interval is that of reports, and boot how long an instance takes to start.
	interval, boot time.Duration

	at      time.Duration
	ready   int
	wanted  int
	backlog float64
	reports []report
	booting []time.Duration // when each is ready
	state   State
	changes []change
}

// report is what one Envoy has said last.
type report struct {
	inProgress float64
	next       time.Duration
}

// change is one of the number of instances.
type change struct {
	at     time.Duration
	wanted int
}

const step = 100 * time.Millisecond

func newSimulation(seed uint64, c Config, instances int) *simulation {
	s := &simulation{r: rand.New(rand.NewPCG(seed, 4)), config: c, ready: instances, wanted: instances, interval: 2 * time.Second, boot: time.Second}
	s.reports = make([]report, 3)
	return s
}

// run plays until some time.
func (s *simulation) run(until time.Duration) {
	if s.at == 0 {
		for i := range s.reports {
			s.reports[i] = report{s.offered(0) / 3, time.Duration(s.r.Int64N(int64(s.interval)))}
		}
	}
	for ; s.at < until; s.at += step {
		for len(s.booting) > 0 && s.booting[0] <= s.at {
			s.booting, s.ready = s.booting[1:], s.ready+1
		}
		inProgress := s.inProgress()
		sum := 0.0
		for i := range s.reports {
			if s.reports[i].next <= s.at {
				s.reports[i] = report{inProgress / float64(len(s.reports)), s.at + s.interval}
			}
			sum += s.reports[i].inProgress
		}
		if s.at%Tick == 0 {
			s.tick(sum)
		}
	}
}

// inProgress is how many requests are, with those that wait for instances that are busy.
func (s *simulation) inProgress() float64 {
	offered := s.offered(s.at)
	if s.capacity == 0 {
		return offered
	}
	// Requests take 200 ms of an instance's time: so many come, and so many are done, in a step.
	const share = float64(step) / float64(200*time.Millisecond)
	s.backlog += share * (offered - min(s.backlog, s.capacity*float64(s.ready)))
	return s.backlog
}

func (s *simulation) tick(load float64) {
	var d Decision
	s.state, d = Decide(s.config, s.state, Observation{InProgress: load, Known: true, Ready: s.ready, Wanted: s.wanted}, start.Add(s.at))
	if d.Wanted == s.wanted {
		return
	}
	s.changes = append(s.changes, change{s.at, d.Wanted})
	for range d.Wanted - s.wanted {
		s.booting = append(s.booting, s.at+s.boot)
	}
	if s.wanted = d.Wanted; s.wanted < s.ready+len(s.booting) {
		s.booting = s.booting[:max(0, s.wanted-s.ready)]
		s.ready = min(s.ready, s.wanted)
	}
}

// A load that goes up and down by a fifth has no number of instances go up and down, whether or not
// its mean is just enough for one instance more.
func TestSteadyLoadDoesNotOscillate(t *testing.T) {
	t.Parallel()
	most, turns, over := 0, 0, 0
	for _, interval := range []time.Duration{2 * time.Second, 10 * time.Second} {
		for _, boot := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
			for _, mean := range []float64{8, 10, 50, 95, 100, 101, 500} {
				for seed := range uint64(10) {
					s := newSimulation(seed, Config{Min: 1, Max: 100, Target: 10}, enough(mean, 10))
					s.interval, s.boot = interval, boot
					s.offered = func(time.Duration) float64 { return mean * (0.8 + 0.4*s.r.Float64()) }
					s.run(10 * time.Minute)
					turned := turnsOf(enough(mean, 10), s.changes)
					if turned > 0 || len(s.changes) > 5 {
						t.Errorf("a load of %g, reports every %v, boot %v, seed %d: %v", mean, interval, boot, seed, s.changes)
					}
					most, turns, over = max(most, len(s.changes)), turns+turned, max(over, s.wanted-enough(mean, 10))
				}
			}
		}
	}
	t.Logf("at most %d changes in 10 min, %d of them another way than the one before; at most %d instances more than for the mean", most, turns, over)
}

// turnsOf counts changes in the other direction than the one before.
func turnsOf(from int, changes []change) (turns int) {
	up := true
	for i, c := range changes {
		if now := c.wanted > from; i > 0 && now != up {
			turns++
		}
		up, from = c.wanted > from, c.wanted
	}
	return turns
}

// From 10 to 500 requests in progress: the right number is wanted within 10 s if reports come every
// 2 s, at whatever moment of a report the crowd comes.
func TestStep(t *testing.T) {
	t.Parallel()
	for interval, within := range map[time.Duration]time.Duration{2 * time.Second: 10 * time.Second, 10 * time.Second: 18 * time.Second} {
		for _, boot := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
			var worst, worstReady time.Duration
			most := 0
			for seed := range uint64(50) {
				s := newSimulation(seed, Config{Min: 1, Max: 200, Target: 10}, 1)
				s.interval, s.boot = interval, boot
				from := 2*time.Minute + time.Duration(s.r.Int64N(100))*step
				s.offered = func(at time.Duration) float64 {
					if at < from {
						return 10
					}
					return 500
				}
				s.run(from)
				if len(s.changes) > 0 {
					t.Fatalf("seed %d: changed before: %v", seed, s.changes)
				}
				for s.ready < 50 && s.at < from+5*time.Minute {
					s.run(s.at + step)
					if s.wanted < 50 {
						worst = max(worst, s.at-from)
					}
				}
				worstReady = max(worstReady, s.at-from)
				s.run(from + 10*time.Minute)
				most = max(most, s.wanted)
				if s.wanted < 50 || turnsOf(1, s.changes) > 0 {
					t.Errorf("reports every %v, boot %v, seed %d: %v", interval, boot, seed, s.changes)
				}
			}
			t.Logf("reports every %v, boot %v: the right number is wanted within %v, ready within %v; at most %d instances", interval, boot, worst, worstReady, most)
			if worst > within || worstReady > within+boot {
				t.Errorf("reports every %v, boot %v: wanted within %v and ready within %v, want %v", interval, boot, worst, worstReady, within)
			}
		}
	}
}

// Instances that have more to do than they can let requests pile up, which looks like more clients.
// There are more instances than needed for a while, never more than Max, and in the end the right
// number.
func TestOverloadFeedsBack(t *testing.T) {
	t.Parallel()
	for _, boot := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		s := newSimulation(1, Config{Min: 1, Max: 100, Target: 10}, 1)
		s.boot, s.capacity = boot, 12
		s.offered = func(at time.Duration) float64 {
			if at < 2*time.Minute {
				return 8
			}
			return 200
		}
		most := 0
		for s.at < 30*time.Minute {
			s.run(s.at + time.Second)
			most = max(most, s.wanted)
		}
		t.Logf("boot %v: at most %d instances, in the end %d: %s", boot, most, s.wanted, fmt.Sprint(s.changes))
		if most > 100 || s.wanted < 20 || s.wanted > 22 {
			t.Errorf("boot %v: %d instances in the end, at most %d", boot, s.wanted, most)
		}
	}
}
