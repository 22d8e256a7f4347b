package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// lines is a TCP service: it speaks first, then repeats each line after its
// name.
func (w *world) lines(name string, config *tls.Config) (address string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	serve := func(conn net.Conn) {
		defer wg.Done()
		defer func() { _ = conn.Close() }()
		if config != nil {
			conn = tls.Server(conn, config)
		}
		_, _ = fmt.Fprintf(conn, "this is %s\n", name)
		for in := bufio.NewScanner(conn); in.Scan(); {
			_, _ = fmt.Fprintf(conn, "%s %s\n", name, in.Text())
		}
	}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Add(1)
			go serve(conn)
		}
	})
	w.t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// service sets up an app with one port, no domain, and tasks at these addresses.
func (w *world) service(id string, tasks []string, labels ...string) {
	w.t.Helper()
	all := map[string]string{"HAPROXY_GROUP": "external"}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	var list []any
	for _, task := range tasks {
		host, port, _ := net.SplitHostPort(task)
		list = append(list, map[string]any{
			"id": strings.Trim(id, "/") + "." + port, "host": host, "ports": []json.RawMessage{json.RawMessage(port)},
			"state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z",
		})
	}
	raw, err := json.Marshal(map[string]any{
		"id": id, "instances": len(tasks), "labels": all, "tasks": list,
		"portDefinitions": []any{map[string]any{"port": 0, "protocol": "tcp"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.marathon.SetRawApp(id, raw)
	w.marathon.Publish("group_change_success", map[string]any{"groupId": "/", "version": "2026-01-01T00:00:00.000Z"})
}

// lineConn is a client of lines.
type lineConn struct {
	net.Conn
	in *bufio.Reader
}

// line reads the next one, without its end.
func (c lineConn) line() (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	text, err := c.in.ReadString('\n')
	return strings.TrimSuffix(text, "\n"), err
}

// says fails the test unless the service of this name repeats a line.
func (c lineConn) says(t *testing.T, name string) {
	t.Helper()
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if got, err := c.line(); err != nil || got != name+" hello" {
		t.Fatalf("%s said %q, %v", name, got, err)
	}
}

// ended fails the test unless the connection is closed, before anything is
// said.
func (c lineConn) ended(t *testing.T, what string) {
	t.Helper()
	if got, err := c.line(); got != "" || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: read %q, %v; want the end", what, got, err)
	}
}

// dial opens a connection and says what comes first; from may be nil.
func (w *world) dial(address string, from net.IP, first string) (lineConn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	if from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	conn, err := dialer.DialContext(w.t.Context(), "tcp", address)
	if err != nil {
		return lineConn{}, err
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, first)
	return lineConn{conn, bufio.NewReader(conn)}, err
}

// greeted connects until a service of this name answers.
func (w *world) greeted(address, name string) lineConn {
	w.t.Helper()
	var conn lineConn
	w.eventually("service "+name+" at "+address, func() error {
		var err error
		if conn, err = w.dial(address, nil, ""); err != nil {
			return err
		}
		if got, err := conn.line(); err != nil || got != "this is "+name {
			_ = conn.Close()
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})
	return conn
}

// refused waits until nothing listens.
func (w *world) refused(address string) {
	w.t.Helper()
	w.eventually("nothing at "+address, func() error {
		conn, err := w.dial(address, nil, "")
		if err == nil {
			_ = conn.Close()
			return errors.New("something listens")
		}
		return nil
	})
}

func (w *world) tcpPort() (port, address string) {
	port = fmt.Sprint(envoytest.FreePort(w.t))
	return port, net.JoinHostPort("127.0.0.1", port)
}

// nothingRejected fails the test if Envoy did not take an update.
func (w *world) nothingRejected() {
	w.t.Helper()
	w.settled()
	if n := w.stat(`^cluster_manager\.cds\.update_rejected$`) + w.stat(`^listener_manager\.lds\.update_rejected$`); n != 0 {
		w.t.Errorf("Envoy rejected %d updates", n)
	}
}

// dialTLS asks for a name; serial is what the certificate must have, 0 for any.
func (w *world) dialTLS(name string, serial int64) (lineConn, error) {
	raw, err := w.dial(w.https, nil, "")
	if err != nil {
		return lineConn{}, err
	}
	// A certificate of another name counts as an answer too.
	conn := tls.Client(raw.Conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := conn.HandshakeContext(w.t.Context()); err != nil {
		_ = raw.Close()
		return lineConn{}, err
	}
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); serial != 0 && got != serial {
		_ = raw.Close()
		return lineConn{}, fmt.Errorf("the certificate has serial %d", got)
	}
	return lineConn{conn, bufio.NewReader(conn)}, nil
}
