package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/admin/api"
	"relay/xds/envoytest"
)

// pair is two Relays that know each other, each with an Envoy of its own.
type pair struct {
	*world
	other   *runningRelay
	clients [2]*clients
	relays  [2]*runningRelay
}

func newPair(t *testing.T, definition func(w *world) string) *pair {
	t.Helper()
	w := newWorld(t)
	other, clientsOfOther, urls := w.peer()
	w.relay.mayScale(urls...)
	other.mayScale(urls...)
	w.marathon.SetBoot("/sleepy", 100*time.Millisecond)
	w.marathon.deploy(definition(w))
	p := &pair{world: w, other: other, clients: [2]*clients{w.clients, clientsOfOther}, relays: [2]*runningRelay{w.relay, other}}
	for i, r := range p.relays {
		r.start()
		r.running.Loads().Pace("external", time.Second)
		e := envoytest.Start(t, envoytest.Options{XDS: []string{r.config.XDS.Address}, NodeID: fmt.Sprint("envoy-", i), Workers: 1})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := e.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// both waits until both Relays say that the app is in a phase.
func (p *pair) both(phase string) {
	p.t.Helper()
	for i, r := range p.relays {
		eventually(p.t, fmt.Sprintf("by Relay %d it is %s", i, phase), func() error {
			var story api.AppStory
			r.admin.read("/api/v1/apps/sleepy", &story)
			if s := story.Scaling; s == nil || s.Phase != phase {
				return fmt.Errorf("it is %+v", s)
			}
			return nil
		})
	}
}

// An app that is used at the Envoy of one Relay sleeps by none, and both put it to sleep once: one write.
func TestUsedAtTheOtherRelay(t *testing.T) {
	p := newPair(t, func(w *world) string { return w.dozer("/sleepy", "sleepy.test") })
	conn := p.clients[1].echo("ws://sleepy.test/ws")
	p.awakeFor("/sleepy", 8*time.Second, "says: 1 requests or connections are in progress")
	p.clients[1].says(conn, "still here")
	_ = conn.Close(websocket.StatusNormalClosure, "")
	p.both(api.PhaseAsleep)
	p.has("/sleepy", 0, "2")
	if n := p.versions("/sleepy"); n != 2 {
		t.Errorf("Marathon has %d versions: two Relays changed one app %d times to put it to sleep", n, n-1)
	}
	// Both hold requests for it, and it is woken once.
	var all []<-chan answer
	for i := range 20 {
		all = append(all, p.by(i%2).ask(http.MethodPost, make([]byte, bodySize)))
	}
	for i, a := range all {
		a := <-a
		a.is(t, fmt.Sprint("request ", i), http.StatusOK, "")
	}
	p.both(api.PhaseAwake)
	// Both may have asked Marathon for it at the same moment: it takes one.
	if n := p.versions("/sleepy"); n != 3 {
		t.Errorf("Marathon has %d versions: two Relays changed one app %d times to wake it", n, n-2)
	}
	p.has("/sleepy", 2, "")
}

// by is the world with the clients of one of the Envoys.
func (p *pair) by(i int) *world {
	w := *p.world
	w.clients = p.clients[i]
	return &w
}

// While a peer cannot be asked no app sleeps, and that is a problem. When it is back, or it is alone, it sleeps.
func TestNotAsleepWhilePeerIsAway(t *testing.T) {
	p := newPair(t, func(w *world) string { return w.dozer("/sleepy", "sleepy.test", "RELAY_IDLE_AFTER", "3s") })
	p.other.stop()
	p.awakeFor("/sleepy", 8*time.Second, "another Relay cannot be asked: ")
	p.admin.problem("peers", p.other.config.Admin.Address+" cannot be asked who uses apps")
	p.other.start()
	p.other.running.Loads().Pace("external", time.Second)
	p.both(api.PhaseAsleep)
	p.has("/sleepy", 0, "2")
	p.admin.noProblemOf("peers")
}
