package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/admin/api"
	"relay/internal/relay"
	"relay/sources/marathon/marathontest"
)

// killable is a world with Relay as a process of its own, and an app that sleeps after a second, by reports
// of every two seconds: a second app is sized by its load.
type killable struct {
	*world
	mu      sync.Mutex
	process *process
}

func newKillable(t *testing.T) *killable {
	t.Helper()
	w := newScalingWorld(t)
	w.marathon.SetBoot("/sleepy", 300*time.Millisecond)
	w.marathon.deploy(w.dozer("/sleepy", "sleepy.test"), app("/sized", "sized.test", 1, "RELAY_SCALE", "1..2"))
	k := &killable{world: w}
	k.run()
	w.envoy.start()
	w.envoy.ready()
	return k
}

// run starts a Relay.
func (k *killable) run() {
	p := k.relay.startProcess("--scaling", "--log-level", "debug")
	k.mu.Lock()
	k.process = p
	k.mu.Unlock()
	k.admin.use(p.admin.url, relay.AdminPort{})
	k.eventually("Relay answers", func() error {
		status, _, err := k.admin.request(http.MethodGet, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
}

// kill ends Relay at once.
func (k *killable) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.process.kill()
}

// Relay is killed at each step of sleep and wake, and started again. Requests that come meanwhile are answered, the
// app sleeps again, and wakes to what it had.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(k *killable, rest func()){
		"while it falls asleep": func(k *killable, rest func()) {
			rest()
			k.phase("/sleepy", api.PhaseFallingAsleep)
			k.kill()
		},
		// Marathon does what Relay asked for, and Relay does not live to hear of it.
		"when it has written": func(k *killable, rest func()) {
			killed := make(chan struct{})
			k.marathon.Inject(writeOf("/sleepy"), before(func() { k.kill(); close(killed) }))
			rest()
			<-killed
			// Marathon goes on with the request only now.
			k.eventually("Marathon has done it", func() error {
				if app := k.written("/sleepy"); app.Instances != 0 {
					return fmt.Errorf("it has %d instances", app.Instances)
				}
				return nil
			})
			k.marathon.idle()
			k.has("/sleepy", 0, "2")
		},
		"before it has written": func(k *killable, rest func()) {
			killed := make(chan struct{})
			k.marathon.Inject(writeOf("/sleepy"), marathontest.Fault{Before: func() { k.kill(); close(killed) }, Times: 1, Status: http.StatusServiceUnavailable})
			rest()
			<-killed
			k.has("/sleepy", 2, "")
		},
		"while it sleeps": func(k *killable, rest func()) {
			rest()
			k.phase("/sleepy", api.PhaseAsleep)
			k.kill()
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKillable(t)
			kill(k, k.used())
			var all []<-chan answer
			for range 10 {
				all = append(all, k.ask(http.MethodPost, make([]byte, bodySize)))
			}
			k.run()
			k.answered(all)
			k.phase("/sleepy", api.PhaseAsleep)
			k.has("/sleepy", 0, "2")
			k.answered([]<-chan answer{k.ask(http.MethodGet, nil)})
		})
	}
}

// Relay is killed while requests wait for the app to wake, just before and just after Marathon is told so.
func TestKilledWhileWaking(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]marathontest.Fault{
		"when it has written":   {},
		"before it has written": {Status: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKillable(t)
			k.phase("/sleepy", api.PhaseAsleep)
			killed := make(chan struct{})
			fault.Before, fault.Times = func() { k.kill(); close(killed) }, 1
			k.marathon.Inject(writeOf("/sleepy"), fault)
			var all []<-chan answer
			for range 10 {
				all = append(all, k.ask(http.MethodPost, make([]byte, bodySize)))
			}
			<-killed
			k.run()
			k.answered(all)
			k.has("/sleepy", 2, "")
			k.phase("/sleepy", api.PhaseAsleep)
			k.has("/sleepy", 0, "2")
		})
	}
}

// used has the app awake and in use until the end is called: it may have fallen asleep before the test could do anything.
func (k *killable) used() (end func()) {
	k.t.Helper()
	conn := k.clients.echo("ws://sleepy.test/ws")
	k.phase("/sleepy", api.PhaseAwake)
	k.has("/sleepy", 2, "")
	return func() { _ = conn.Close(websocket.StatusNormalClosure, "") }
}

// answered fails the test unless the app answers all, and has started.
func (k *killable) answered(all []<-chan answer) {
	k.t.Helper()
	for i, a := range all {
		a := <-a
		a.is(k.t, fmt.Sprint("request ", i), http.StatusOK, "")
	}
	k.eventually("it has all its instances", func() error {
		if app := k.written("/sleepy"); app.Instances != 2 {
			return errors.New("not yet")
		}
		return nil
	})
}
