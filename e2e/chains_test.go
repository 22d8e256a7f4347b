package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"
)

// openConn is a connection through Envoy that is meant to stay open.
type openConn struct {
	what string
	// use uses it once more, and says what went wrong.
	use func() error
}

// openAll opens connections of every kind to a server name: WebSockets, a
// response over HTTP/2 that does not end, and a keep-alive connection that
// idles between two uses.
func (w *world) openAll(name string) []openConn {
	w.t.Helper()
	return []openConn{w.webSocket(name), w.webSocket(name), w.webSocket(name), w.stream(name), w.keepAlive(name)}
}

func (w *world) webSocket(name string) openConn {
	w.t.Helper()
	conn := w.echo("wss://" + name + "/ws")
	return openConn{"a WebSocket of " + name, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := conn.Write(ctx, websocket.MessageText, []byte("still here")); err != nil {
			return err
		}
		_, got, err := conn.Read(ctx)
		if err == nil && string(got) != "still here" {
			err = fmt.Errorf("it echoes %q", got)
		}
		return err
	}}
}

func (w *world) stream(name string) openConn {
	w.t.Helper()
	client := w.client(true)
	client.Timeout = 0 // the response has no end
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/stream?n=1000000&ms=20", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("a stream over HTTP/%d with status %d, want HTTP/2", resp.ProtoMajor, resp.StatusCode)
	}
	// All lines are read as they come: one that waited in a buffer would not
	// tell that the connection is open now.
	came, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			select {
			case came <- struct{}{}:
			default:
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
		<-ended
	})
	return openConn{"an HTTP/2 stream of " + name, func() error {
		select {
		case <-came:
			return nil
		case <-ended:
			return errors.New("it ended")
		}
	}}
}

func (w *world) keepAlive(name string) openConn {
	w.t.Helper()
	config := w.ca.ClientTLS()
	config.ServerName, config.NextProtos = name, []string{"http/1.1"}
	raw, err := w.dial(w.https, nil, "")
	if err != nil {
		w.t.Fatal(err)
	}
	conn := tls.Client(raw.Conn, config)
	in := bufio.NewReader(conn)
	use := func() error {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+name+"\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK || resp.Close {
			return fmt.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
		}
		return nil
	}
	if err := use(); err != nil {
		w.t.Fatal(err)
	}
	return openConn{"a keep-alive connection of " + name, use}
}

// open fails the test unless all connections are.
func (w *world) open(conns ...openConn) {
	w.t.Helper()
	for _, c := range conns {
		if err := c.use(); err != nil {
			w.t.Errorf("%s: %v", c.what, err)
		}
	}
}

// draining is how many filter chains and listeners Envoy is about to close.
func (w *world) draining() int64 {
	w.t.Helper()
	return w.stat(`^listener_manager\.total_(filter_chains|listeners)_draining$`)
}

// One filter chain per certificate: a certificate that comes closes no
// connection, one that goes closes its own after Envoy's drain time, which is
// two seconds here, and a renewal closes none.
func TestFilterChainPerCertificate(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/all", "a.test,b.test,c.test,d.test", 1))
	w.issue("a.test")
	w.issue("b.test")
	w.issue("c.test")
	w.start()
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		w.expect("https://"+name+"/", http.StatusOK, "/all")
	}
	own := w.openAll("b.test")
	others := append(w.openAll("a.test"), w.openAll("c.test")...)
	w.settled()

	serial := w.expect("https://a.test/", http.StatusOK, "/all").serial
	w.issue("a.test")
	w.renewed("https://a.test/", serial)
	w.issue("d.test")
	w.expect("https://d.test/", http.StatusOK, "/all")
	w.settled()
	if n := w.draining(); n != 0 {
		t.Errorf("%d filter chains drain after a renewal and a new certificate, want none", n)
	}
	w.open(own...)
	w.open(others...)

	if err := os.Remove(filepath.Join(w.certs, "b.test.pem")); err != nil {
		t.Fatal(err)
	}
	w.eventually("b.test's filter chain drains", func() error {
		if n := w.draining(); n != 1 {
			return fmt.Errorf("%d drain", n)
		}
		return nil
	})
	// All but the keep-alive connection, which may be asked to close at once.
	for _, c := range own[:len(own)-1] {
		if err := c.use(); err != nil && w.draining() == 1 {
			t.Errorf("%s, before the drain time is over: %v", c.what, err)
		}
	}
	for _, c := range own {
		w.eventually(c.what+" is closed", func() error {
			w.open(others...)
			if c.use() == nil {
				return errors.New("it is open")
			}
			return nil
		})
	}
	// Whatever began to drain before b.test's filter chain is closed by now.
	w.open(others...)
	w.open(w.openAll("d.test")...)
	if conn, err := w.dialTLS("b.test", 0); err == nil {
		_ = conn.Close()
		t.Error("b.test is served without a certificate")
	}
	w.nothingRejected()
}
