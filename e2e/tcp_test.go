package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/collator/routing"
)

const (
	modeLabel, portLabel = "HAPROXY_0_MODE", "HAPROXY_0_PORT"
	networksLabel        = "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL"
)

// A TCP service through its life: nothing that happens to it, or to another
// one, closes a connection but its own, and those only when it ends.
func TestTCPServices(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("other.test")
	w.start()
	w.marathon.deploy(app("/other", "other.test", 1))
	w.clients.expect("https://other.test/", http.StatusOK, "/other")
	plain, secure := w.clients.echo("ws://other.test/ws"), w.clients.echo("wss://other.test/ws")
	a, b := w.tcp.lines("a", nil), w.tcp.lines("b", nil)
	port, db := w.tcp.port()
	port2, mail := w.tcp.port()

	w.marathon.service("/db", []string{a}, modeLabel, "tcp", portLabel, port)
	old := w.tcp.greeted(db, "a")
	w.marathon.service("/db", []string{a, b}, modeLabel, "tcp", portLabel, port)
	w.tcp.greeted(db, "b")
	w.marathon.service("/db", []string{b}, modeLabel, "tcp", portLabel, port)
	w.eventually("only b", func() error {
		if s, _ := w.admin.app("/db"); len(s.Ports[0].Endpoints) != 1 {
			return errors.New("two endpoints")
		}
		return nil
	})
	w.admin.settled()
	for range 10 {
		w.tcp.greeted(db, "b")
	}
	old.says(t, "a")

	// Another service comes, and one that loses the port to the first.
	w.marathon.service("/mail", []string{a}, portLabel, port2)
	mailbox := w.tcp.greeted(mail, "a")
	w.marathon.service("/x", []string{a}, modeLabel, "tcp", portLabel, port)
	w.admin.problem("/x", "port 0 of /db has it")
	w.tcp.greeted(db, "b")
	old.says(t, "a")
	mailbox.says(t, "a")

	// One that wins it takes over; the port is free again with the last.
	w.marathon.service("/a", []string{a}, modeLabel, "tcp", portLabel, port)
	w.admin.problem("/db", "port 0 of /a has it")
	w.tcp.greeted(db, "a")
	old.ended(t, "a connection of the service that lost its port")
	for _, id := range []string{"/a", "/db", "/x"} {
		w.marathon.service(id, []string{a}, modeLabel, "tcp", portLabel, port, "HAPROXY_0_ENABLED", "false")
	}
	w.tcp.refused(db)
	mailbox.says(t, "a")
	w.clients.says(plain, "still here")
	w.clients.says(secure, "still here")
	w.envoy.nothingRejected()
}

func TestTCPNetworks(t *testing.T) {
	w := newWorld(t)
	w.start()
	a := w.tcp.lines("a", nil)
	port, near := w.tcp.port()
	port2, far := w.tcp.port()
	port3, broken := w.tcp.port()
	port4, closed := w.tcp.port()
	w.marathon.service("/near", []string{a}, modeLabel, "tcp", portLabel, port, networksLabel, "127.0.0.1 10.0.0.0/8")
	w.marathon.service("/far", []string{a}, modeLabel, "tcp", portLabel, port2, networksLabel, "10.0.0.0/8 fd00::/8")
	w.marathon.service("/broken", []string{a}, modeLabel, "tcp", portLabel, port3, networksLabel, "127.0.0.0/8 intranet")
	w.marathon.service("/closed", []string{a}, modeLabel, "tcp", portLabel, port4, "HAPROXY_0_AUTH", "r:joe:"+passwordHash)
	w.tcp.greeted(near, "a").says(t, "a")
	w.admin.problem("/broken", "intranet")
	w.admin.problem("/closed", "password")
	w.admin.settled()
	conn, err := w.tcp.dial(near, net.IPv4(127, 0, 0, 2), "")
	if err != nil {
		t.Fatal(err)
	}
	conn.ended(t, "from 127.0.0.2")
	for _, first := range []string{"", "hello\n"} {
		// The server speaks first: not a byte of it may be seen.
		if conn, err = w.tcp.dial(far, nil, first); err == nil {
			conn.ended(t, "from outside of the networks")
		}
	}
	w.tcp.refused(broken)
	w.tcp.refused(closed)
	w.envoy.nothingRejected()
}

