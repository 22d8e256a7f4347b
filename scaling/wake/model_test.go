package wake

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relay/internal/failure"
)

// model plays random arrivals, leaves and changes of apps and Envoys, and knows what may happen.
type model struct {
	*world
	t      *testing.T
	script []byte
	phases map[string]Phase
	// before are the phases at the last check.
	before map[string]Phase
	has    map[string]bool // by node and app
	all    []*modelRequest
	n      int
}

type modelRequest struct {
	*asked
	request
	left    bool
	settled any // its result, once it has one
	joined  time.Time
}

const modelTimeout = 10 * time.Second

// next returns the next byte of the script, below n.
func (m *model) next(n int) int {
	if len(m.script) == 0 {
		return 0
	}
	b := m.script[0]
	m.script = m.script[1:]
	return int(b) % n
}

func (m *model) app() string  { return fmt.Sprintf("/app-%d", m.next(3)) }
func (m *model) node() string { return fmt.Sprintf("edge-%d", m.next(2)) }

func (m *model) setPhase(app string, p Phase) {
	m.phases[app] = p
	m.apps.set(app, State{Phase: p, Timeout: modelTimeout})
}

func (m *model) step() {
	switch m.next(8) {
	case 0, 1, 2:
		m.n++
		r := request{
			fleet: "edge", node: m.node(), app: m.app(), client: from("", fmt.Sprintf("192.0.%d.1", m.next(3))).client,
			// Some checks overtake each other.
			came: time.Now().Add(-time.Duration(m.next(3)) * time.Millisecond),
		}
		m.all = append(m.all, &modelRequest{asked: m.ask(r), request: r, joined: time.Now()})
	case 3:
		if len(m.all) > 0 {
			r := m.all[m.next(len(m.all))]
			r.left = true
			r.cancel()
		}
	case 4:
		m.setPhase(m.app(), Phase(m.next(int(Unavailable)+1)))
	case 5:
		key := m.node() + m.app()
		m.fleet.mu.Lock()
		if m.has[key] = !m.has[key]; m.has[key] {
			close(m.fleet.has[key])
		} else {
			m.fleet.has[key] = make(chan struct{})
		}
		m.fleet.mu.Unlock()
	case 6:
		time.Sleep(time.Duration(m.next(20)) * 100 * time.Microsecond)
	case 7:
		time.Sleep(time.Duration(m.next(4)) * time.Second)
	}
	synctest.Wait()
	m.check()
}

// check holds what was answered since against what was so.
func (m *model) check() {
	for i, r := range m.all {
		result := r.result()
		if r.settled != nil || result == "held" {
			continue
		}
		r.settled = result
		switch result {
		case "ok":
			m.checkOrder(i)
			if now, before := m.phases[r.app], m.before[r.app]; now.wakes() && before.wakes() {
				m.t.Errorf("request %d was let through to an app that sleeps", i)
			}
		case failure.StatusStarting:
			if waited := r.at.Sub(r.joined); waited != modelTimeout {
				m.t.Errorf("request %d was refused after %s", i, waited)
			}
		case failure.StatusCrashed:
			if m.phases[r.app] != Failed && m.before[r.app] != Failed {
				m.t.Errorf("request %d was told of a crash", i)
			}
		default:
			if !r.left {
				m.t.Errorf("request %d: %v", i, result)
			}
		}
	}
	m.before = maps.Clone(m.phases)
}

// checkOrder checks that no request of the same line waits that came before.
func (m *model) checkOrder(i int) {
	r := m.all[i]
	for j, other := range m.all {
		if j == i || other.node != r.node || other.app != r.app || other.left {
			continue
		}
		before := other.came.Before(r.came) || other.came.Equal(r.came) && j < i
		waits := other.result() == "held" || other.at.After(r.at)
		if before && waits && !other.joined.After(r.at) {
			m.t.Errorf("%d was let through before %d, which came %s earlier", i, j, r.came.Sub(other.came))
		}
	}
}

// play runs a script, and then has all apps run: what waits goes through.
func play(t *testing.T, script []byte) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{world: newWorld(t, Config{WaitingPerApp: 1000, WaitingInAll: 10_000, Rate: 5}), t: t, script: script, phases: make(map[string]Phase), has: make(map[string]bool)}
		stop := m.run()
		for app := range 3 {
			m.setPhase(fmt.Sprintf("/app-%d", app), Asleep)
			for node := range 2 {
				m.fleet.has[fmt.Sprintf("edge-%d/app-%d", node, app)] = make(chan struct{})
			}
		}
		for len(m.script) > 0 {
			m.step()
		}
		// Each app that sleeps and is waited for is woken.
		before := len(m.apps.wokenApps())
		for app, p := range m.phases {
			m.setPhase(app, p)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		woken := m.apps.wokenApps()[before:]
		for i, r := range m.all {
			if r.result() == "held" && m.phases[r.app].wakes() && !slices.Contains(woken, r.app) {
				t.Errorf("request %d waits for %s, which nobody wakes", i, r.app)
			}
		}
		m.check()
		m.fleet.mu.Lock()
		for key, has := range m.fleet.has {
			if !m.has[key] {
				close(has)
			}
		}
		m.fleet.mu.Unlock()
		for app := range m.phases {
			m.setPhase(app, Running)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		m.check()
		for i, r := range m.all {
			if r.result() == "held" {
				t.Errorf("request %d is held though its app runs", i)
			}
		}
		m.empty()
		stop()
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 400)
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		if play(t, script); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte{0, 1, 0, 4, 0, 1, 5, 0, 0, 6, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		play(t, script[:min(len(script), 300)])
	})
}
