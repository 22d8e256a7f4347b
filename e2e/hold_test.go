package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"relay/xds/envoytest"
)

const holdLabel = "RELAY_0_HOLD"

// heldService is a service whose connections wait while it has no instance, which it has not yet.
func heldService(w *world, hold string) (address string, update func(tasks ...string)) {
	port, address := w.tcp.port()
	update = func(tasks ...string) {
		w.t.Helper()
		w.marathon.service("/db", tasks, modeLabel, "tcp", portLabel, port, "RELAY_0_IDLE_TIMEOUT", "0s", holdLabel, hold)
	}
	update()
	return address, update
}

// opens waits until Envoy has a service, and connections to it wait.
func (w *world) opens(address string) {
	w.t.Helper()
	w.eventually("the port is open", func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	w.admin.settled()
}

// instances waits until a service has so many, and Envoy knows.
func (w *world) instances(n int) {
	w.t.Helper()
	w.eventually(fmt.Sprint(n, " instances"), func() error {
		if app, _ := w.admin.app("/db"); len(app.Ports) != 1 || len(app.Ports[0].Endpoints) != n {
			return fmt.Errorf("%+v", app.Ports)
		}
		return nil
	})
	w.admin.settled()
}

// connectionsWait waits until a Relay has so many connections that wait, by its gauge of them.
func (w *world) connectionsWait(at *adminClient, gauge string, n int) {
	w.t.Helper()
	w.eventually(fmt.Sprint(n, " connections wait"), func() error {
		if got, _ := at.metric(gauge); int(got) < n {
			return fmt.Errorf("%g", got)
		}
		return nil
	})
}

// Connections to a service whose server speaks first wait for an instance, and go on within milliseconds. What
// waits for too long is closed. With an instance, Relay is not asked.
func TestHeldConnections(t *testing.T) {
	w := newWorld(t)
	w.start()
	closes, _ := heldService(w, "3s")
	w.opens(closes)
	began := time.Now()
	late, err := w.tcp.dial(closes, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	late.ended(t, "a connection for which no instance came")
	if took := time.Since(began); took < 3*time.Second || took > 10*time.Second {
		t.Errorf("it was closed after %s", took)
	}
	// Others wait for as long as it takes until their instance comes.
	address, update := heldService(w, "1m")
	var first lineConn
	w.eventually("the other port is open", func() (err error) {
		first, err = w.tcp.dial(address, nil, "")
		return err
	})
	w.connectionsWait(w.admin, "relay_hold_waiting", 1)
	update(w.tcp.lines("a", nil))
	if got, err := first.line(); got != "this is a" {
		t.Fatalf("%q, %v", got, err)
	}
	first.says(t, "a")
	w.admin.settled()
	asked := w.admin.sum("relay_hold_connections_total")
	for range 20 {
		w.tcp.greeted(address, "a").says(t, "a")
	}
	if now := w.admin.sum("relay_hold_connections_total"); now != asked {
		t.Errorf("Relay was asked %g times though there is an instance", now-asked)
	}
	update()
	w.instances(0)
	first.says(t, "a") // it stays open
	second, err := w.tcp.dial(address, nil, "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	w.connectionsWait(w.admin, "relay_hold_waiting", 1)
	update(w.tcp.lines("b", nil))
	for _, want := range []string{"this is b", "b hello"} {
		if got, err := second.line(); got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	first.says(t, "a")
	w.envoy.nothingRejected()
}

// Servers come and go again and again, while clients connect all the time: none is refused, whatever
// Envoy knows first, of the instances or of the filter.
func TestHeldAgainAndAgain(t *testing.T) {
	w := newWorld(t)
	w.start()
	address, update := heldService(w, "30s")
	w.opens(address)
	servers := []string{w.tcp.lines("a", nil), w.tcp.lines("b", nil)}
	stop, done := make(chan struct{}), make(chan error, 4)
	for range cap(done) {
		go func() {
			n := 0
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				conn, err := net.DialTimeout("tcp", address, patience)
				if err == nil {
					_, err = bufio.NewReader(conn).ReadString('\n')
					_ = conn.Close()
				}
				if n++; err != nil {
					done <- fmt.Errorf("connection %d: %w", n, err)
					return
				}
			}
		}()
	}
	for i := range 8 {
		update(servers[i%2])
		w.instances(1)
		update()
		w.instances(0)
	}
	update(servers...)
	close(stop)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	waited, _ := w.admin.metric(`relay_hold_connections_total{result="waited"}`)
	t.Logf("%g connections waited", waited)
}

// Relay is killed while connections wait, and another one starts. None is closed, and all go on.
func TestHeldWhileRelayIsStartedAnew(t *testing.T) {
	const clients = 500
	w := newWorldAlone(t)
	running := w.relay.startProcess()
	w.envoy.start()
	w.envoy.ready()
	address, update := heldService(w, "2m")
	w.eventually("the port is open", func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	envoy, relay := procfs{t, w.envoy.Pid()}, procfs{t, running.cmd.Process.Pid}
	ofEnvoy, ofRelay := envoy.memory("VmRSS"), relay.memory("VmRSS")
	f := connectField(w, address, clients, 0)
	w.connectionsWait(running.admin, "relay_hold_waiting", clients)
	t.Logf("kB of each that waits: Envoy %.1f, Relay %.1f", float64(envoy.memory("VmRSS")-ofEnvoy)/clients/1000, float64(relay.memory("VmRSS")-ofRelay)/clients/1000)
	running.kill()
	running = w.relay.startProcess()
	w.eventually("Relay serves", func() error {
		status, _, err := running.admin.request(http.MethodGet, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("it answers %d", status)
		}
		return err
	})
	w.connectionsWait(running.admin, "relay_hold_waiting", clients/2)
	began := time.Now()
	update(startDeviceServer(t).address())
	w.eventually("all are connected", func() error { return f.all(clients) })
	t.Logf("all were connected %s after the server came", time.Since(began))
	if failed := f.failed.Load(); failed > 0 {
		t.Errorf("%d attempts failed: %q", failed, f.why)
	}
}

// Of two Relays, the one that serves the Envoy has the connections wait. When it ends, the other one does.
func TestHeldAtTwoRelays(t *testing.T) {
	w := newWorld(t)
	other, _ := w.second()
	w.relay.start()
	other.start()
	address, update := heldService(w, "1m")
	envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address, other.config.XDS.Address}})
	w.eventually("the port is open", func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	conn, err := w.tcp.dial(address, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	relays := []*runningRelay{w.relay, other}
	waits := func() *runningRelay {
		for _, r := range relays {
			if n, _ := r.admin.metric("relay_hold_waiting"); n > 0 {
				return r
			}
		}
		return nil
	}
	w.eventually("it waits", func() error {
		if waits() == nil {
			return errors.New("at none")
		}
		return nil
	})
	serving := waits()
	serving.stop()
	for i, r := range relays {
		if r == serving {
			relays = []*runningRelay{relays[1-i]}
		}
	}
	w.eventually("it waits at the other Relay", func() error {
		if waits() == nil {
			return errors.New("it does not")
		}
		return nil
	})
	update(w.tcp.lines("a", nil))
	if got, err := conn.line(); got != "this is a" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Error(err)
	}
}
