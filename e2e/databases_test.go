package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dbTask is a task of a database.
type dbTask struct{ address, state string }

// database sets up a database that is reached at a port.
func (w *world) database(port string, tasks []dbTask, labels ...string) {
	w.t.Helper()
	all := map[string]string{"HAPROXY_GROUP": "external", modeLabel: "tcp", portLabel: port, "RELAY_0_IDLE_TIMEOUT": "0s", holdLabel: "1m"}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	list := []any{}
	for _, task := range tasks {
		host, port, _ := net.SplitHostPort(task.address)
		list = append(list, map[string]any{
			"id": "db." + port, "host": host, "ports": []json.RawMessage{json.RawMessage(port)},
			"state": task.state, "startedAt": "2026-01-01T00:00:00.000Z",
		})
	}
	raw, err := json.Marshal(map[string]any{
		"id": "/db", "instances": 1, "labels": all, "tasks": list, "portDefinitions": []any{map[string]any{"port": 0, "protocol": "tcp"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.marathon.SetRawApp("/db", raw)
	w.marathon.Publish("group_change_success", map[string]any{"groupId": "/", "version": "2026-01-01T00:00:00.000Z"})
	w.eventually("the app is as it should be", func() error {
		app, _ := w.admin.app("/db")
		if len(app.Ports) != 1 || len(app.Ports[0].Endpoints) != len(tasks) {
			return fmt.Errorf("%+v", app)
		}
		for i, e := range app.Ports[0].Endpoints {
			if e.Address.String() != tasks[i].address || (tasks[i].state == killing) != (e.Health.String() == "draining") {
				return fmt.Errorf("%+v", e)
			}
		}
		return nil
	})
	w.admin.settled()
}

const running, killing = "TASK_RUNNING", "TASK_KILLING"

// A database moves to another server while clients connect anew for each transaction, and others are in the middle of
// one. No connection fails, and no transaction is cut off: those that run end at the old server, and later ones
// wait until there is the new one.
func TestDatabaseMoves(t *testing.T) {
	w := newWorldAlone(t)
	w.start()
	old, next := startPostgres(t), startPostgres(t)
	port, address := w.tcp.port()
	w.database(port, []dbTask{{old.address(), running}})
	w.eventually("the database", func() error {
		_, err := old.query(address, "select 1")
		return err
	})

	// Each with a thread of its own: a client that waits to be connected would stop the others of its thread.
	anew, saidAnew := old.bench("anew", address, 12*time.Second, "-C", "-c", "4", "-j", "4")
	// Of those that stay connected, each has its transactions at the old server, until it leaves.
	stays, saidStays := old.bench("stays", address, 4*time.Second, "-c", "4", "-j", "4")
	long := old.psql(address, "-c", "begin; insert into pgbench_history (tid) values (4711); select pg_sleep(6); commit")
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the transaction runs, and all that stay are connected", func() error {
		if n, err := old.query(old.address(), "select count(*) from pg_stat_activity where query like 'begin; insert%' or application_name = 'stays'"); n != "5" {
			return fmt.Errorf("%s, %v", n, err)
		}
		return nil
	})

	w.database(port, []dbTask{{old.address(), killing}})
	began := time.Now()
	// From then on none of those that connect anew is on its way to the server that is about to refuse them.
	w.connectionsWait(w.admin, "relay_hold_waiting", 4)
	stopped := old.stop()
	if err := <-stays; err != nil || !strings.Contains(saidStays.String(), "number of failed transactions: 0") {
		t.Errorf("clients that stay connected: %v\n%s", err, saidStays)
	}
	if err := long.Wait(); err != nil {
		t.Errorf("the transaction that ran: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the old server: %v", err)
	}
	w.database(port, nil)
	w.database(port, []dbTask{{next.address(), running}})
	t.Logf("there was no server for %s", time.Since(began))
	if err := <-anew; err != nil || !strings.Contains(saidAnew.String(), "number of failed transactions: 0") {
		t.Errorf("clients that connect anew: %v\n%s", err, saidAnew)
	}
	t.Logf("pgbench -C: %s", saidAnew)
	if n, err := next.query(address, "select count(*) from pgbench_history"); err != nil || n == "0" {
		t.Errorf("at the new server: %q, %v", n, err)
	}
	old.start()
	if n, err := old.query(old.address(), "select count(*) from pgbench_history where tid = 4711"); n != "1" {
		t.Errorf("what the transaction that ran has written: %q, %v", n, err)
	}
	waited, _ := w.admin.metric(`relay_hold_connections_total{result="waited"}`)
	t.Logf("%g connections waited", waited)
	if waited == 0 {
		t.Error("no connection waited")
	}
	w.envoy.nothingRejected()
}

// A query is cancelled by a connection of its own, which has to reach the same server.
func TestQueryIsCancelled(t *testing.T) {
	w := newWorld(t)
	w.start()
	server := startPostgres(t)
	port, address := w.tcp.port()
	w.database(port, []dbTask{{server.address(), running}})
	w.eventually("the database", func() error {
		_, err := server.query(address, "select 1")
		return err
	})
	long := server.psql(address, "-c", "select pg_sleep(600)")
	var said strings.Builder
	long.Stderr = &said
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the query runs", func() error {
		if n, err := server.query(server.address(), "select count(*) from pg_stat_activity where query like 'select pg_sleep%'"); n != "1" {
			return fmt.Errorf("%s, %v", n, err)
		}
		return nil
	})
	_ = long.Process.Signal(syscall.SIGINT)
	_ = long.Wait()
	if !strings.Contains(said.String(), "canceling statement due to user request") {
		t.Errorf("psql said %q", said.String())
	}
}