func TestTCPAcceptProxy(t *testing.T) {
	w := newWorld(t)
	w.start()
	port, address := w.tcp.port()
	w.marathon.service("/db", []string{w.tcp.lines("a", nil)}, modeLabel, "tcp", portLabel, port, "HAPROXY_0_BIND_OPTIONS", "accept-proxy",
		networksLabel, "10.0.0.0/8", "RELAY_0_PROXY_PROTOCOL", "v1")
	var conn lineConn
	w.eventually("a connection by PROXY protocol", func() error {
		var err error
		if conn, err = w.tcp.dial(address, nil, "PROXY TCP4 10.1.2.3 10.9.9.9 1234 5\r\nhello\n"); err != nil {
			return err
		}
		_, err = conn.line()
		return err
	})
	if got, err := conn.line(); err != nil || !strings.HasPrefix(got, "a PROXY TCP4 10.1.2.3 ") {
		t.Errorf("the service saw %q, %v", got, err)
	}
	if got, err := conn.line(); err != nil || got != "a hello" {
		t.Errorf("then %q, %v", got, err)
	}
	for _, first := range []string{"PROXY TCP4 192.0.2.1 10.9.9.9 1234 5\r\nhello\n", "PROXY UNKNOWN\r\nhello\n", "hello, this is no header at all\n"} {
		conn, err := w.tcp.dial(address, nil, first)
		if err != nil {
			t.Fatal(err)
		}
		conn.ended(t, first)
	}
	w.envoy.nothingRejected()
}

// A fleet that opens all service ports opens those without labels too, and
// none that is Envoy's or Relay's own.
func TestTCPAll(t *testing.T) {
	t.Parallel()
	for _, choice := range []string{"labels", "all", "off"} {
		t.Run(choice, func(t *testing.T) {
			w := newWorld(t)
			w.relay.fleet.TCP = routing.TCPServices(choice)
			w.start()
			a := w.tcp.lines("a", nil)
			port, said := w.tcp.port()
			port2, unsaid := w.tcp.port()
			_, xds, _ := net.SplitHostPort(w.relay.config.XDS.Address)
			_, https, _ := net.SplitHostPort(w.clients.https)
			w.marathon.service("/said", []string{a}, modeLabel, "tcp", portLabel, port)
			w.marathon.service("/xds", []string{a}, modeLabel, "tcp", portLabel, xds)
			w.marathon.service("/https", []string{a}, modeLabel, "tcp", portLabel, https)
			w.marathon.SetRawApp("/unsaid", json.RawMessage(fmt.Sprintf(`{"id": "/unsaid", "instances": 1, "labels": {"HAPROXY_GROUP": "external"},
				"portDefinitions": [{"port": %s}], "tasks": [{"id": "unsaid.1", "host": "127.0.0.1", "state": "TASK_RUNNING", "ports": [%s]}]}`,
				port2, a[strings.LastIndexByte(a, ':')+1:])))
			w.marathon.service("/last", []string{a})
			w.eventually("all are known", func() error {
				if _, known := w.admin.app("/last"); !known {
					return errors.New("not yet")
				}
				return nil
			})
			w.admin.settled()
			if choice == "off" {
				w.admin.problem("/said", "tcp: off")
				w.tcp.refused(said)
			} else {
				w.admin.problem("/xds", "belongs to Envoy or Relay")
				w.admin.problem("/https", "belongs to Envoy or Relay")
				w.tcp.greeted(said, "a")
			}
			if choice == "all" {
				w.tcp.greeted(unsaid, "a")
			} else {
				w.tcp.refused(unsaid)
			}
			w.envoy.nothingRejected()
		})
	}
}

