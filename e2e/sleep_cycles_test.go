package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cycles is how often apps fall asleep and are woken in TestCyclesUnderLoad, all together.
const cycles = 30

// Apps fall asleep and wake again and again while requests come at all moments, and to other apps all the time:
// none fails.
func TestCyclesUnderLoad(t *testing.T) {
	const apps = 12
	w := newScalingWorld(t)
	w.marathon.deploy(app("/busy", "busy.test", 2))
	for i := range apps {
		id := fmt.Sprintf("/sleepy-%d", i)
		w.marathon.SetBoot(id, time.Duration(i)*40*time.Millisecond)
		w.marathon.deploy(w.dozer(id, fmt.Sprintf("sleepy-%d.test", i)))
	}
	w.startOften()
	w.clients.expect("http://busy.test/", http.StatusOK, "/busy")
	busy := w.clients.load(100, ok, "http://busy.test/")
	stop := make(chan struct{})
	var all sync.WaitGroup
	var sent, failed atomic.Int64
	client := w.clients.client(true)
	client.Timeout = patience
	for i := range apps {
		// The next request comes at any moment from when the app could sleep until it does: each app is asked
		// after pauses of its own.
		all.Go(func() {
			pauses := 4 * time.Second
			for n := 0; ; n++ {
				slept := w.relay.count("app_asleep")
				for range 1 + n%4 {
					all.Go(func() {
						sent.Add(1)
						a, err := w.clients.get(client, fmt.Sprintf("http://sleepy-%d.test/", i), "")
						if err != nil || a.status != http.StatusOK || a.header.Get("X-App") != fmt.Sprintf("/sleepy-%d", i) {
							failed.Add(1)
							t.Errorf("request %d of app %d: %d %q, %v; %.200q", n, i, a.status, a.header.Get("X-Relay-Error"), err, a.body)
						}
					})
				}
				select {
				case <-stop:
					return
				case <-time.After(3*time.Second + rand.N(pauses)):
				}
				if w.relay.count("app_asleep") == slept { // on a busy machine it takes longer until it does
					pauses = min(pauses+2*time.Second, patience)
				}
			}
		})
	}
	for deadline := time.Now().Add(4 * patience); w.relay.count("app_asleep") < cycles && failed.Load() == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("apps slept %d times", w.relay.count("app_asleep"))
			break
		}
	}
	close(stop)
	all.Wait()
	w.clients.noFailure(busy, 500)
	t.Logf("%d requests; apps slept %d times, were woken %d times, and stayed awake %d times when one came just then", sent.Load(),
		w.relay.count("app_asleep"), w.relay.count("app_woken"), w.relay.count("app_stays_awake"))
	if n := w.envoy.stat(`^http\.http\.no_cluster$`); n != 0 {
		t.Errorf("Envoy counts %d requests for which the cluster was not found", n)
	}
	w.envoy.nothingRejected()
}