// No more sessions than may are opened, from each Envoy. The next one is told at once.
func TestDatabaseHasALimit(t *testing.T) {
	w := newWorld(t)
	w.start()
	server := startPostgres(t)
	port, address := w.tcp.port()
	w.database(port, []dbTask{{server.address(), running}}, "RELAY_0_MAX_CONNECTIONS", "3")
	w.eventually("the database", func() error {
		_, err := server.query(address, "select 1")
		return err
	})
	// Each stays until it has nothing more to say.
	var three []*exec.Cmd
	var says []io.Closer
	for range 3 {
		cmd := server.psql(address)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "select 'stays';\n"); err != nil {
			t.Fatal(err)
		}
		three, says = append(three, cmd), append(says, in)
	}
	w.eventually("three are connected", func() error {
		if n, err := server.query(server.address(), "select count(*) from pg_stat_activity where query like 'select ''stays%'"); n != "3" {
			return fmt.Errorf("%s, %v", n, err)
		}
		return nil
	})
	// One that waited would do so for a minute.
	began := time.Now()
	if out, err := server.query(address, "select 1"); err == nil || time.Since(began) > patience {
		t.Errorf("a fourth one: %q after %s", out, time.Since(began))
	}
	for i, cmd := range three {
		_ = says[i].Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("one of the three: %v", err)
		}
	}
	w.eventually("Envoy knows that they have ended", func() error {
		if out, err := server.query(address, "select 1"); err != nil {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
}

// startSession begins a session of PostgreSQL's protocol, and returns the type of the first message that the server
// sends: 'R' if it is content.
func startSession(conn net.Conn) (byte, error) {
	body := []byte("\x00\x03\x00\x00user\x00app\x00database\x00app\x00\x00")
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)); err != nil {
		return 0, err
	}
	first := make([]byte, 1)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, err := conn.Read(first)
	return first[0], err
}

// Clients connect by TLS from the first byte, as libpq of PostgreSQL 17 does with sslnegotiation=direct: it wants the
// protocol to be agreed to. Their connections wait too while there is no server.
func TestDatabaseByTLS(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("db.test")
	w.start()
	server := startPostgres(t)
	port, address := w.tcp.port()
	tasks := []dbTask{{server.address(), running}}
	labels := []string{"HAPROXY_0_VHOST", "db.test", "RELAY_0_TLS_TERMINATE", "true", "RELAY_0_TLS_ALPN", "postgresql"}
	connect := func(protocol string) (*tls.Conn, error) {
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: "db.test", RootCAs: w.certs.ca.ClientTLS().RootCAs, NextProtos: []string{protocol}}}
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn.(*tls.Conn), nil
	}
	w.database(port, tasks, labels...)
	var conn *tls.Conn
	w.eventually("the database", func() (err error) {
		conn, err = connect("postgresql")
		return err
	})
	if got := conn.ConnectionState().NegotiatedProtocol; got != "postgresql" {
		t.Errorf("the protocol is %q", got)
	}
	if kind, err := startSession(conn); kind != 'R' {
		t.Errorf("the server says %q, %v", kind, err)
	}
	w.database(port, nil, labels...)
	held, err := connect("postgresql")
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		kind, err := startSession(held)
		if err == nil && kind != 'R' {
			err = fmt.Errorf("the server says %q", kind)
		}
		answered <- err
	}()
	w.connectionsWait(w.admin, "relay_hold_waiting", 1)
	w.database(port, tasks, labels...)
	if err := <-answered; err != nil {
		t.Errorf("a connection that waited: %v", err)
	}
}
