package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/xds/xdstest"
)

// TestMain fails if a goroutine is left. Those of connections and streams that have ended get some time to end.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(20 * time.Second)
	left := goleak.Find()
	for left != nil && code == 0 && time.Now().Before(deadline) {
		left = goleak.Find()
	}
	if left != nil && code == 0 {
		fmt.Fprintln(os.Stderr, left)
		code = 1
	}
	os.Exit(code)
}

type fixture struct {
	t       *testing.T
	store   *Store
	server  *Server
	metrics *prometheus.Registry
	address string
}

// serve runs a server with one fleet, "edge", whose store is open.
func serve(t *testing.T) *fixture {
	t.Helper()
	f := closedFixture(t)
	f.store.Open()
	return f
}

func closedFixture(t *testing.T) *fixture {
	t.Helper()
	return limitedFixture(t, func(*Limits) {})
}

// serveAlone is serve while no other test runs.
func serveAlone(t *testing.T) *fixture {
	t.Helper()
	f := startServer(t, slog.DiscardHandler, func(*Server) {})
	f.store.Open()
	return f
}

func limitedFixture(t *testing.T, change func(*Limits)) *fixture {
	t.Helper()
	t.Parallel()
	return startServer(t, slog.DiscardHandler, func(s *Server) { change(&s.Limits) })
}

func startServer(t *testing.T, log slog.Handler, change func(*Server)) *fixture {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, store: NewStore(), metrics: prometheus.NewRegistry(), address: l.Addr().String()}
	f.server = NewServer(map[string]*Store{"edge": f.store, "core": NewStore()}, slog.New(log), f.metrics)
	change(f.server)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

func (f *fixture) connect() *xdstest.Client {
	return xdstest.Connect(f.t, f.address, "edge", "envoy-1")
}

func (f *fixture) set(t Type, content string, names ...string) {
	f.t.Helper()
	var c Change
	for _, name := range names {
		c.Set = append(c.Set, testResource(f.t, t, name, content))
	}
	f.store.Apply(c)
}

func (f *fixture) remove(t Type, names ...string) {
	var c Change
	for _, name := range names {
		c.Remove = append(c.Remove, Key{t, name})
	}
	f.store.Apply(c)
}

var (
	clusters  = Cluster.URL()
	endpoints = Endpoint.URL()
	secrets   = Secret.URL()
	listeners = Listener.URL()
	scopes    = Scope.URL()
)
