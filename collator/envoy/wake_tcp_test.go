package envoy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	"relay/collator/routing"
	"relay/internal/questions"
	"relay/internal/ratelimit"
	"relay/sources"
	"relay/xds/envoytest"
)

// tcpWaker stands for what Relay asks when a connection waits. It answers when the test does.
type tcpWaker struct {
	ratelimitv3.UnimplementedRateLimitServiceServer

	mu     sync.Mutex
	refuse int // so many are told that another Relay is to be asked
	asked  chan *waitingConn
}

// waitingConn is a connection that waits.
type waitingConn struct {
	domain, app, port, client, fleet, node string
	answer                                 chan ratelimitv3.RateLimitResponse_Code
	left                                   chan struct{} // closed when Envoy gives it up
}

func newTCPWaker() *tcpWaker { return &tcpWaker{asked: make(chan *waitingConn, 1000)} }

// ShouldRateLimit implements Envoy's service.
func (w *tcpWaker) ShouldRateLimit(ctx context.Context, req *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	w.mu.Lock()
	refused := w.refuse > 0
	w.refuse--
	w.mu.Unlock()
	if refused {
		return nil, grpcstatus.Error(codes.Unavailable, "another Relay serves this Envoy")
	}
	conn := &waitingConn{domain: req.GetDomain(), answer: make(chan ratelimitv3.RateLimitResponse_Code, 1), left: make(chan struct{})}
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get(questions.FleetHeader); len(values) == 1 {
		conn.fleet = values[0]
	}
	for _, entry := range req.GetDescriptors()[0].GetEntries() {
		switch entry.GetKey() {
		case ratelimit.AppKey:
			conn.app = entry.GetValue()
		case ratelimit.PortKey:
			conn.port = entry.GetValue()
		case ratelimit.NodeKey:
			conn.node = entry.GetValue()
		case ratelimit.ClientKey:
			conn.client = entry.GetValue()
		}
	}
	w.asked <- conn
	select {
	case code := <-conn.answer:
		return &ratelimitv3.RateLimitResponse{OverallCode: code}, nil
	case <-ctx.Done():
		close(conn.left)
		return nil, ctx.Err()
	}
}

// next returns the next connection that waits.
func (w *tcpWaker) next(t *testing.T) *waitingConn {
	t.Helper()
	select {
	case conn := <-w.asked:
		return conn
	case <-time.After(patience):
		t.Fatal("Relay is not asked")
		return nil
	}
}

