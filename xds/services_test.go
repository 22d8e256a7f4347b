package xds

import (
	"context"
	"log/slog"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"relay/xds/xdstest"
)

// reportService receives until the end.
type reportService struct {
	lrsv3.UnimplementedLoadReportingServiceServer
	server *Server
	got    chan int
}

// StreamLoadStats receives.
func (r *reportService) StreamLoadStats(g lrsv3.LoadReportingService_StreamLoadStatsServer) error {
	_, done, err := r.server.Admit(g.Context(), func() (*corev3.Node, error) {
		m, err := g.Recv()
		return m.GetNode(), err
	})
	if err != nil {
		return err
	}
	defer done()
	for n := 1; ; n++ {
		if n%2 == 0 {
			_, err = g.Recv()
		} else {
			m := new(rawReport)
			if err = g.RecvMsg(m); err == nil && m.size < 5<<20 {
				return status.Errorf(codes.InvalidArgument, "%d bytes", m.size)
			}
		}
		if err != nil {
			return err
		}
		select {
		case r.got <- n:
		case <-g.Context().Done():
			return nil
		}
	}
}

// rawReport is a message whose bytes are taken as they are.
type rawReport struct{ size int }

// TakeRaw counts them.
func (r *rawReport) TakeRaw(data mem.BufferSlice) { r.size = data.Len() }

// Size is how many there were.
func (r *rawReport) Size() int { return r.size }

// The memory that a large message of another service takes is given back when the service asks
// for the next: the messages of all Envoys come by the same budget.
func TestMessagesOfServicesGiveTheirMemoryBack(t *testing.T) {
	t.Parallel()
	service := &reportService{got: make(chan int)}
	f := startServer(t, slog.DiscardHandler, func(s *Server) {
		service.server = s
		s.Services = func(g grpc.ServiceRegistrar) { lrsv3.RegisterLoadReportingServiceServer(g, service) }
	})
	conn, err := grpc.NewClient(f.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := lrsv3.NewLoadReportingServiceClient(conn).StreamLoadStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	large := &lrsv3.LoadStatsRequest{Node: &corev3.Node{Id: "envoy-1", Cluster: "edge", UserAgentName: string(make([]byte, 5<<20))}}
	for n := range 6 {
		if err := stream.Send(large); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue // it is for Admit
		}
		select {
		case <-service.got:
		case <-ctx.Done():
			t.Fatalf("message %d is not received", n)
		}
	}
	taken := func() int {
		b := f.server.budget
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.promptBytes + b.slowBytes
	}
	for taken() > 0 {
		if ctx.Err() != nil {
			t.Fatalf("%d bytes are taken while nothing is received", taken())
		}
		time.Sleep(time.Millisecond)
	}
}

// A Relay knows which Envoys it serves, also if two have the same id.
func TestConnected(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a")
	connected := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); f.server.Connected("edge", "envoy-1") != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("connected is not %v", want)
			}
		}
	}
	connected(false)
	a, b := f.connect(), f.connect()
	for _, c := range []*xdstest.Client{a, b} {
		c.Subscribe(clusters)
		c.Next()
	}
	connected(true)
	if f.server.Connected("core", "envoy-1") || f.server.Connected("edge", "envoy-2") {
		t.Error("others are connected")
	}
	a.Close()
	_ = a.End()
	for len(f.server.Streams()) > 1 {
		time.Sleep(time.Millisecond)
	}
	connected(true)
	b.Close()
	connected(false)
}

// What is not there, or not any more, is told from what is.
func TestHas(t *testing.T) {
	t.Parallel()
	s := NewStore()
	has := func(want bool) {
		t.Helper()
		if s.Has(Cluster, "a") != want || s.Has(Listener, "a") {
			t.Errorf("has is not %v", want)
		}
	}
	has(false)
	s.intern(Cluster, []string{"a"})
	has(false)
	s.Apply(Change{Set: []Resource{testResource(t, Cluster, "a", "1")}})
	has(true)
	s.Apply(Change{Remove: []Key{{Cluster, "a"}}})
	has(false)
}
