package xds

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"relay/certs/certstest"
	"relay/internal/guard"
)

const askMethod, otherMethod = "/relay.test.Asks/Ask", "/relay.test.Asks/Other"

// asks has a method of which Envoys have a stream for each request. It holds each until its client
// leaves. The message is the node.
type asks struct {
	server *Server
	held   atomic.Int64
}

func (a *asks) register(s *Server) {
	a.server = s
	s.PerRequest = []string{askMethod}
	s.Services = func(g grpc.ServiceRegistrar) {
		hold := func(_ any, g grpc.ServerStream) error { <-g.Context().Done(); return nil }
		g.RegisterService(&grpc.ServiceDesc{ServiceName: "relay.test.Asks", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
			{StreamName: "Ask", Handler: a.ask, ServerStreams: true, ClientStreams: true},
			{StreamName: "Other", Handler: hold, ServerStreams: true, ClientStreams: true},
		}}, a)
	}
}

func (a *asks) ask(_ any, g grpc.ServerStream) error {
	done, err := a.server.AdmitRequest(g.Context(), func() (*corev3.Node, error) {
		node := new(corev3.Node)
		return node, g.RecvMsg(node)
	})
	if err != nil {
		return err
	}
	defer done()
	a.held.Add(1)
	defer a.held.Add(-1)
	_ = g.SendHeader(metadata.MD{})
	<-g.Context().Done()
	return nil
}

// open opens a stream of a method, sends a node unless it is nil, and returns what it ends with. Its
// error is nil if it is held.
func open(ctx context.Context, conn *grpc.ClientConn, method string, node *corev3.Node) (grpc.ClientStream, error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return nil, err
	}
	if node != nil {
		_ = stream.SendMsg(node) // how it ended says RecvMsg
	}
	if md, err := stream.Header(); err != nil || md == nil {
		return nil, stream.RecvMsg(new(emptypb.Empty))
	}
	return stream, nil
}

func dialTest(t *testing.T, address string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (a *asks) waitHeld(t *testing.T, want int64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); a.held.Load() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d are held, want %d", a.held.Load(), want)
		}
	}
}

var edgeNode = &corev3.Node{Id: "envoy-1", Cluster: "edge"}

// Thousands of requests are held on one connection, and take no place of an Envoy's other streams,
// of which there still are few.
func TestStreamsPerRequest(t *testing.T) {
	t.Parallel()
	var a asks
	f := startServer(t, slog.DiscardHandler, a.register)
	conn := dialTest(t, f.address, insecure.NewCredentials())
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 3000 {
		if _, err := open(ctx, conn, askMethod, edgeNode); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	a.waitHeld(t, 3000)
	refused := make(chan error)
	for range f.server.Limits.ConnectionStreams + 1 {
		go func() {
			_, err := open(ctx, conn, otherMethod, nil)
			refused <- err
		}()
	}
	if err := <-refused; status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one stream too many: %v", err)
	}
	cancel()
	for range f.server.Limits.ConnectionStreams {
		if err := <-refused; status.Code(err) != codes.Canceled {
			t.Errorf("another stream: %v", err)
		}
	}
	a.waitHeld(t, 0)
	// Their places are free again.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		f.server.conns.mu.Lock()
		lasting := 0
		for _, c := range f.server.conns.conns {
			c.mu.Lock()
			lasting += c.lasting
			c.mu.Unlock()
		}
		f.server.conns.mu.Unlock()
		if lasting == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d streams keep their place", lasting)
		}
	}
}

// A connection on which a request is held is in use: it is not closed as one that is idle.
func TestHeldRequestsKeepTheirConnection(t *testing.T) {
	t.Parallel()
	var a asks
	f := startServer(t, slog.DiscardHandler, func(s *Server) {
		a.register(s)
		s.Limits.IdlePerAddress = 4
	})
	conn := dialTest(t, f.address, insecure.NewCredentials())
	stream, err := open(t.Context(), conn, askMethod, edgeNode)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		idle, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = idle.Close() })
	}
	if _, err := open(t.Context(), conn, askMethod, edgeNode); err != nil || stream.Context().Err() != nil {
		t.Errorf("the connection was closed: %v", err)
	}
	a.waitHeld(t, 2)
}

// What holds for an Envoy's other streams holds for these.
func TestAccessOfStreamsPerRequest(t *testing.T) {
	t.Parallel()
	var a asks
	s := secure(t, func(*Limits) {}, a.register)
	for name, tt := range map[string]struct {
		cert, fleet string
		send        bool
		want        codes.Code
	}{
		"its own fleet": {"good.test", "edge", true, codes.OK},
		"another fleet": {"core.test", "edge", true, codes.PermissionDenied},
		"no such fleet": {"good.test", "unknown", true, codes.InvalidArgument},
		"no fleet":      {"good.test", "", true, codes.InvalidArgument},
		"of no fleet":   {"other.test", "edge", false, codes.PermissionDenied}, // before it says anything
		"a long name":   {"good.test", string(make([]byte, maxNode+1)), true, codes.InvalidArgument},
	} {
		conn := dialTest(t, s.address, credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, tt.cert)))
		var node *corev3.Node
		if tt.send {
			node = &corev3.Node{Id: "envoy-1", Cluster: tt.fleet}
		}
		if _, err := open(t.Context(), conn, askMethod, node); status.Code(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	a.waitHeld(t, 1)
	s.counts(guard.Access, 2)
}

// A stream that says nothing ends, and few of them are open.
func TestSilentStreamsPerRequest(t *testing.T) {
	t.Parallel()
	var a asks
	f := startServer(t, slog.DiscardHandler, func(s *Server) {
		a.register(s)
		s.Limits.StreamsPerAddress, s.Limits.FirstRequest = 3, silence
	})
	conn := dialTest(t, f.address, insecure.NewCredentials())
	ends := make(chan error, 4)
	for range 4 {
		go func() {
			_, err := open(t.Context(), conn, askMethod, nil)
			ends <- err
		}()
	}
	if err := <-ends; status.Code(err) != codes.Unavailable {
		t.Errorf("one too many: %v", err)
	}
	for range 3 {
		if err := <-ends; status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("a silent one: %v", err)
		}
	}
	if _, err := open(t.Context(), conn, askMethod, edgeNode); err != nil {
		t.Error(err)
	}
}

// A large message gives its memory back before its request is held.
func TestLargeMessagesPerRequest(t *testing.T) {
	t.Parallel()
	var a asks
	f := startServer(t, slog.DiscardHandler, a.register)
	conn := dialTest(t, f.address, insecure.NewCredentials())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range 6 {
		node := &corev3.Node{Id: "envoy-1", Cluster: "edge", UserAgentName: fmt.Sprint(string(make([]byte, 5<<20)), i)}
		if _, err := open(ctx, conn, askMethod, node); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
}
