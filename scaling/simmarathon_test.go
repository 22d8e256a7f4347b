package scaling

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"relay/sources"
)

// simTask is a task at the simulated Marathon.
type simTask struct {
	id      string
	started time.Time // zero while it is staged
	healthy bool
	killing bool
	relay   bool // it is killed since a Relay asked for it
	address netip.AddrPort
}

// simMarathon has one app, with the semantics of Marathon that matter here.
type simMarathon struct {
	s          *sim
	exists     bool
	version    int
	instances  int
	asleep     int
	deployment int // 0 is none
	last       int // the last deployment
	tasks      []*simTask
	born       int
	failure    *sources.TaskFailure
	// stopping is how many changes that put it to sleep are under way.
	stopping int

	// away, refuses, locked, cuts and slow are how it fails at present, and crashes how its tasks do.
	away, refuses, locked, cuts, slow, crashes bool
}

var errAway = errors.New("no answer")

// rescale makes a change of a Relay after a while, as far as it works at present.
func (m *simMarathon) rescale(ctx context.Context, by *simRelay, r sources.Rescale) (sources.Rescaled, error) {
	m.s.mu.Lock()
	wait := by.random(50 * time.Millisecond)
	if m.slow {
		wait = by.random(45 * time.Second)
	}
	away, refuses, locked, cuts := m.away, m.refuses, m.locked, m.cuts && by.rng.IntN(2) == 0
	if r.Instances == 0 {
		m.stopping++
	}
	m.s.mu.Unlock()
	late := false
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		late = true
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if r.Instances == 0 {
		m.stopping--
	}
	switch {
	case away, late && by.rng.IntN(2) == 0:
		return sources.Rescaled{}, errAway
	case refuses:
		return sources.Rescaled{}, errors.New("500 Internal Server Error")
	case locked:
		return sources.Rescaled{}, sources.ErrLocked
	}
	done, err := m.apply(r)
	if cuts || late {
		return sources.Rescaled{}, errAway
	}
	return done, err
}

// apply makes a change of a Relay, and holds it to the rules.
func (m *simMarathon) apply(r sources.Rescale) (sources.Rescaled, error) {
	now := sources.Rescaled{Version: m.versionText()}
	switch {
	case !m.exists:
		return now, sources.ErrGone
	case r.Version != m.versionText():
		return now, sources.ErrChanged
	case r.Instances == m.instances && r.Asleep == m.asleep:
		return now, nil
	case m.deployment != 0 && r.Over != fmt.Sprint("d", m.deployment):
		return now, sources.ErrLocked
	}
	switch {
	case r.Instances == 0:
		if r.Asleep != m.instances {
			m.s.fail("put to sleep with %d instances, of %d", r.Asleep, m.instances)
		}
		if ago := time.Since(m.s.used); ago < simIdle {
			m.s.fail("put to sleep %s after it was used", ago)
		}
		for _, q := range m.s.requests {
			if (q.task != nil || q.queue != nil) && !q.over {
				m.s.fail("put to sleep while %s is in progress, or in a queue", q)
			}
		}
		m.s.slept++
	case m.instances == 0 && m.asleep == 0:
		m.s.fail("woken to %d though people have suspended it", r.Instances)
	case m.instances == 0 && r.Instances != m.asleep:
		m.s.fail("woken to %d instances in place of %d", r.Instances, m.asleep)
	case m.instances == 0:
		m.s.woken++
	case m.s.sized && time.Since(m.s.chosen) < respectFor-5*time.Second:
		m.s.fail("rescaled from %d to %d just after people chose", m.instances, r.Instances)
	case m.s.sized && (r.Instances < simMin || r.Instances > simMax):
		m.s.fail("rescaled out of its bounds, to %d", r.Instances)
	case m.s.sized && r.Instances < m.instances && len(r.Kill) == 0 && len(m.tasks) >= m.instances:
		m.s.fail("rescaled from %d to %d, and nothing drained", m.instances, r.Instances)
	case m.s.sized:
		m.s.resized++
	case r.Instances != m.instances:
		m.s.fail("rescaled from %d to %d", m.instances, r.Instances)
	}
	m.s.note("Relay: %d instances, asleep %d", r.Instances, r.Asleep)
	for _, t := range m.tasks {
		if slices.Contains(r.Kill, t.id) && !t.killing {
			for _, q := range m.s.requests {
				if q.task == t && !q.over && time.Since(q.began) < drainMost {
					m.s.fail("%s is killed with %s in progress", t.id, q)
				}
			}
			m.kill(t, true)
		}
	}
	m.set(r.Instances, r.Asleep, true)
	return sources.Rescaled{Version: m.versionText(), Deployment: fmt.Sprint("d", m.deployment)}, nil
}

