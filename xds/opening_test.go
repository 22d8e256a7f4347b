package xds

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"relay/internal/guard"
)

var testTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// silentStream is a stream on which nothing comes.
type silentStream struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan any
}

func (s *silentStream) Context() context.Context                          { return s.ctx }
func (s *silentStream) Send(*discoveryv3.DeltaDiscoveryResponse) error    { panic("not used") }
func (s *silentStream) Recv() (*discoveryv3.DeltaDiscoveryRequest, error) { panic("not used") }
func (s *silentStream) SendMsg(m any) error                               { s.sent <- m; return nil }
func (s *silentStream) RecvMsg(any) error                                 { <-s.ctx.Done(); return s.ctx.Err() }

// A store may be opened at any moment after a first request was kept.
func TestOpeningIsNotMissed(t *testing.T) {
	t.Parallel()
	store := NewStore()
	store.Apply(Change{Set: []Resource{testResource(t, Cluster, "a", "1")}})
	s := NewServer(map[string]*Store{"edge": store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s.connections = guard.Listen(l, guard.Limits{PerAddress: 10, InAll: 10}, s.refusals)
	ctx, cancel := context.WithCancel(t.Context())
	g := &silentStream{ctx: ctx, sent: make(chan any, 10)}
	node := &corev3.Node{Id: "e", Cluster: "edge"}
	st, err := s.newStream(g, nil, node)
	if err != nil {
		t.Fatal(err)
	}
	// The request is kept, and the stream goes on once its pace allows it: the store is opened in
	// between.
	st.pace = rate.NewLimiter(rate.Every(200*time.Millisecond), 1)
	st.pace.Allow()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = st.run(ctx, encoded(t, &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: clusters}))
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		st.session.mu.Lock()
		kept := st.session.types[Cluster].kept != nil
		st.session.mu.Unlock()
		if kept {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the request is not kept")
		}
	}
	store.Open()
	select {
	case <-g.sent:
	case <-time.After(10 * time.Second):
		t.Error("the store is open, and the first request is not answered")
	}
	cancel()
	<-done
}

// A request that comes when its type has just been opened is the second one, not the
// first.
func TestSecondRequestAfterOpening(t *testing.T) {
	t.Parallel()
	store, clock := NewStore(), testTime
	setIn(t, store, Secret, "1", "a", "b")
	e := &script{t: t, session: newSession(store, new(envoyNode)), clock: &clock}
	e.subscribe(Secret, "a")
	store.Open()
	e.send(Secret, &discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{"b"}, ResourceNamesUnsubscribe: []string{"a"}})
	e.session.handleKept(clock)
	e.ack(e.expect(Secret, []string{"b"}))
	e.quiet()
}
