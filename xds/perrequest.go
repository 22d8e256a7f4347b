package xds

import (
	"context"
	"net"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/internal/guard"
)

// AdmitRequest is Admit for a method of PerRequest: an Envoy opens such a stream for a request of
// one of its clients, so there are thousands. Nothing is held of the first message when it
// returns. The service has to limit how many streams it keeps. Done is to be called at the end of
// the stream. The error is logged, and goes to the client.
func (s *Server) AdmitRequest(ctx context.Context, first func() (*corev3.Node, error)) (done func(), err error) {
	if err := s.refuseUnauthorized(ctx); err != nil {
		return nil, err
	}
	remote := remoteAddress(ctx)
	host, _, _ := net.SplitHostPort(remote)
	if !s.opening.add(host, s.Limits) {
		return nil, s.refuse(ctx, guard.TooMany, nil, status.Errorf(codes.Unavailable,
			"more than %d streams are being opened, or %d from there", s.Limits.Streams, s.Limits.StreamsPerAddress))
	}
	defer s.opening.remove(host)
	conn, leave := s.conns.ofStream(remote)
	node, err := s.firstNode(ctx, conn, first)
	if stream, ok := ctx.Value(reportStreamKey{}).(*reportStream); ok {
		stream.release(false)
	}
	if err == nil {
		_, err = s.storeFor(ctx, node)
	}
	if err != nil {
		leave()
		return nil, err
	}
	unused := s.connections.Use(remote)
	return func() {
		unused()
		leave()
	}, nil
}

// joinConnection counts a stream on its connection, until left is called: with PerRequest, HTTP/2
// allows a connection far more streams than an Envoy needs of all others.
func (s *Server) joinConnection(ctx context.Context, method string) (left func(), err error) {
	if len(s.PerRequest) == 0 || slices.Contains(s.PerRequest, method) {
		return func() {}, nil
	}
	left, ok := s.conns.joinLasting(remoteAddress(ctx), int(s.Limits.ConnectionStreams))
	if !ok {
		return nil, s.refuse(ctx, guard.TooMany, nil, status.Errorf(codes.ResourceExhausted,
			"more than %d streams on a connection", s.Limits.ConnectionStreams))
	}
	return left, nil
}

// joinLasting counts a stream on the connection of a remote address, if it is one of not too
// many, until left is called.
func (all *envoyConns) joinLasting(remote string, limit int) (left func(), ok bool) {
	all.mu.Lock()
	c := all.conns[remote]
	all.mu.Unlock()
	if c == nil {
		return func() {}, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lasting >= limit {
		return nil, false
	}
	c.lasting++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lasting--
	}, true
}

// streamsPerConnection is how many streams HTTP/2 allows a connection.
func (s *Server) streamsPerConnection() uint32 {
	if len(s.PerRequest) == 0 {
		return s.Limits.ConnectionStreams
	}
	return s.Limits.ConnectionRequests
}
