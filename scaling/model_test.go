package scaling

import (
	"container/heap"
	"flag"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources"
)

var (
	modelSeed  = flag.Uint64("model.seed", 1, "the seed of the first run of the model; 0 for a new one")
	modelRuns  = flag.Int("model.runs", 12, "how many runs the model makes")
	modelSteps = flag.Int("model.steps", 500, "how many steps each has")
)

const (
	// simIdle is how long nobody must have used the app, and excuseFor how long after trouble that is
	// not Relay's requests may fail.
	simIdle, excuseFor = time.Minute, 100 * time.Second
	// simMin and simMax bound the instances of an app that is sized.
	simMin, simMax = 1, 6
)

// sim is a world of one app: Relays, Envoys, clients, people, and a Marathon.
type sim struct {
	t            *testing.T
	mu           sync.Mutex
	rng          *rand.Rand
	marathon     simMarathon
	relays       []*simRelay
	envoys       []*simEnvoy
	requests     []*simRequest
	events       simEvents
	trouble      time.Time // when people or faults last changed something
	tellsKilling bool
	sized        bool
	trace        []string
	seed         uint64

	chosen time.Time // when people last chose a number of instances
	used   time.Time // when a request last was in progress, or was tried at an instance that did not take it

	concurrency int // of each instance, of an app with a queue; 0 if it has none

	born, busy, answered, failed, slept, woken, resized int
	// seen is a sum of all that happened, by which two plays of a seed are compared.
	seen hash.Hash64
}

// simEnvoy is an Envoy, which has an app as it last took it.
type simEnvoy struct {
	s             *sim
	name          string
	relay         atomic.Pointer[simRelay]
	partitioned   atomic.Bool
	acknowledged  atomic.Int64
	app           *sources.App
	silent, takes bool
	late          time.Duration // by how much it acknowledges later than others
	any           bool          // a request came since the last report
}

type simEvent struct {
	at time.Time
	n  int
	f  func()
}

type simEvents struct {
	list []simEvent
	n    int
}

func (e simEvents) Len() int { return len(e.list) }
func (e simEvents) Less(i, j int) bool {
	if !e.list[i].at.Equal(e.list[j].at) {
		return e.list[i].at.Before(e.list[j].at)
	}
	return e.list[i].n < e.list[j].n
}
func (e simEvents) Swap(i, j int) { e.list[i], e.list[j] = e.list[j], e.list[i] }
func (e *simEvents) Push(x any)   { e.list = append(e.list, x.(simEvent)) }
func (e *simEvents) Pop() any {
	last := e.list[len(e.list)-1]
	e.list = e.list[:len(e.list)-1]
	return last
}

// after has something happen later. The world is locked then.
func (s *sim) after(d time.Duration, f func()) {
	s.events.n++
	heap.Push(&s.events, simEvent{time.Now().Add(d), s.events.n, f})
}

func (s *sim) random(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)))
}

// between is random, for who has not locked the world.
func (s *sim) between(from, to time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random(from, to)
}

func (s *sim) note(format string, args ...any) {
	line := fmt.Sprintf("%9.3f ", time.Since(simStart).Seconds()) + fmt.Sprintf(format, args...)
	_, _ = s.seen.Write([]byte(line))
	s.trace = append(s.trace, line)
	if len(s.trace) > 300 {
		s.trace = s.trace[1:]
	}
}

// simStart is when each bubble begins.
var simStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *sim) fail(format string, args ...any) {
	s.t.Errorf("seed %d: %s\n%s\n%s", s.seed, fmt.Sprintf(format, args...), strings.Join(s.trace, "\n"), s.now())
}

// now is the state of the world, for people.
func (s *sim) now() string {
	m := &s.marathon
	out := fmt.Sprintf("at %.3f: exists %v, version %d, instances %d, asleep %d, deployment %d, %d tasks", time.Since(simStart).Seconds(), m.exists, m.version, m.instances, m.asleep, m.deployment, len(m.tasks))
	for _, r := range s.relays {
		r.controller.mu.Lock()
		if a := r.controller.apps["/app"]; a != nil {
			out += fmt.Sprintf("\n%s: %s since %.3f: %s; trouble %q, read %s", r.name, a.state.phase, a.state.since.Sub(simStart).Seconds(), a.state.reason, a.state.trouble, a.read.version)
			if a.story != nil {
				for _, e := range a.story.events {
					out += fmt.Sprintf("\n   %9.3f %s %s", e.At.Sub(simStart).Seconds(), e.Kind, e.Reason)
				}
			}
		}
		r.controller.mu.Unlock()
	}
	for _, e := range s.envoys {
		gated, endpoints := false, 0
		if e.app != nil {
			gated, endpoints = e.app.Gated, len(e.app.Ports[0].Endpoints)
		}
		out += fmt.Sprintf("\n%s of %s: gated %v, %d endpoints, partitioned %v", e.name, e.relay.Load().name, gated, endpoints, e.partitioned.Load())
	}
	return out
}

// sourceChanged has each Relay read the app soon.
func (s *sim) sourceChanged() {
	for _, r := range s.relays {
		if r.reading {
			continue
		}
		r.reading = true
		s.after(r.lag+s.random(0, 200*time.Millisecond), r.read)
	}
}

// run lets the world go on for a while.
func (s *sim) run(d time.Duration) {
	until := time.Now().Add(d)
	for {
		s.settle()
		next := until
		s.mu.Lock()
		if len(s.events.list) > 0 && s.events.list[0].at.Before(next) {
			next = s.events.list[0].at
		}
		// Relays do not wait for the next event.
		step := min(time.Until(next), time.Second)
		if len(s.requests) > 0 {
			step = min(step, 50*time.Millisecond)
		}
		s.mu.Unlock()
		if step > 0 {
			time.Sleep(step)
		}
		synctest.Wait()
		for s.happens() {
			synctest.Wait()
		}
		if !time.Now().Before(until) {
			s.settle()
			return
		}
	}
}

// happens has the next event happen that is due, if there is one. One that others react to comes to its
// end before the next, so that a seed plays the same each time.
func (s *sim) happens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := len(s.events.list) > 0 && !s.events.list[0].at.After(time.Now())
	if due {
		heap.Pop(&s.events).(simEvent).f()
	}
	return due
}

// settle takes Envoys and requests as far as they get now.
func (s *sim) settle() {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.envoys {
		r := e.relay.Load()
		r.mu.Lock()
		behind := int(e.acknowledged.Load()) < r.revision
		r.mu.Unlock()
		if behind && !e.takes && !e.partitioned.Load() {
			e.takes = true
			s.after(e.late+s.random(0, 500*time.Millisecond), func() { e.takes = false; e.take() })
		}
	}
	for _, q := range slices.Clone(s.requests) {
		if q.try() {
			s.mu.Unlock()
			synctest.Wait()
			s.mu.Lock()
		}
	}
	s.requests = slices.DeleteFunc(s.requests, func(q *simRequest) bool { return q.over })
}
