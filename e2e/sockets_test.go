package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// newSocketWorld is a world with an app of sockets, one of gRPC streams, and a TCP service, all with
// these labels.
func newSocketWorld(t *testing.T, labels ...string) (*world, *socketApp, string) {
	t.Helper()
	w := newWorld(t)
	a, tcp := w.startSocketApps(labels...)
	return w, a, tcp
}

func (w *world) startSocketApps(labels ...string) (a *socketApp, tcp string) {
	w.t.Helper()
	w.relay.fleet.ExtendedConnect = true
	w.certs.issue("sockets.test")
	w.certs.issue("grpc.test")
	w.start()
	a = startSocketApp(w.t)
	port, tcp := w.tcp.port()
	w.marathon.service("/sockets", []string{a.address}, append([]string{"HAPROXY_0_VHOST", "sockets.test"}, labels...)...)
	w.marathon.service("/grpc", []string{startDuplex(w.t)}, append([]string{"HAPROXY_0_VHOST", "grpc.test", "RELAY_0_HTTP2", "true"}, labels...)...)
	w.marathon.service("/tcp", []string{w.tcp.lines("tcp", nil)}, append([]string{modeLabel, "tcp", portLabel, port}, labels...)...)
	w.clients.expect("https://sockets.test/", http.StatusOK, "sockets")
	w.tcp.greeted(tcp, "tcp")
	return a, tcp
}

// everySocket opens one of each kind.
func (w *world) everySocket(a *socketApp, tcp string) []openConn {
	w.t.Helper()
	conns := []openConn{
		w.conns.webSocket("sockets.test"), w.conns.extended("sockets.test"),
		w.conns.events(a, "http://sockets.test", false), w.conns.events(a, "https://sockets.test", true),
		w.conns.longPoll(a, "https://sockets.test"), w.conns.duplex("grpc.test"),
		w.conns.tcpLines("a TCP connection", w.tcp.greeted(tcp, "tcp"), "tcp"),
	}
	for i, c := range conns {
		conns[i].use = bounded(c.use)
	}
	return conns
}

// bounded ends the wait for a use.
func bounded(use func() error) func() error {
	return func() error {
		ended := make(chan error, 1)
		go func() { ended <- use() }()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return fmt.Errorf("nothing came in %s", patience)
		}
	}
}

// What is said is on the other side at once, in both directions, by every kind of socket: the next
// is said when the last has come.
func TestSocketsHoldNothingBack(t *testing.T) {
	w, a, tcp := newSocketWorld(t)
	conns := w.everySocket(a, tcp)
	for range 50 {
		w.conns.open(conns...)
	}
	for _, c := range conns {
		began := time.Now()
		const n = 200
		for range n {
			if err := c.use(); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
		}
		t.Logf("%s: %s each", c.what, time.Since(began)/n)
	}
}