// redis is an instance of a service that answers what it is told.
func (e *realEnvoy) redis() (address string) {
	return e.instance(func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
}

// lineOf tells a service something, and returns what it says.
func lineOf(conn net.Conn, text string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if text != "" {
		if _, err := fmt.Fprintln(conn, text); err != nil {
			return "", err
		}
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func dial(t *testing.T, port uint16) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// opens waits until Envoy listens on a port.
func (e *realEnvoy) opens(t *testing.T, port uint16) {
	t.Helper()
	e.until(t, "the port is open", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// apply has Envoy serve one service that may sleep, as it is now.
func (e *realEnvoy) apply(t *testing.T, app *sources.App) {
	t.Helper()
	e.take(t, app, routing.WakeFilter)
}

// withoutTLS returns an instance that answers what is no TLS, and so says that the first bytes came, and a
// handshake with a service that passes TLS through to it.
func (e *realEnvoy) withoutTLS(t *testing.T) (instance string, handshake func() error) {
	instance = e.instance(func(conn *net.TCPConn) {
		_, _ = conn.Read(make([]byte, 1))
		_, _ = io.WriteString(conn, "hello\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	return instance, func() error {
		conn := dial(t, e.fleet.HTTPS.Port())
		_ = conn.SetDeadline(time.Now().Add(patience))
		return tls.Client(conn, &tls.Config{ServerName: "db.test"}).HandshakeContext(t.Context())
	}
}

// Connections to a service that sleeps wait, whoever speaks first, and go on when there is an instance.
// Those that are open stay when the service falls asleep or wakes: no listener changes.
func TestConnectionsWaitForServices(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, scaling)
		port := envoytest.FreePort(t)
		service := func(gated bool, tasks ...string) *sources.App {
			app := changed(serviceApp("/shop/db", sources.TCP{Port: port}), func(p *sources.Port) {
				p.Wake, p.Endpoints = sources.WakeAny, endpoints(tasks...)
			})
			app.Gated = gated
			return app
		}
		redis, greets := e.redis(), e.greets()
		e.apply(t, service(false, redis))
		e.opens(t, port)
		open := dial(t, port)
		if got, err := lineOf(open, "awake"); got != "awake\n" {
			t.Fatalf("%q, %v", got, err)
		}
		taken := e.listenersTaken(t)
		e.apply(t, service(true))

		var conns []net.Conn
		var waiting []*waitingConn
		for range 3 {
			conns = append(conns, dial(t, port))
			waiting = append(waiting, e.tcp.next(t))
		}
		if w := waiting[0]; w.domain != ratelimit.WakeDomain || w.app != "/shop/db" || w.port != "0" || w.client != "127.0.0.1" || w.fleet != "external" || w.node != "envoy" {
			t.Errorf("asked with %+v", w)
		}
		_, _ = fmt.Fprintln(conns[0], "early")
		e.apply(t, service(true, redis))
		for i, conn := range conns[:2] {
			waiting[i].answer <- ratelimitv3.RateLimitResponse_OK
			if got, err := lineOf(conn, map[int]string{1: "late"}[i]); got != []string{"early\n", "late\n"}[i] {
				t.Errorf("connection %d: %q, %v", i, got, err)
			}
		}
		waiting[2].answer <- ratelimitv3.RateLimitResponse_OVER_LIMIT
		if got, err := lineOf(conns[2], ""); !errors.Is(err, io.EOF) {
			t.Errorf("one that is refused: %q, %v", got, err)
		}
		e.apply(t, service(false, greets))
		if got, err := lineOf(dial(t, port), ""); got != "hello\n" {
			t.Errorf("awake: %q, %v", got, err)
		}
		if got, err := lineOf(open, "still"); got != "still\n" {
			t.Errorf("one that was open: %q, %v", got, err)
		}
		// A server that speaks first, and a Relay that serves another Envoy.
		e.apply(t, service(true))
		e.tcp.mu.Lock()
		e.tcp.refuse = 2
		e.tcp.mu.Unlock()
		silent := dial(t, port)
		w := e.tcp.next(t)
		e.apply(t, service(true, greets))
		w.answer <- ratelimitv3.RateLimitResponse_OK
		if got, err := lineOf(silent, ""); got != "hello\n" {
			t.Errorf("a server that speaks first: %q, %v", got, err)
		}
		if now := e.listenersTaken(t); now != taken {
			t.Errorf("listeners were sent %d times", now-taken)
		}
	})
}

// TLS that is passed through waits, too.
func TestPassedConnectionsWait(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, scaling)
	e.certificates("other.test")
	service := func(gated bool, tasks ...string) *sources.App {
		app := changed(serviceApp("/shop/db", sources.TCP{Passthrough: true}, "db.test"), func(p *sources.Port) {
			p.Wake, p.Endpoints = sources.WakeClientFirst, endpoints(tasks...)
		})
		app.Gated = gated
		return app
	}
	instance, handshake := e.withoutTLS(t)
	var noTLS tls.RecordHeaderError
	e.apply(t, service(false, instance))
	e.opens(t, e.fleet.HTTPS.Port())
	e.until(t, "TLS is passed through", func() bool { return errors.As(handshake(), &noTLS) })
	taken := e.listenersTaken(t)
	e.apply(t, service(true))
	done := make(chan error, 1)
	go func() { done <- handshake() }()
	w := e.tcp.next(t)
	e.apply(t, service(true, instance))
	if len(done) > 0 {
		t.Error("it does not wait")
	}
	w.answer <- ratelimitv3.RateLimitResponse_OK
	if err := <-done; !errors.As(err, &noTLS) {
		t.Errorf("it is not passed through: %v", err)
	}
	if now := e.listenersTaken(t); now != taken {
		t.Errorf("listeners were sent %d times", now-taken)
	}
}
