package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/certs/certstest"
)

// markedTasks are tasks of apps, each at a port of its own, that answer whatever they are asked with their number: by
// HTTP/1, HTTP/2 and Redis, with TLS and the PROXY protocol or without. None says who a client is: asked as an app
// that signs people on, it answers 401.
type markedTasks struct {
	ports       []int
	certificate tls.Certificate
	server      *http.Server
	ready       chan net.Conn
	ended       chan struct{}
	conns       sync.Map // net.Conn of all that are open
}

type markKey struct{}

// markOf is what an answer of a task has in it.
func markOf(task int) string { return fmt.Sprintf("[task %d]", task) }

// markIn returns the task that an answer is of, or -1.
func markIn(answer string) int {
	_, rest, found := strings.Cut(answer, "[task ")
	number, _, ended := strings.Cut(rest, "]")
	task, err := strconv.Atoi(number)
	if !found || !ended || err != nil {
		return -1
	}
	return task
}

// startMarkedTasks starts n tasks.
func startMarkedTasks(t *testing.T, ca *certstest.CA, n int) *markedTasks {
	t.Helper()
	issued := ca.TestIssue(t, []string{"task.test"}, certstest.Options{})
	m := &markedTasks{ready: make(chan net.Conn), ended: make(chan struct{})}
	var err error
	if m.certificate, err = tls.X509KeyPair(issued.Bundle(), issued.Bundle()); err != nil {
		t.Fatal(err)
	}
	m.server = &http.Server{
		Handler: m, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: patience,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, markKey{}, c.(*readConn).task)
		},
	}
	m.server.Protocols.SetHTTP1(true)
	m.server.Protocols.SetUnencryptedHTTP2(true)
	var group sync.WaitGroup
	group.Go(func() { _ = m.server.Serve(m) })
	t.Cleanup(group.Wait)
	t.Cleanup(func() {
		close(m.ended)
		_ = m.server.Close()
		m.conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
	})
	for task := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		m.ports = append(m.ports, l.Addr().(*net.TCPAddr).Port)
		group.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				m.conns.Store(conn, nil)
				group.Go(func() {
					if !m.serve(&readConn{Conn: conn, r: bufio.NewReader(conn), task: task, closed: func() { m.conns.Delete(conn) }}) {
						m.conns.Delete(conn)
						_ = conn.Close()
					}
				})
			}
		})
	}
	return m
}

// readConn is a connection of which the beginning was looked at.
type readConn struct {
	net.Conn
	r      *bufio.Reader
	task   int
	closed func()
}

func (c *readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c *readConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// serve answers on a connection by what it begins with. It reports whether the server of HTTP has it.
func (m *markedTasks) serve(c *readConn) bool {
	for {
		first, err := c.r.Peek(1)
		if err != nil {
			return false
		}
		switch first[0] {
		case 0x16:
			inner := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{m.certificate}})
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			err := inner.HandshakeContext(ctx)
			cancel()
			if err != nil {
				return false
			}
			c = &readConn{Conn: inner, r: bufio.NewReader(inner), task: c.task, closed: c.closed}
		case '*':
			return answerRedis(c)
		case '\r':
			header, err := c.r.Peek(16)
			if err != nil {
				return false
			}
			if _, err := c.r.Discard(16 + int(header[14])<<8 + int(header[15])); err != nil {
				return false
			}
		default:
			if start, err := c.r.Peek(6); err == nil && bytes.Equal(start, []byte("PROXY ")) {
				if _, err := c.r.ReadString('\n'); err != nil {
					return false
				}
				continue
			}
			select {
			case m.ready <- c:
				return true
			case <-m.ended:
				return false
			}
		}
	}
}

// answerRedis answers each command with the task's number.
func answerRedis(c *readConn) bool {
	for {
		line, err := c.r.ReadString('\n')
		words, bad := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "*")))
		if err != nil || bad != nil {
			return false
		}
		for range 2 * words {
			if _, err := c.r.ReadString('\n'); err != nil {
				return false
			}
		}
		if _, err := fmt.Fprintf(c, "+%s\r\n", markOf(c.task)); err != nil {
			return false
		}
	}
}

func (m *markedTasks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Forwarded-Uri") != "" || r.Header.Get("X-Forwarded-Method") != "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = io.WriteString(w, markOf(r.Context().Value(markKey{}).(int)))
}

// Accept, Close and Addr make it the listener of the server of HTTP.
func (m *markedTasks) Accept() (net.Conn, error) {
	select {
	case c := <-m.ready:
		return c, nil
	case <-m.ended:
		return nil, net.ErrClosed
	}
}

func (m *markedTasks) Close() error { return nil }

func (m *markedTasks) Addr() net.Addr { return &net.TCPAddr{} }

// strangers are clients that have no credentials of any kind.
type strangers struct {
	http, https *http.Client
	tls         *tls.Config
}

// strangerPatience is how long a stranger waits for an answer.
const strangerPatience = 2 * time.Second

func newStrangers(t *testing.T, c *clients) *strangers {
	s := &strangers{tls: &tls.Config{InsecureSkipVerify: true}}
	of := func(address string) *http.Client {
		transport := &http.Transport{
			TLSClientConfig: s.tls, MaxIdleConnsPerHost: 1, MaxIdleConns: 200, IdleConnTimeout: time.Second,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			},
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: strangerPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	s.http, s.https = of(c.http), of(c.https)
	return s
}

// ask sends a request, and returns the status and the task that answered, or -1.
func (s *strangers) ask(scheme, host, path string) (status, task int, err error) {
	req, err := http.NewRequest(http.MethodGet, scheme+"://"+strings.TrimSuffix(strings.ToLower(host), ".")+path, nil)
	if err != nil {
		return 0, -1, err
	}
	req.Host = host
	client := s.http
	if scheme == "https" {
		client = s.https
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, -1, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 10_000))
	return resp.StatusCode, markIn(string(body)), err
}

// connect opens a connection, asks by HTTP or Redis, and returns the task that answered, or -1. A server name has it
// be by TLS.
func (s *strangers) connect(address, serverName, question string) (task int) {
	conn, err := net.DialTimeout("tcp", address, strangerPatience)
	if err != nil {
		return -1
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(strangerPatience))
	if serverName != "" {
		config := s.tls.Clone()
		config.ServerName = serverName
		conn = tls.Client(conn, config)
	}
	if _, err := io.WriteString(conn, question); err != nil {
		return -1
	}
	var answer []byte
	for part := make([]byte, 1000); markIn(string(answer)) < 0; {
		n, err := conn.Read(part)
		answer = append(answer, part[:n]...)
		if err != nil || len(answer) > 10_000 || bytes.HasPrefix(answer, []byte("-")) {
			break
		}
	}
	return markIn(string(answer))
}
