package xds

import (
	"context"
	"sync"

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
	if err == nil && s.others.Add(1) > int64(s.Limits.Streams) {
		s.others.Add(-1)
		err = s.refuse(ctx, guard.TooMany, node, status.Errorf(codes.ResourceExhausted, "more than %d streams report", s.Limits.Streams))
	}
	if err != nil {
		leave()
		return nil, nil, err
	}
	unused := s.connections.Use(remote)
	return func() { handledOn(ctx) }, func() {
		s.others.Add(-1)
		unused()
		leave()
	}, nil
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
}

// reportStreamKey is that of the reportStream in the context of a stream.
type reportStreamKey struct{}

// Context implements grpc.ServerStream.
func (s *reportStream) Context() context.Context {
	return context.WithValue(s.ServerStream.Context(), reportStreamKey{}, s)
}

func handledOn(ctx context.Context) {
	if s, ok := ctx.Value(reportStreamKey{}).(*reportStream); ok {
		s.release(false)
	}
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
	return nil
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
