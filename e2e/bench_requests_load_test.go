package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// benchClients is how many clients send requests at the same time, each the next one
	// once it was answered.
	benchClients = 16
	benchDomain  = "app.test"
	benchBody    = "Hello."
)

// benchRequest is about what browsers send.
const benchRequest = "GET /shop/cart?item=17 HTTP/1.1\r\nHost: " + benchDomain + "\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\nCookie: session=4b1f2c9e7d; theme=dark\r\n\r\n"

// startBenchBackend is an app that answers every request alike, and costs next to nothing.
func startBenchBackend(b *testing.B) (address string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { answerAll(ctx, conn) })
		}
	})
	b.Cleanup(func() {
		cancel()
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// answerAll answers the requests on a connection until either end closes it.
func answerAll(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(benchBody), benchBody)
	buffer := make([]byte, 4<<10)
	for {
		if _, err := readTo(conn, buffer, "\r\n\r\n"); err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// readTo reads until what came ends with end.
func readTo(conn net.Conn, buffer []byte, end string) (string, error) {
	for n := 0; n < len(buffer); {
		more, err := conn.Read(buffer[n:])
		n += more
		if n >= len(end) && string(buffer[n-len(end):n]) == end {
			return string(buffer[:n]), nil
		}
		if err != nil {
			return "", fmt.Errorf("after %q: %w", buffer[:n], err)
		}
	}
	return "", fmt.Errorf("%q does not end", buffer)
}

// benchLoad is one kind of requests.
type benchLoad struct {
	name string
	// requests are sent in one turn: few, so that some turns meet nothing else on the machine.
	requests int
	// tls is nil for plain HTTP.
	tls *tls.Config
	// connect has each request come on a connection of its own.
	connect bool
	// resumed is what each handshake must be.
	resumed bool
	// host is asked for in place of benchDomain, unless it is empty.
	host string
}

// benchLoads are all kinds. TLS is 1.3 with X25519, which all proxies know.
func benchLoads() []benchLoad {
	handshake := &tls.Config{
		ServerName: benchDomain, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
	}
	return []benchLoad{
		{name: "http", requests: 800},
		{name: "http-connect", requests: 320, connect: true},
		{name: "https", requests: 800, tls: handshake},
		{name: "https-connect", requests: 80, tls: handshake, connect: true},
		{name: "https-resume", requests: 80, tls: handshake, connect: true, resumed: true},
	}
}

// benchClient sends one request after the other.
type benchClient struct {
	load    benchLoad
	address string
	conn    net.Conn
	buffer  []byte
}

// clients returns clients of a proxy. Each has had an answer, so all is there that the
// first request needs: connections, sessions to resume.
func (l benchLoad) clients(address string) ([]*benchClient, error) {
	var clients []*benchClient
	for range benchClients {
		own := l
		if l.tls != nil {
			own.tls = l.tls.Clone()
			if l.resumed {
				own.tls.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
		}
		own.resumed = false // not yet
		c := &benchClient{load: own, address: address, buffer: make([]byte, 4<<10)}
		clients = append(clients, c)
		if err := c.ask(); err != nil {
			return clients, err
		}
		c.load.resumed = l.resumed
	}
	return clients, nil
}

// send sends a number of requests in all.
func send(clients []*benchClient, requests int) error {
	errs := make([]error, len(clients))
	var sending sync.WaitGroup
	for i, c := range clients {
		sending.Go(func() {
			for range requests / len(clients) {
				if errs[i] = c.ask(); errs[i] != nil {
					return
				}
			}
		})
	}
	sending.Wait()
	return errors.Join(errs...)
}

func (c *benchClient) ask() error {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write([]byte(strings.Replace(benchRequest, benchDomain, cmp.Or(c.load.host, benchDomain), 1))); err != nil {
		return err
	}
	answer, err := readTo(c.conn, c.buffer, "\r\n\r\n"+benchBody)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		return errors.New(answer)
	}
	if c.load.connect {
		c.close()
	}
	return nil
}

func (c *benchClient) dial() (err error) {
	if c.conn, err = net.DialTimeout("tcp", c.address, patience); err != nil || c.load.tls == nil {
		return err
	}
	_ = c.conn.SetDeadline(time.Now().Add(time.Minute))
	secured := tls.Client(c.conn, c.load.tls)
	c.conn = secured
	if err := secured.Handshake(); err != nil {
		return err
	}
	if resumed := secured.ConnectionState().DidResume; resumed != c.load.resumed {
		return fmt.Errorf("%s: resumed is %t, want %t", c.address, resumed, c.load.resumed)
	}
	return nil
}

func (c *benchClient) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}
