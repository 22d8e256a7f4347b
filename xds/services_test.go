package xds

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	lrsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
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

// openReports opens a stream of another service, and returns how it ends after each message.
func openReports(t *testing.T, f *fixture) (send func() error) {
	t.Helper()
	conn, err := grpc.NewClient(f.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	stream, err := lrsv3.NewLoadReportingServiceClient(conn).StreamLoadStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		if err := stream.Send(&lrsv3.LoadStatsRequest{Node: &corev3.Node{Id: "envoy-1", Cluster: "edge"}}); err != nil {
			_, err = stream.Recv()
			return err
		}
		return nil
	}
}

// admittedService takes messages of who is admitted.
type admittedService struct {
	lrsv3.UnimplementedLoadReportingServiceServer
	server *Server
}

// StreamLoadStats receives.
func (a *admittedService) StreamLoadStats(g lrsv3.LoadReportingService_StreamLoadStatsServer) error {
	handled, done, err := a.server.Admit(g.Context(), func() (*corev3.Node, error) {
		m, err := g.Recv()
		return m.GetNode(), err
	})
	if err != nil {
		return err
	}
	defer done()
	for {
		handled()
		if _, err := g.Recv(); err != nil {
			return err
		}
	}
}

// serveAdmitted serves admittedService.
func serveAdmitted(t *testing.T, change func(*Server)) *fixture {
	t.Helper()
	t.Parallel()
	service := new(admittedService)
	return startServer(t, slog.DiscardHandler, func(s *Server) {
		change(s)
		service.server = s
		s.Services = func(g grpc.ServiceRegistrar) { lrsv3.RegisterLoadReportingServiceServer(g, service) }
	})
}

// until sends until that is refused.
func until(t *testing.T, what string, send func() error, refused func(error) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := send(); err != nil {
			if !refused(err) {
				t.Errorf("%s: %v", what, err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: it is not refused", what)
		}
	}
}

// Who may not have its fleet any more, such as an Envoy whose certificate has expired, may not
// report either.
func TestReportersAreCheckedAgain(t *testing.T) {
	var expired atomic.Bool
	f := serveAdmitted(t, func(s *Server) {
		s.Limits.Stall = time.Second
		s.Authorize = func(*peer.Peer, string) error {
			if expired.Load() {
				return errors.New("its certificate has expired")
			}
			return nil
		}
	})
	send := openReports(t, f)
	if err := send(); err != nil {
		t.Fatal(err)
	}
	eventuallyReport(t, f, 1)
	expired.Store(true)
	until(t, "an expired certificate", send, func(err error) bool {
		return status.Code(err) == codes.PermissionDenied || status.Code(err) == codes.Unavailable
	})
}

// One host takes no more streams than one host may have, and gives them back.
func TestReportersOfOneHostAreBounded(t *testing.T) {
	f := serveAdmitted(t, func(s *Server) { s.Limits.StreamsPerAddress = 3 })
	for range 3 {
		if err := openReports(t, f)(); err != nil {
			t.Fatal(err)
		}
	}
	eventuallyReport(t, f, 3)
	until(t, "one stream more", openReports(t, f), func(err error) bool { return status.Code(err) == codes.ResourceExhausted })
	if !f.server.others.add("192.0.2.1", f.server.Limits) {
		t.Error("a stream of another host is refused")
	}
	f.server.others.remove("192.0.2.1")
}

func eventuallyReport(t *testing.T, f *fixture, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		f.server.others.mu.Lock()
		n := f.server.others.all
		f.server.others.mu.Unlock()
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d streams report, want %d", n, want)
		}
	}
}
