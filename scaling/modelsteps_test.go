package scaling

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// newSim makes a world with an app that runs.
func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 1)), seed: seed, seen: fnv.New64()}
	s.marathon.s = s
	s.tellsKilling = s.rng.IntN(2) == 0
	s.marathon.exists, s.sized = true, s.rng.IntN(3) == 0
	if s.rng.IntN(3) == 0 {
		s.concurrency = 1 + s.rng.IntN(2)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range 1 + s.rng.IntN(2) {
		s.relays = append(s.relays, &simRelay{s: s, name: fmt.Sprint("relay ", i), rng: rand.New(rand.NewPCG(seed, uint64(2+i)))})
	}
	for i := range 1 + s.rng.IntN(3) {
		e := &simEnvoy{s: s, name: fmt.Sprint("envoy ", i)}
		e.relay.Store(s.relays[s.rng.IntN(len(s.relays))])
		s.envoys = append(s.envoys, e)
		s.reportLater(e)
	}
	for _, r := range s.relays {
		r.start()
	}
	s.marathon.set(1+s.rng.IntN(3), 0, false)
	s.trouble = time.Now()
	return s
}

// reportLater has an Envoy report every 10 s.
func (s *sim) reportLater(e *simEnvoy) {
	s.after(s.random(9*time.Second, 11*time.Second), func() {
		s.reportLater(e)
		if e.silent || e.partitioned.Load() {
			return
		}
		var open []*simRequest
		for _, q := range s.requests {
			if q.envoy == e && q.task != nil && !q.over && !q.unseen {
				open = append(open, q)
			}
		}
		e.relay.Load().report(e, open, e.any)
		e.any = false
	})
}

func (s *sim) hasFaults() bool {
	m := &s.marathon
	for _, e := range s.envoys {
		if e.partitioned.Load() || e.late > 0 {
			return true
		}
	}
	return m.away || m.refuses || m.locked || m.cuts || m.slow || m.crashes || !m.exists || m.instances == 0 && m.asleep == 0
}

// step does something at random.
func (s *sim) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.rng.IntN(100); {
	case n < 45:
		for range 1 + s.rng.IntN(3) {
			s.request()
		}
	case n < 48:
		s.people()
	case n < 51:
		s.fault()
	case n < 54:
		s.moveEnvoy()
	case n < 57:
		s.restart()
	}
}

// ambush waits until a Relay is about to stop the app, and has a request come then.
func (s *sim) ambush() {
	of := []Phase{FallingAsleep, Stopping, Asleep}[s.between(0, 3)]
	for range 4 * 60 {
		s.run(time.Second / 2)
		for _, r := range s.relays {
			r.controller.mu.Lock()
			a := r.controller.apps["/app"]
			ready := a != nil && a.state.phase == of && (of != FallingAsleep || a.state.told || len(s.relays) == 1)
			r.controller.mu.Unlock()
			if ready {
				s.run(s.between(0, 100*time.Millisecond))
				s.mu.Lock()
				s.request()
				s.mu.Unlock()
				return
			}
		}
	}
}

// request has a client begin a request, which may last long.
func (s *sim) request() {
	s.born++
	q := &simRequest{s: s, id: s.born, envoy: s.envoys[s.rng.IntN(len(s.envoys))], began: time.Now(), lasts: s.random(time.Millisecond, time.Second)}
	if s.rng.IntN(10) == 0 {
		q.lasts = s.random(time.Second, 10*time.Minute)
	}
	s.note("%s begins, for %s", q, q.lasts)
	s.requests = append(s.requests, q)
}

// people change the app.
func (s *sim) people() {
	m := &s.marathon
	s.trouble = time.Now()
	switch s.rng.IntN(6) {
	case 0:
		s.note("people suspend it")
		if m.exists {
			m.set(0, 0, false)
			s.after(s.random(0, 3*time.Minute), func() {
				s.trouble = time.Now()
				if m.exists && m.instances == 0 && m.asleep == 0 {
					s.note("people start it again")
					m.set(1, 0, false)
				}
			})
		}
	case 1, 2:
		n := 1 + s.rng.IntN(4)
		s.note("people scale it to %d, and leave the label %d", n, m.asleep)
		if m.exists {
			if n != max(m.instances, m.asleep) { // else it could as well be the wake of a Relay
				s.chosen = time.Now()
			}
			m.set(n, m.asleep, false)
		}
	case 3:
		s.note("people deploy another version")
		if m.exists {
			for _, t := range m.tasks {
				if !t.killing {
					m.kill(t, false)
				}
			}
			m.set(m.instances, m.asleep, false)
		}
	case 4:
		s.note("people delete it, or create it")
		m.exists = !m.exists
		if m.exists {
			m.set(1+s.rng.IntN(3), 0, false)
		} else {
			s.chosen = time.Time{} // what comes later is another app, though it has the name
			m.set(0, 0, false)
			s.after(s.random(0, time.Minute), func() {
				s.trouble = time.Now()
				if !m.exists {
					m.exists = true
					m.set(1, 0, false)
				}
			})
		}
	case 5:
		s.note("people kill a task")
		if len(m.tasks) > 0 && !m.tasks[0].killing {
			m.kill(m.tasks[0], false)
			s.after(5*time.Second, func() { m.reconcile(false) })
		}
	}
}