func TestTCPClustersOnDemand(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.ClustersOnDemand = true
	w.start()
	port, address := w.tcp.port()
	w.marathon.service("/db", []string{w.tcp.lines("a", nil)}, modeLabel, "tcp", portLabel, port)
	w.tcp.greeted(address, "a").says(t, "a")
}

// TLS is passed through by name, with the app's own certificate; all other
// names, and their connections, stay as they are.
func TestTLSPassthrough(t *testing.T) {
	t.Parallel()
	for _, certificates := range []string{"all", onDemand} {
		t.Run("certificates "+certificates, func(t *testing.T) { testTLSPassthrough(t, certificates) })
	}
}

func testTLSPassthrough(t *testing.T, certificates string) {
	w := newWorld(t)
	w.relay.fleet.CertificatesOnDemand = certificates == onDemand
	w.certs.issue("other.test")
	w.certs.issue("own.test")
	w.relay.config.Certificates.Dir.Default = filepath.Join(t.TempDir(), "default.pem")
	if err := os.WriteFile(w.relay.config.Certificates.Dir.Default, w.certs.ca.TestIssue(t, []string{"default.test"}, certstest.Options{Serial: 77}).Bundle(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.marathon.deploy(app("/other", "other.test", 1), app("/plain", "own.test", 1))
	w.clients.expect("https://other.test/", http.StatusOK, "/other")
	w.clients.expect("https://own.test/", http.StatusOK, "/plain")
	plain, secure := w.clients.echo("ws://other.test/ws"), w.clients.echo("wss://other.test/ws")

	own := w.certs.ca.TestIssue(t, []string{"own.test"}, certstest.Options{Serial: 4242})
	config, err := own.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	task := []string{w.tcp.lines("own", config)}
	passed := []string{modeLabel, "tcp", "HAPROXY_0_VHOST", "own.test", "RELAY_0_TLS_PASSTHROUGH", "true"}
	w.marathon.service("/own", task, passed...)
	var conn lineConn
	w.eventually("the app's own certificate", func() error {
		conn, err = w.tls.dialTLS("own.test", 4242)
		return err
	})
	if got, err := conn.line(); err != nil || got != "this is own" {
		t.Fatalf("the app said %q, %v", got, err)
	}
	conn.says(t, "own")
	w.admin.problem("/own", "certificate")
	w.clients.expect("http://own.test/", http.StatusOK, "/plain")
	w.clients.expect("https://other.test/", http.StatusOK, "/other")

	if _, err := w.tls.dialTLS("unknown.test", 77); err != nil {
		t.Errorf("a name that nobody has: %v", err)
	}

	// Clients of other networks get no other chain either, nor the default one.
	w.marathon.service("/own", task, append(passed, networksLabel, "10.0.0.0/8")...)
	w.eventually("no handshake", func() error {
		c, err := w.tls.dialTLS("own.test", 0)
		if err == nil {
			_ = c.Close()
			return errors.New("there is one")
		}
		return nil
	})
	conn.ended(t, "a connection to a chain that changed")
	w.marathon.service("/own", task, append(passed, "HAPROXY_0_ENABLED", "false")...)
	w.clients.expect("https://own.test/", http.StatusOK, "/plain")
	w.clients.says(plain, "still here")
	w.clients.says(secure, "still here")
	w.envoy.nothingRejected()
}

// A port that something else on an Envoy's machine has costs that service only.
func TestTCPPortInUse(t *testing.T) {
	w := newWorld(t)
	w.start()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	a := w.tcp.lines("a", nil)
	port2, address := w.tcp.port()
	w.marathon.service("/taken", []string{a}, modeLabel, "tcp", portLabel, port)
	w.admin.problem("", "cannot bind '127.0.0.1:"+port+"'")
	w.marathon.service("/db", []string{a}, modeLabel, "tcp", portLabel, port2)
	w.tcp.greeted(address, "a").says(t, "a")
	w.marathon.deploy(app("/a", "a.test", 1))
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
}