func (m *simMarathon) versionText() string { return fmt.Sprint("v", m.version) }

// set makes a new version with another number of instances, and deploys it.
func (m *simMarathon) set(instances, asleep int, relay bool) {
	m.version++
	m.last++
	m.instances, m.asleep, m.deployment = instances, asleep, m.last
	m.reconcile(relay)
	m.s.sourceChanged()
}

// reconcile starts and kills tasks until there are as many as there shall be.
func (m *simMarathon) reconcile(relay bool) {
	alive := 0
	for _, t := range m.tasks {
		if t.killing {
			continue
		}
		if alive++; alive > m.instances {
			m.kill(t, relay)
		}
	}
	for ; alive < m.instances; alive++ {
		m.launch()
	}
	m.settle()
}

func (m *simMarathon) kill(t *simTask, relay bool) {
	t.killing, t.relay = true, relay
	m.s.after(m.s.random(0, 3*time.Second), func() { m.gone(t) })
}

func (m *simMarathon) launch() {
	m.born++
	t := &simTask{id: fmt.Sprintf("app.%d", m.born), address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(1000+m.born%60_000))}
	m.tasks = append(m.tasks, t)
	m.s.after(m.s.random(200*time.Millisecond, 4*time.Second), func() {
		if t.killing {
			return
		}
		if m.crashes {
			m.failure = &sources.TaskFailure{Task: t.id, State: "TASK_FAILED", Message: "exit 1", At: time.Now()}
			m.gone(t)
			m.s.after(time.Second, func() { m.reconcile(false) })
			return
		}
		t.started = time.Now()
		m.s.sourceChanged()
		m.s.after(m.s.random(0, 2*time.Second), func() {
			t.healthy = !t.killing
			m.settle()
			m.s.sourceChanged()
		})
	})
}

// gone takes a task away, with what was in progress at it.
func (m *simMarathon) gone(t *simTask) {
	for i, other := range m.tasks {
		if other == t {
			m.tasks = append(m.tasks[:i:i], m.tasks[i+1:]...)
		}
	}
	for _, q := range m.s.requests {
		if q.task == t && !q.over {
			q.end(false, "its instance was killed")
		}
	}
	m.settle()
	m.s.sourceChanged()
}

// settle ends the deployment when all is as it shall be.
func (m *simMarathon) settle() {
	healthy := 0
	for _, t := range m.tasks {
		if t.healthy && !t.killing {
			healthy++
		}
	}
	if m.deployment != 0 && healthy == m.instances && len(m.tasks) == healthy {
		m.deployment = 0
		m.s.sourceChanged()
	}
}

// read is what a source reads now; nil if there is no app.
func (m *simMarathon) read() *sources.App {
	if !m.exists {
		return nil
	}
	app := &sources.App{
		ID: "/app", Version: m.versionText(), Stopped: m.instances == 0,
		Scaling:       &sources.Scaling{IdleAfter: simIdle},
		Orchestration: &sources.Orchestration{Instances: m.instances, Deploying: m.deployment != 0, StartedAt: make(map[string]time.Time), Failure: m.failure},
		Ports:         []sources.Port{{Groups: []string{"f"}, Domains: []string{"app.test"}}},
	}
	if m.s.sized {
		app.Scaling.Min, app.Scaling.Max, app.Scaling.Target, app.Scaling.DownAfter = simMin, simMax, 2, 30*time.Second
	}
	if m.asleep > 0 {
		app.Orchestration.Asleep = m.asleep
	}
	port := &app.Ports[0]
	for _, t := range m.tasks {
		if !t.started.IsZero() {
			app.Orchestration.StartedAt[t.id] = t.started
		}
		if t.healthy && (!t.killing || !m.s.tellsKilling) {
			port.Endpoints = append(port.Endpoints, sources.Endpoint{Address: t.address, Task: t.id})
		} else {
			port.Excluded = append(port.Excluded, sources.Excluded{Task: t.id, Reason: "is not healthy"})
		}
	}
	return app
}