// fault begins a fault, or ends all.
func (s *sim) fault() {
	m := &s.marathon
	s.trouble = time.Now()
	n := s.rng.IntN(16)
	s.note("fault %d", n)
	switch n {
	case 0:
		m.away = true
	case 1:
		m.refuses = true
	case 2:
		m.locked = true
	case 3:
		m.cuts = true
	case 4:
		m.slow = true
	case 5:
		m.crashes = true
	case 6:
		s.relays[0].lag = s.random(0, 40*time.Second)
	case 7:
		s.envoys[0].partitioned.Store(true)
		s.envoys[0].relay.Load().left(s.envoys[0])
	case 8:
		s.relays[0].peersDown = true
	case 9:
		s.envoys[0].silent = true
	case 10:
		s.envoys[0].late = s.random(0, time.Minute)
	default:
		s.heal()
	}
	s.after(s.random(0, 2*time.Minute), s.heal)
}

// heal ends all faults.
func (s *sim) heal() {
	m := &s.marathon
	if s.hasFaults() {
		s.trouble = time.Now()
	}
	m.away, m.refuses, m.locked, m.cuts, m.slow = false, false, false, false, false
	if m.crashes {
		m.crashes = false
	}
	for _, r := range s.relays {
		r.lag, r.peersDown = 0, false
	}
	for _, e := range s.envoys {
		e.silent, e.late = false, 0
		if e.partitioned.Load() {
			e.partitioned.Store(false)
			e.acknowledged.Store(-1)
		}
	}
}

// moveEnvoy has an Envoy go to another Relay.
func (s *sim) moveEnvoy() {
	e, r := s.envoys[s.rng.IntN(len(s.envoys))], s.relays[s.rng.IntN(len(s.relays))]
	if was := e.relay.Load(); was != r && !e.partitioned.Load() {
		s.note("%s goes to %s", e.name, r.name)
		was.left(e)
		e.relay.Store(r)
		e.acknowledged.Store(-1)
	}
}

// restart starts a Relay anew. Its Envoys keep what they have meanwhile.
func (s *sim) restart() {
	r := s.relays[s.rng.IntN(len(s.relays))]
	if s.marathon.stopping > 0 {
		return // a Relay that starts does not know what another one is stopping just now
	}
	for _, t := range s.marathon.tasks {
		if t.killing && !s.tellsKilling {
			return // nobody can know then which tasks are left
		}
	}
	s.note("%s starts anew", r.name)
	s.chosen = time.Time{} // it cannot know who chose what it reads
	stop := r.stop
	s.mu.Unlock()
	stop()
	s.mu.Lock()
	r.mu.Lock()
	r.app, r.revision = nil, r.revision+1
	r.mu.Unlock()
	r.start()
	for _, q := range s.requests {
		if q.envoy.relay.Load() == r && q.task == nil {
			q.said.Phase = 0 // Envoy asks again
		}
	}
}

// firstSeed is the seed of the first world. Tests play the same ones each time, so that what they find belongs to the change they test.
func firstSeed() uint64 { return cmp.Or(*modelSeed, rand.Uint64N(1<<32)) }

// TestModel plays random worlds: requests, people, faults, restarts.
func TestModel(t *testing.T) {
	t.Parallel()
	var total sim
	first := firstSeed()
	for seed := first; seed < first+uint64(*modelRuns); seed++ {
		s := playSeed(t, seed)
		total.born, total.answered, total.failed = total.born+s.born, total.answered+s.answered, total.failed+s.failed
		total.busy += s.busy
		total.slept, total.woken, total.resized = total.slept+s.slept, total.woken+s.woken, total.resized+s.resized
		if t.Failed() {
			return
		}
	}
	t.Logf("%d runs: %d requests, %d answered, %d of them that all are busy, %d failed with an excuse; %d times asleep, %d times woken, %d times another size",
		*modelRuns, total.born, total.answered, total.busy, total.failed, total.slept, total.woken, total.resized)
}

// A seed plays the same each time, so that what it found can be looked into.
func TestModelRepeats(t *testing.T) {
	t.Parallel()
	seed := firstSeed()
	first, again := playSeed(t, seed), playSeed(t, seed)
	if first.seen.Sum64() == again.seen.Sum64() {
		return
	}
	i := 0
	for i < min(len(first.trace), len(again.trace))-1 && first.trace[i] == again.trace[i] {
		i++
	}
	t.Fatalf("seed %d plays in two ways:\n%s\n%s", seed, first.trace[i], again.trace[i])
}

// playSeed plays one world.
func playSeed(t *testing.T, seed uint64) (s *sim) {
	synctest.Test(t, func(t *testing.T) {
		s = newSim(t, seed)
		s.play()
		for _, r := range s.relays {
			r.stop()
		}
	})
	return s
}

// play makes the steps, and looks then whether all comes to rest.
func (s *sim) play() {
	for range *modelSteps {
		if s.t.Failed() {
			return
		}
		synctest.Wait()
		_, _ = s.seen.Write([]byte(s.now()))
		s.step()
		switch n := s.between(0, 10); {
		case n == 0:
			s.run(s.between(0, 5*time.Minute))
		case n == 1:
			s.ambush()
		default:
			s.run(s.between(0, 5*time.Second))
		}
	}
	s.mu.Lock()
	s.note("all is well from now on")
	s.heal()
	m := &s.marathon
	if !m.exists || m.instances == 0 && m.asleep == 0 {
		m.exists = true
		m.set(2, 0, false)
	}
	s.trouble = time.Now()
	s.mu.Unlock()
	s.run(20 * time.Minute)
	s.mu.Lock()
	if m.instances != 0 || m.asleep == 0 || len(m.tasks) != 0 {
		s.fail("it does not come to rest")
	}
	for _, e := range s.envoys {
		if e.app == nil || !e.app.Gated {
			s.fail("%s does not ask before requests to an app that sleeps", e.name)
		}
	}
	failed := s.failed
	s.request()
	s.mu.Unlock()
	s.run(time.Minute)
	if s.failed != failed || m.instances == 0 {
		s.fail("the last request was not answered")
	}
}
