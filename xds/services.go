package xds

import (
	"context"
	"net"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"relay/internal/guard"
	"relay/internal/panics"
)

// Admit lets a client use another service of the port, one of Services, under the rules for
// Envoys: it must be of a fleet, send its first message soon, and be one of not too many.
// First waits for that message, and returns the node that it names. Handled gives back the memory
// of the last message, and is to be called before a wait: Envoys wait for that memory. Done is to be
// called at the end of the stream. The error is logged, and goes to the client.
func (s *Server) Admit(ctx context.Context, first func() (*corev3.Node, error)) (handled, done func(), err error) {
	if err := s.refuseUnauthorized(ctx); err != nil {
		return nil, nil, err
	}
	remote := remoteAddress(ctx)
	conn, leave := s.conns.ofStream(remote)
	node, err := s.firstNode(ctx, conn, first)
	if err == nil {
		_, err = s.storeFor(ctx, node)
	}
	host, _, _ := net.SplitHostPort(remote)
	if err == nil && !s.others.add(host, s.Limits) {
		err = s.refuse(ctx, guard.TooMany, node, status.Errorf(codes.ResourceExhausted,
			"more than %d streams report, or %d from there", s.Limits.Streams, s.Limits.StreamsPerAddress))
	}
	if err != nil {
		leave()
		return nil, nil, err
	}
	unused := s.connections.Use(remote)
	stream, ok := ctx.Value(reportStreamKey{}).(*reportStream)
	if !ok {
		stream = new(reportStream)
	}
	node = &corev3.Node{Id: node.GetId(), Cluster: node.GetCluster()} // it is large otherwise
	stream.admitted(func() error {
		_, err := s.storeFor(ctx, node)
		if err != nil {
			s.connections.CloseConn(remote) // another stream on it would show the same certificate
		}
		return err
	}, s.Limits.Stall/4)
	return func() { stream.release(false) }, func() {
		s.others.remove(host)
		unused()
		leave()
	}, nil
}

// hostCounts counts streams by the host that they are from.
type hostCounts struct {
	mu   sync.Mutex
	all  int
	from map[string]int
}

// add reports whether one more is allowed. So no host takes all places.
func (c *hostCounts) add(host string, limits Limits) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= limits.Streams || c.from[host] >= limits.StreamsPerAddress {
		return false
	}
	if c.from == nil {
		c.from = make(map[string]int)
	}
	c.all++
	c.from[host]++
	return true
}

func (c *hostCounts) remove(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.from[host]--; c.from[host] == 0 {
		delete(c.from, host)
	}
}

func (s *Server) firstNode(ctx context.Context, conn *envoyConn, first func() (*corev3.Node, error)) (node *corev3.Node, err error) {
	nodes := make(chan *corev3.Node, 1)
	err = firstRequest(ctx, s.Limits.FirstRequest, conn.waitingTime, func() error {
		return panics.Catch(func() error {
			node, err := first()
			nodes <- node
			return err
		})
	})
	if err != nil {
		return nil, s.ended(ctx, nil, err)
	}
	return <-nodes, nil
}

// reportStream is a stream of another service. What such a service receives takes memory of the
// budget until it says that it has handled it, or asks for the next message.
type reportStream struct {
	grpc.ServerStream
	conn *envoyConn

	mu   sync.Mutex
	last request
	done bool
	// check says whether the Envoy still may report; it is asked every so often.
	check   func() error
	every   time.Duration
	checked time.Time
}

// admitted sets what is checked from now on. The node may have said that it is of a fleet long ago.
func (s *reportStream) admitted(check func() error, every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check, s.every, s.checked = check, every, time.Now()
}

// checkAgain checks, if it is time to, whether a message may be taken.
func (s *reportStream) checkAgain() error {
	s.mu.Lock()
	check := s.check
	if check == nil || time.Since(s.checked) < s.every {
		s.mu.Unlock()
		return nil
	}
	s.checked = time.Now()
	s.mu.Unlock()
	return check()
}

// reportStreamKey is that of the reportStream in the context of a stream.
type reportStreamKey struct{}

// Context implements grpc.ServerStream.
func (s *reportStream) Context() context.Context {
	return context.WithValue(s.ServerStream.Context(), reportStreamKey{}, s)
}

// RecvMsg receives a message.
func (s *reportStream) RecvMsg(m any) error {
	s.release(false)
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	switch message := m.(type) {
	case rawMessage:
		s.take(message.Size())
	case proto.Message:
		s.take(proto.Size(message))
	}
	return s.checkAgain()
}

// take takes the reservation of a message that was received.
func (s *reportStream) take(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.last.size = size
		s.conn.assign(&s.last)
	}
}

// release gives back the memory of the last message.
func (s *reportStream) release(done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn.release(s.last.reservation)
	s.last, s.done = request{}, done
}
