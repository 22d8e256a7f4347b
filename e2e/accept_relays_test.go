package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// pacedService is a service with so many servers that take connections at a rate, and lets nobody in yet.
func pacedService(w *world, servers int, rate string) (all []*deviceServer, address string, update func(rate string, servers ...*deviceServer)) {
	port, address := w.tcp.port()
	for range servers {
		all = append(all, startDeviceServer(w.t))
	}
	update = func(rate string, servers ...*deviceServer) {
		var tasks []string
		for _, s := range servers {
			tasks = append(tasks, s.address())
		}
		w.marathon.service("/imp", tasks, modeLabel, "tcp", portLabel, port, "RELAY_0_IDLE_TIMEOUT", "0s", acceptLabel, rate)
	}
	update(rate, all...)
	return all, address, update
}

// greeted waits until a service lets a device in.
func (w *world) greeted(address string) {
	w.t.Helper()
	w.eventually("the service", func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err == nil {
			_, err = conn.line()
			_ = conn.Close()
		}
		return err
	})
}

// Two Envoys with two Relays let in as many as one would: both ask the same Relay.
func TestOneRateAtTwoRelays(t *testing.T) {
	const devices, rate = 500, 50
	w := newWorldAlone(t)
	other, _ := w.second()
	w.relay.start()
	other.start()
	servers, address, _ := pacedService(w, 2, fmt.Sprint(rate, "/s"))
	relays := []string{w.relay.config.XDS.Address, other.config.XDS.Address}
	var envoys []*envoytest.Envoy
	for _, name := range []string{"first", "second"} {
		e := envoytest.Start(t, envoytest.Options{XDS: relays, NodeID: name})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := e.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		envoys = append(envoys, e)
	}
	// They listen on the same port, and the kernel gives each its part.
	w.eventually("both serve", func() error {
		w.greeted(address)
		served := 0
		for _, e := range envoys {
			stats, err := e.Stats(t.Context(), regexp.MustCompile(`^cluster\./imp_0\.upstream_cx_total$`))
			if err != nil {
				return err
			}
			for _, n := range stats {
				served += min(1, int(n))
			}
		}
		if served < len(envoys) {
			return errors.New("one has had no connection")
		}
		return nil
	})
	began := time.Now()
	f := openField(w, address, devices, 0)
	took := time.Since(began)
	t.Logf("%d in %s, %d in the busiest three seconds", devices, took, busiestIn(3*time.Second, began, servers...))
	if err := tooMany(began, atRate(len(servers)*rate), servers...); err != nil {
		t.Error(err)
	}
	if failed := f.failed.Load(); failed > 0 {
		t.Errorf("%d attempts failed: %q", failed, f.why)
	}
	first, _ := w.relay.admin.metric(`relay_accept_connections_total{result="waited"}`)
	second, _ := other.admin.metric(`relay_accept_connections_total{result="waited"}`)
	if min(first, second) != 0 {
		t.Errorf("both Relays had connections wait: %g and %g", first, second)
	}
}

// Relay is killed while 2000 connections wait, and another one starts. None is refused, and the pace stays.
func TestRelayIsKilledInAStorm(t *testing.T) {
	const devices, rate = 2400, 100
	w := newWorldAlone(t)
	running := w.relay.startProcess()
	w.envoy.start()
	w.envoy.ready()
	// At first so slowly that few go on until all have connected, and all may wait: for as many as go on in a minute.
	servers, address, update := pacedService(w, 2, fmt.Sprint(rate/4, "/s"))
	w.greeted(address)
	envoy, relay := procfs{t, w.envoy.Pid()}, procfs{t, running.cmd.Process.Pid}
	ofEnvoy, ofRelay := envoy.memory("VmRSS"), relay.memory("VmRSS")
	f := connectField(w, address, devices, 0)
	w.connectionsWait(running.admin, "relay_accept_waiting", 2000)
	t.Logf("kB of each that waits: Envoy %.1f, Relay %.1f", float64(envoy.memory("VmRSS")-ofEnvoy)/2000/1000, float64(relay.memory("VmRSS")-ofRelay)/2000/1000)
	running.kill()
	update(fmt.Sprint(rate, "/s"), servers...)
	began := time.Now()
	running = w.relay.startProcess()
	w.eventually("Relay serves", func() error {
		status, _, err := running.admin.request(http.MethodGet, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("it answers %d", status)
		}
		return err
	})
	t.Logf("Relay served after %s", time.Since(began))
	w.eventually("all are connected", func() error { return f.all(devices) })
	if failed := f.failed.Load(); failed > 0 {
		t.Errorf("%d attempts failed: %q", failed, f.why)
	}
	t.Logf("all were connected %s after it was killed, %d in the busiest three seconds", time.Since(began), busiestIn(3*time.Second, began, servers...))
	if err := tooMany(began, atRate(len(servers)*rate), servers...); err != nil {
		t.Error(err)
	}
}

// An instance comes while many wait. It gets connections until it has as many as the others, at the rate of one.
func TestInstanceComesInAStorm(t *testing.T) {
	const devices, rate = 900, 50
	w := newWorldAlone(t)
	w.start()
	servers, address, update := pacedService(w, 2, fmt.Sprint(rate, "/s"))
	w.greeted(address)
	f := connectField(w, address, devices, 0)
	w.connectionsWait(w.admin, "relay_accept_waiting", 500)
	third := startDeviceServer(t)
	update(fmt.Sprint(rate, "/s"), append(servers, third)...)
	w.eventually("all are connected", func() error { return f.all(devices) })
	if failed := f.failed.Load(); failed > 0 {
		t.Errorf("%d attempts failed: %q", failed, f.why)
	}
	most := busiestIn(3*time.Second, time.Time{}, third)
	t.Logf("the new one took %d, %d in its busiest three seconds", third.count(), most)
	// Relay takes it for even a second early.
	if most > 4*rate*120/100 {
		t.Errorf("the new one took %d in three seconds", most)
	}
	if n := third.count(); n < devices/3*85/100 {
		t.Errorf("the new one has %d", n)
	}
}

// Behind a balancer it is the address of the client that counts, as its header has it.
func TestAddressRateBehindAProxy(t *testing.T) {
	w := newWorld(t)
	w.start()
	port, address := w.tcp.port()
	server := startDeviceServer(t)
	w.marathon.service("/imp", []string{server.address()}, modeLabel, "tcp", portLabel, port, addressRateLabel, "5/s", "HAPROXY_0_BIND_OPTIONS", "accept-proxy")
	in := func(client string) error {
		conn, err := w.tcp.dial(address, nil, "PROXY TCP4 "+client+" 10.9.9.9 1234 5\r\n")
		if err != nil {
			return err
		}
		_, err = conn.line()
		_ = conn.Close()
		return err
	}
	w.eventually("the service", func() error { return in("192.0.2.250") })
	began, got := time.Now(), 0
	for range 50 {
		if in("192.0.2.1") == nil {
			got++
		}
	}
	if most := 6 + int(5*time.Since(began).Seconds()); got < 5 || got > most {
		t.Errorf("%d connections of 50 of one client got in, want 5 to %d", got, most)
	}
	for i := range 30 {
		if err := in(fmt.Sprintf("192.0.2.%d", 2+i)); err != nil {
			t.Errorf("client %d behind the same balancer is kept out: %v", i, err)
		}
	}
}
