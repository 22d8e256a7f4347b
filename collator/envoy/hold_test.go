package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"relay/collator/routing"
	"relay/internal/ratelimit"
	"relay/sources"
	"relay/xds"
	"relay/xds/envoytest"
)

// heldApp is a service whose connections wait while it has no instance.
func heldApp(port uint16, hold time.Duration, tasks ...string) *sources.App {
	return changed(serviceApp("/shop/db", sources.TCP{Port: port, Hold: hold}), func(p *sources.Port) { p.Endpoints = endpoints(tasks...) })
}

// draining has all instances of an app drain.
func draining(app *sources.App) *sources.App {
	return changed(app, func(p *sources.Port) {
		for i := range p.Endpoints {
			p.Endpoints[i].Health = sources.Draining
		}
	})
}

// put has Envoy serve an app whose connections may be held, as it is now.
func (e *realEnvoy) put(t *testing.T, app *sources.App) {
	t.Helper()
	e.take(t, app, routing.HoldFilter)
}

// take has Envoy serve an app, with a filter for new connections.
func (e *realEnvoy) take(t *testing.T, app *sources.App, filter func(cluster string) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e.c.SyncApps([]*sources.App{app})
	if err := e.c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	cluster := routing.ClusterName(app.ID, 0)
	err := e.server.WaitAllAcknowledged(ctx, "external", []xds.Key{
		{Type: xds.Endpoint, Name: cluster}, {Type: xds.Cluster, Name: cluster}, {Type: xds.ExtensionConfig, Name: filter(cluster)},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// opened waits until Envoy listens on a port, and has done with the connection that saw it: else that might wait
// in place of one of the test.
func (e *realEnvoy) opened(t *testing.T, port uint16) {
	t.Helper()
	e.opens(t, port)
	e.until(t, "the first connection has ended", func() bool {
		listener := fmt.Sprintf("listener.127.0.0.1_%d.downstream_cx_", port)
		stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(listener)))
		return err == nil && stats[listener+"total"] > 0 && stats[listener+"active"] == 0
	})
}

// refusals is how many connections to instances of the app Envoy failed to open.
func (e *realEnvoy) refusals(t *testing.T) int64 {
	t.Helper()
	const stat = "cluster./shop/db_0.upstream_cx_connect_fail"
	stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(stat)+"$"))
	if err != nil {
		t.Fatal(err)
	}
	return stats[stat]
}

// New connections wait while there is no instance, whoever speaks first. Those that are open stay, and nothing
// of a listener changes. While there is an instance, Relay is not asked.
func TestConnectionsAreHeld(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			holds(t, startVersion(t, version, withoutHTTPS))
		})
	}
}

