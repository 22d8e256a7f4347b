package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"relay/admin/api"
)

// askedOver asks for a page on a connection, as a client of a TCP service that speaks first.
func askedOver(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: db\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// A TCP service sleeps when nobody has a connection, and not while one is open and silent. The next
// connections wait until it has started, and stay open.
func TestTCPServiceSleepsAndWakes(t *testing.T) {
	w := newScalingWorld(t)
	port, db := w.tcp.port()
	w.marathon.SetBoot("/db", 200*time.Millisecond)
	w.marathon.deploy(sleepyApp("/db", "", 2, map[string]string{
		"RELAY_IDLE_AFTER": "1s", modeLabel: "tcp", portLabel: port, "RELAY_0_WAKE": "client-first",
	}))
	w.start()
	w.relay.running.Loads().Pace("external", time.Second)
	var open lineConn
	w.eventually("a connection", func() error {
		var err error
		if open, err = w.tcp.dial(db, nil, ""); err != nil {
			return err
		}
		return askedOver(open)
	})
	cluster := "/db_0"
	w.eventually("it is in use", func() error {
		if u := w.relay.running.Loads().Use("external", cluster); u.InProgress != 1 {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	began := time.Now()
	w.eventually("it would have slept", func() error {
		if u := w.relay.running.Loads().Use("external", cluster); u.Until.Sub(began) < 3*time.Second {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	if s := w.scaling("/db"); s == nil || s.Phase != api.PhaseAwake {
		t.Fatalf("with a silent connection it is %+v", s)
	}
	_ = open.Close()
	w.phase("/db", api.PhaseAsleep)

	var wg sync.WaitGroup
	var conns [5]lineConn
	for i := range conns {
		wg.Go(func() {
			var err error
			if conns[i], err = w.tcp.dial(db, nil, ""); err == nil {
				err = askedOver(conns[i])
			}
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	w.phase("/db", api.PhaseAwake)
	for i, conn := range conns {
		if err := askedOver(conn); err != nil {
			t.Errorf("connection %d, awake: %v", i, err)
		}
	}
	w.envoy.nothingRejected()
}
