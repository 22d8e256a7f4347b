package e2e

import (
	"bufio"
	"crypto/tls"
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

// tcpClients are those of TCP services, and the services.
type tcpClients struct{ t *testing.T }

// lines is a TCP service: it speaks first, then repeats each line after its
// name.
func (c *tcpClients) lines(name string, config *tls.Config) (address string) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
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
	c.t.Cleanup(func() {
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

// dial opens a connection and says what comes first; from may be nil.
func (c *tcpClients) dial(address string, from net.IP, first string) (lineConn, error) {
	dialer := net.Dialer{Timeout: patience}
	if from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	conn, err := dialer.DialContext(c.t.Context(), "tcp", address)
	if err != nil {
		return lineConn{}, err
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, first)
	return lineConn{conn, bufio.NewReader(conn)}, err
}

// greeted connects until a service of this name answers.
func (c *tcpClients) greeted(address, name string) lineConn {
	c.t.Helper()
	var conn lineConn
	eventually(c.t, "service "+name+" at "+address, func() error {
		var err error
		if conn, err = c.dial(address, nil, ""); err != nil {
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
func (c *tcpClients) refused(address string) {
	c.t.Helper()
	eventually(c.t, "nothing at "+address, func() error {
		conn, err := c.dial(address, nil, "")
		if err == nil {
			_ = conn.Close()
			return errors.New("something listens")
		}
		return nil
	})
}

func (c *tcpClients) port() (port, address string) {
	port = fmt.Sprint(envoytest.FreePort(c.t))
	return port, net.JoinHostPort("127.0.0.1", port)
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