func holds(t *testing.T, e *realEnvoy) {
	port := envoytest.FreePort(t)
	echo, greets := e.redis(), e.greets()
	e.put(t, heldApp(port, time.Minute, echo))
	e.opened(t, port)
	open := dial(t, port)
	if got, err := lineOf(open, "first"); got != "first\n" {
		t.Fatalf("%q, %v", got, err)
	}
	taken := e.listenersTaken(t)
	if n := len(e.tcp.asked); n > 0 {
		t.Errorf("Relay is asked %d times though there is an instance", n)
	}

	e.put(t, draining(heldApp(port, 2*time.Minute, echo)))
	first, second, third := dial(t, port), dial(t, port), dial(t, port)
	held := []*waitingConn{e.tcp.next(t), e.tcp.next(t), e.tcp.next(t)}
	if w := held[0]; w.domain != ratelimit.HoldDomain || w.app != "/shop/db" || w.port != "0" || w.client != "127.0.0.1" || w.fleet != "external" || w.node != "envoy" {
		t.Errorf("asked with %+v", w)
	}
	if got, err := lineOf(open, "still"); got != "still\n" {
		t.Errorf("an open connection to an instance that drains: %q, %v", got, err)
	}
	e.put(t, heldApp(port, time.Minute))
	if got, err := lineOf(open, "gone"); got != "gone\n" {
		t.Errorf("an open connection to an instance that is not known any more: %q, %v", got, err)
	}
	e.put(t, heldApp(port, time.Minute, greets))
	held[0].answer <- ratelimitv3.RateLimitResponse_OK
	held[1].answer <- ratelimitv3.RateLimitResponse_OK
	held[2].answer <- ratelimitv3.RateLimitResponse_OVER_LIMIT
	ended, hello := 0, 0
	for _, conn := range []net.Conn{first, second, third} {
		switch got, err := lineOf(conn, ""); {
		case got == "hello\n":
			hello++
		case errors.Is(err, io.EOF):
			ended++
		default:
			t.Errorf("%q, %v", got, err)
		}
	}
	if hello != 2 || ended != 1 {
		t.Errorf("%d went on and %d were closed, of 3 of which one was refused", hello, ended)
	}
	if got, err := lineOf(dial(t, port), ""); got != "hello\n" || len(e.tcp.asked) > 0 {
		t.Errorf("with an instance: %q, %v, asked %d times", got, err, len(e.tcp.asked))
	}
	if now := e.listenersTaken(t); now != taken {
		t.Errorf("listeners were sent %d times", now-taken)
	}
}

// An Envoy that knows of no instance, and does not have connections wait yet, or any more, closes none: they go
// on to the next instance.
func TestConnectionsBetweenUpdates(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, withoutHTTPS)
		port, dead, greets := envoytest.FreePort(t), e.redis(), e.greets()
		app := heldApp(port, time.Minute, dead)
		e.put(t, app)
		e.opened(t, port)
		e.put(t, heldApp(port, time.Minute))
		conn := dial(t, port)
		// It is past the filter, as one that came before that.
		e.tcp.next(t).answer <- ratelimitv3.RateLimitResponse_OK
		e.until(t, "it is tried again and again", func() bool { return e.refusals(t) > 12 })
		e.put(t, heldApp(port, time.Minute, greets))
		if got, err := lineOf(conn, ""); got != "hello\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// An instance that has just died refuses connections before anybody knows. They are tried until it is back.
func TestRefusedConnectionsAreHeld(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	port, address := envoytest.FreePort(t), fmt.Sprint("127.0.0.1:", envoytest.FreePort(t))
	e.put(t, heldApp(port, time.Minute, address))
	e.opens(t, port)
	conn := dial(t, port)
	e.until(t, "it is refused", func() bool { return e.refusals(t) > 20 })
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello\n")
			_ = conn.Close()
		}
	}()
	if got, err := lineOf(conn, ""); got != "hello\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// Without an answer of Relay nothing can go on: connections are closed when they have waited for as long as the
// app says.
func TestHeldWithoutRelay(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	port := envoytest.FreePort(t)
	e.put(t, heldApp(port, 2*time.Second, e.redis()))
	e.opened(t, port)
	e.put(t, heldApp(port, 2*time.Second))
	e.tcp.mu.Lock()
	e.tcp.refuse = 1000
	e.tcp.mu.Unlock()
	began := time.Now()
	got, err := lineOf(dial(t, port), "")
	if took := time.Since(began); !errors.Is(err, io.EOF) || took < time.Second || took > 15*time.Second {
		t.Errorf("%q, %v after %s", got, err, took)
	}
}

// An Envoy gives up a connection that waits if its client resets it.
func TestHeldClientsLeave(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	port := envoytest.FreePort(t)
	e.put(t, heldApp(port, time.Minute, e.redis()))
	e.opened(t, port)
	e.put(t, heldApp(port, time.Minute))
	conn := dial(t, port).(*net.TCPConn)
	w := e.tcp.next(t)
	_ = conn.SetLinger(0)
	_ = conn.Close()
	select {
	case <-w.left:
	case <-time.After(patience):
		t.Error("a client that resets its connection keeps its place")
	}
}
