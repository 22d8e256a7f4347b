package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

// connections are those through Envoy that are meant to stay open.
type connections struct {
	t       *testing.T
	certs   *certificates
	clients *clients
	tcp     *tcpClients
}

// openConn is a connection through Envoy that is meant to stay open.
type openConn struct {
	what string
	// use uses it once more, and says what went wrong.
	use func() error
}

// openAll opens connections of every kind to a server name: WebSockets, a
// response over HTTP/2 that does not end, and a keep-alive connection that
// idles between two uses.
func (o *connections) openAll(name string) []openConn {
	o.t.Helper()
	return []openConn{o.webSocket(name), o.webSocket(name), o.webSocket(name), o.stream(name), o.keepAlive(name)}
}

func (o *connections) webSocket(name string) openConn {
	o.t.Helper()
	conn := o.clients.echo("wss://" + name + "/ws")
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

func (o *connections) stream(name string) openConn {
	o.t.Helper()
	client := o.clients.client(true)
	client.Timeout = 0 // the response has no end
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/stream?n=1000000&ms=20", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		o.t.Fatal(err)
	}
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		o.t.Fatalf("a stream over HTTP/%d with status %d, want HTTP/2", resp.ProtoMajor, resp.StatusCode)
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
	o.t.Cleanup(func() {
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

func (o *connections) keepAlive(name string) openConn {
	o.t.Helper()
	config := o.certs.ca.ClientTLS()
	config.ServerName, config.NextProtos = name, []string{"http/1.1"}
	raw, err := o.tcp.dial(o.clients.https, nil, "")
	if err != nil {
		o.t.Fatal(err)
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
		o.t.Fatal(err)
	}
	return openConn{"a keep-alive connection of " + name, use}
}

// open fails the test unless all connections are.
func (o *connections) open(conns ...openConn) {
	o.t.Helper()
	for _, c := range conns {
		if err := c.use(); err != nil {
			o.t.Errorf("%s: %v", c.what, err)
		}
	}
}
