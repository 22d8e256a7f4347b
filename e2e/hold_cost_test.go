package e2e

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// A service whose connections would wait is as fast as another one while it has an instance.
func TestHoldCostsNothingWithAnInstance(t *testing.T) {
	w := newWorldAlone(t)
	w.start()
	server := w.tcp.lines("a", nil)
	held, update := heldService(w, "30s")
	update(server)
	port, plain := w.tcp.port()
	w.marathon.service("/plain", []string{server}, modeLabel, "tcp", portLabel, port, "RELAY_0_IDLE_TIMEOUT", "0s")
	w.tcp.greeted(held, "a")
	w.tcp.greeted(plain, "a")
	w.instances(1)
	connect := func(address string) (time.Duration, error) {
		began := time.Now()
		conn, err := net.DialTimeout("tcp", address, patience)
		if err == nil {
			_, err = bufio.NewReader(conn).ReadString('\n')
			_ = conn.Close()
		}
		return time.Since(began), err
	}
	took := make(map[string][]time.Duration)
	for range 2000 {
		for _, address := range []string{held, plain, server} {
			d, err := connect(address)
			if err != nil {
				t.Fatal(err)
			}
			took[address] = append(took[address], d)
		}
	}
	median := func(address string) time.Duration {
		slices.Sort(took[address])
		return took[address][len(took[address])/2]
	}
	t.Logf("until a server has greeted, median: with HOLD %s, without %s, without Envoy %s", median(held), median(plain), median(server))
	if median(held) > 2*median(plain) {
		t.Error("it is slower")
	}
}

// How long a connection waits after its server has come, of many.
func TestHeldGoOnAtOnce(t *testing.T) {
	w := newWorldAlone(t)
	w.start()
	address, update := heldService(w, "1m")
	w.opens(address)
	const clients = 200
	greeted := make(chan time.Time, clients)
	failed := make(chan error, clients)
	for i := range clients {
		dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i))}}
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		go func() {
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
				failed <- err
				return
			}
			greeted <- time.Now()
		}()
	}
	w.connectionsWait(w.admin, "relay_hold_waiting", clients)
	update(w.tcp.lines("a", nil))
	var known time.Time
	w.eventually("Relay knows", func() error {
		if n := w.admin.sum("relay_hold_waiting"); n >= clients {
			return fmt.Errorf("%g wait", n)
		}
		known = time.Now()
		return nil
	})
	var last time.Time
	for range clients {
		select {
		case at := <-greeted:
			if at.After(last) {
				last = at
			}
		case err := <-failed:
			t.Fatal(err)
		}
	}
	t.Logf("the last of %d was greeted %s after the first went on", clients, last.Sub(known))
}
