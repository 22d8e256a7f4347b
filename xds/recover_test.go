package xds

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/internal/logtest"
	"relay/xds/xdstest"
)

// fragile is a server that panics for the name bad.test, and for whoever comes
// while it is broken; good is an Envoy that was there before.
type fragile struct {
	*fixture
	log    *logtest.Buffer
	good   *xdstest.Client
	broken atomic.Bool
}

func newFragile(t *testing.T) *fragile {
	t.Helper()
	t.Parallel()
	f := &fragile{log: new(logtest.Buffer)}
	f.fixture = startServer(t, slog.NewTextHandler(f.log, nil), func(s *Server) {
		s.Authorize = func(*peer.Peer, string) error {
			if f.broken.Load() {
				panic("no such rule")
			}
			return nil
		}
	})
	f.store.Open()
	resolve := resolveTo("vault/a", "a.test")
	f.store.Apply(Change{Set: []Resource{f.secret("vault/a", "1")}, Resolve: func(name string) (string, bool, bool) {
		if name == "bad.test" {
			panic("no such name")
		}
		return resolve(name)
	}})
	f.good = f.connect()
	f.good.Subscribe(secrets, "a.test")
	f.good.Ack(f.good.Expect(secrets, []string{"a.test"}))
	return f
}

// panics returns how many are counted.
func (f *fixture) panics() (n int) {
	families, err := f.metrics.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "relay_xds_panics_total" {
			n = int(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return n
}

// goesOn checks that the stream that was there, a new one and the store are none
// the worse, and that each panic was counted and logged with its stack, once.
func (f *fragile) goesOn(panics int, where string) {
	f.t.Helper()
	f.store.Apply(Change{Set: []Resource{f.secret("vault/a", "renewed")}})
	f.good.Ack(f.good.Expect(secrets, []string{"a.test"}))
	c := f.connect()
	c.Subscribe(secrets, "b.a.test")
	c.Ack(c.Expect(secrets, []string{"b.a.test"}))
	if n := f.panics(); n != panics {
		f.t.Errorf("%d panics are counted, want %d", n, panics)
	}
	lines := f.log.Lines("recovered from a panic")
	if len(lines) != panics || !strings.Contains(strings.Join(lines, ""), where) {
		f.t.Errorf("logged %q, want %d lines with a stack that has %s", lines, panics, where)
	}
}

func wantInternal(t *testing.T, err error) {
	t.Helper()
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "a bug in Relay") {
		t.Errorf("the stream ended by %v, want codes.Internal and nothing of the cause", err)
	}
}

// A Resolver is called with the store locked.
func TestResolverPanics(t *testing.T) {
	f := newFragile(t)
	c := f.connect()
	c.Subscribe(secrets, "bad.test")
	wantInternal(t, c.End())
	f.goesOn(1, "(*table).resolveAlias")
}

// A change that panics in the middle is sent as far as it was made, and the next
// one is whole.
func TestApplyPanics(t *testing.T) {
	f := newFragile(t)
	c := f.connect()
	c.Subscribe(clusters)
	c.Ack(c.Expect(clusters, nil))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Apply did not panic")
			}
		}()
		f.store.Apply(Change{
			Set:     []Resource{testResource(t, Cluster, "new", "1")},
			Resolve: func(string) (string, bool, bool) { panic("no such name") },
		})
	}()
	c.Ack(c.Expect(clusters, []string{"new"}))
	f.store.Apply(Change{Set: []Resource{testResource(t, Cluster, "next", "1")}, Resolve: resolveTo("vault/a", "a.test")})
	c.Ack(c.Expect(clusters, []string{"next"}))
	f.goesOn(0, "")
}

func TestHandlerPanics(t *testing.T) {
	f := newFragile(t)
	f.broken.Store(true)
	for range 2 {
		c := f.connect()
		c.Subscribe(clusters)
		wantInternal(t, c.End())
	}
	f.broken.Store(false)
	f.goesOn(2, "(*Server).refuseUnauthorized")
	if n := len(f.server.Streams()); n != 2 {
		t.Errorf("%d streams are left, want the 2 good ones", n)
	}
}

// fakeStream is a stream whose messages cannot be received; the first ones can.
type fakeStream struct {
	grpc.ServerStream
	ctx   context.Context
	first int
}

func (s *fakeStream) Context() context.Context     { return s.ctx }
func (s *fakeStream) SendMsg(any) error            { return nil }
func (s *fakeStream) SetHeader(metadata.MD) error  { return nil }
func (s *fakeStream) SendHeader(metadata.MD) error { return nil }
func (s *fakeStream) RecvMsg(m any) error {
	if s.first--; s.first < 0 {
		panic("no such message")
	}
	req := m.(*request)
	req.TypeUrl, req.Node = clusters, &corev3.Node{Id: "bad", Cluster: "edge"}
	return nil
}

// Messages are received by goroutines of their own.
func TestReceivePanics(t *testing.T) {
	f := newFragile(t)
	ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}})
	for first := range 2 {
		g := &fakeStream{ctx: ctx, first: first}
		err := f.server.interceptor(nil, g, &grpc.StreamServerInfo{}, func(_ any, g grpc.ServerStream) error {
			return f.server.DeltaAggregatedResources(&grpc.GenericServerStream[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]{ServerStream: g})
		})
		wantInternal(t, err)
	}
	f.goesOn(2, "RecvMsg")
}

// A stalled stream is closed by a timer.
func TestStalledPanics(t *testing.T) {
	f := newFragile(t)
	f.server.catching(t.Context(), func() { panic("no such connection") })()
	f.goesOn(1, "TestStalledPanics")
}

func TestHandshakePanics(t *testing.T) {
	t.Parallel()
	s := secure(t, func(*Limits) {})
	bad := s.client(t, s.ca, certstest.Options{}, "good.test")
	bad.ServerName = "bad.test"
	conn, err := tls.Dial("tcp", s.address, bad)
	if err == nil {
		_ = conn.Close()
		t.Error("the handshake was made")
	}
	s.another(t)
	if n := s.panics(); n != 1 {
		t.Errorf("%d panics are counted, want 1", n)
	}
}

// Whoever can cause a panic cannot fill the log.
func TestPanicsDoNotFillTheLog(t *testing.T) {
	f := newFragile(t)
	for range 100 {
		_ = f.server.interceptor(nil, &fakeStream{ctx: t.Context()}, &grpc.StreamServerInfo{}, func(any, grpc.ServerStream) error { panic("again") })
	}
	if n := f.panics(); n != 100 {
		t.Errorf("%d panics are counted, want 100", n)
	}
	if n := len(f.log.Lines("recovered from a panic")); n == 0 || n > 11 {
		t.Errorf("%d stacks are logged", n)
	}
}
