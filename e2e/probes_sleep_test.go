package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/xds/envoytest"
)

// probes reads what the Relay of the world found.
func (w *world) probes() (found api.Probes) {
	w.t.Helper()
	w.admin.read("/api/v1/probes", &found)
	return found
}

// probeIs waits until the probe of a name is as it should.
func (w *world) probeIs(name string, is func(api.Probe) bool) {
	w.t.Helper()
	w.eventually("the probe of "+name, func() error {
		found := w.probes()
		if !slices.ContainsFunc(found.Probes, func(p api.Probe) bool { return p.Name == name && is(p) }) {
			return fmt.Errorf("%+v", found.Probes)
		}
		return nil
	})
}

// Probes keep no app awake and wake none, also when it falls asleep just before they ask, and though nobody is ignored
// by the settings. What sleeps is no failure.
func TestProbesWakeNothing(t *testing.T) {
	w := newScalingWorld(t)
	w.relay.config.Probes.Enabled, w.relay.config.Probes.File = true, w.probeFile("modules: {calls: {prober: grpc}}\n")
	w.marathon.SetBoot("/sleepy", 50*time.Millisecond)
	w.marathon.deploy(
		w.dozer("/sleepy", "sleepy.test", "RELAY_0_PROBE", "/ 200"),
		sleepyApp("/tcp", "", 1, map[string]string{"RELAY_IDLE_AFTER": "1h", "HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": fmt.Sprint(envoytest.FreePort(t)), "RELAY_0_WAKE": "any", "RELAY_0_PROBE": "tcp"}),
		sleepyApp("/calls", "calls.test", 1, map[string]string{"RELAY_IDLE_AFTER": "1h", "RELAY_0_PROBE": "module calls"}))
	w.startOften()
	// Somebody who counts keeps it awake until it was asked.
	conn := w.clients.echo("ws://sleepy.test/ws")
	w.probeIs("sleepy.test", succeeds)
	w.probeIs("/tcp:0", func(p api.Probe) bool { return p.Skipped == "the app may sleep, and a connection would keep it awake" })
	w.probeIs("calls.test", func(p api.Probe) bool {
		return p.Skipped == "the app may sleep, and a module of grpc cannot say that it is a probe"
	})
	// Many that ask all the time, as those of a Relay that does not know yet that the app sleeps.
	stop, began, asked := make(chan struct{}), make(chan struct{}), make(chan map[string]int)
	go func() {
		seen := make(map[string]int)
		probe := w.clients.from("127.0.8.1", "Relay-Probe/1")
		for first := true; ; first = false {
			a := probe("http://sleepy.test/")
			seen[fmt.Sprint(a.status, " ", a.header.Get("X-Relay-Error"))]++
			if first {
				close(began)
			}
			select {
			case <-stop:
				asked <- seen
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	<-began // while the app runs
	_ = conn.CloseNow()
	w.phase("/sleepy", api.PhaseAsleep)
	w.probeIs("sleepy.test", func(p api.Probe) bool { return p.Skipped == "the app sleeps" && !p.Success })
	writes, until := w.writes("/sleepy"), time.Now().Add(6*time.Second)
	w.eventually("probes ask for a while", func() error {
		if s := w.scaling("/sleepy"); s.Phase != api.PhaseAsleep || w.writes("/sleepy") != writes {
			t.Fatalf("it was woken: %+v", s)
		}
		if time.Now().Before(until) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	close(stop)
	seen := <-asked
	for outcome := range seen {
		if outcome != "200 " && outcome != "503 asleep" {
			t.Errorf("probes got %q", outcome)
		}
	}
	if seen["200 "] == 0 || seen["503 asleep"] == 0 {
		t.Errorf("probes got %v", seen)
	}
	if found := w.probes(); found.Failing > 0 {
		t.Errorf("what sleeps fails: %+v", found)
	}
	// It is asked again when somebody has woken it.
	if a := w.clients.from("127.0.8.1", "Mozilla/5.0")("http://sleepy.test/"); a.status != http.StatusOK {
		t.Errorf("a client that counts: %d %.200q", a.status, a.body)
	}
	w.envoy.nothingRejected()
	if n := strings.Count(strings.Join(w.admin.metrics(), "\n"), "relay_probe_envoy_up"); n == 0 {
		t.Error("the metrics have no Envoy")
	}
}
