package xds

import (
	"context"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"relay/internal/panics"
)

// recovery is for panics that one client causes. They cost that client its stream, which ends
// with codes.Internal. Left to gRPC they would end the process.
type recovery struct {
	panics prometheus.Counter
	// stacks limits how many are logged: a client that causes a panic comes again and again.
	stacks *rate.Limiter
}

func newRecovery(registerer prometheus.Registerer) recovery {
	return recovery{
		panics: promauto.With(registerer).NewCounter(prometheus.CounterOpts{
			Name: "relay_xds_panics_total", Help: "Streams and handshakes that ended by a bug of Relay; the log has its stack.",
		}),
		stacks: rate.NewLimiter(rate.Every(time.Minute), 10),
	}
}

// interceptor is around every stream, also those of other services.
func (s *Server) interceptor(srv any, g grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	left, err := s.joinConnection(g.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer left()
	if srv != s {
		conn, done := s.conns.ofStream(remoteAddress(g.Context()))
		defer done()
		reports := &reportStream{ServerStream: g, conn: conn}
		defer reports.release(true)
		g = reports
	}
	return s.reportPanic(remoteAddress(g.Context()), panics.Catch(func() error { return handler(srv, g) }))
}

// reportPanic counts and logs an error that is a panic, and returns what the client is told. It
// returns any other error as it is.
func (s *Server) reportPanic(remote string, err error) error {
	if !panics.Is(err) {
		return err
	}
	s.recovery.panics.Inc()
	if s.recovery.stacks.Allow() {
		panics.Log(s.log, err, "address", remote)
	}
	return status.Error(codes.Internal, "a bug in Relay was hit: its log has the stack")
}

// catching returns f for a goroutine of its own: a panic in it is reported.
func (s *Server) catching(ctx context.Context, f func()) func() {
	return func() {
		_ = s.reportPanic(remoteAddress(ctx), panics.Catch(func() error { f(); return nil }))
	}
}

// receiveMsg is g.RecvMsg for a goroutine of its own. It returns a panic as an error, with which
// the stream is to end.
func receiveMsg(g grpc.ServerStream, req *request) error {
	return panics.Catch(func() error { return g.RecvMsg(req) })
}

// catchingHandshake makes an error of a panic in the handshake.
type catchingHandshake struct {
	credentials.TransportCredentials
	server *Server
}

// ServerHandshake makes the handshake.
func (h catchingHandshake) ServerHandshake(raw net.Conn) (conn net.Conn, info credentials.AuthInfo, err error) {
	err = panics.Catch(func() (err error) {
		conn, info, err = h.TransportCredentials.ServerHandshake(raw)
		return err
	})
	if err = h.server.reportPanic(raw.RemoteAddr().String(), err); err != nil {
		return nil, nil, err
	}
	return conn, info, nil
}

// Clone copies the credentials.
func (h catchingHandshake) Clone() credentials.TransportCredentials {
	return catchingHandshake{h.TransportCredentials.Clone(), h.server}
}

// locked runs f under the store's lock. The lock is given back after a panic too.
func (s *Store) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// readLocked runs f under the store's read lock.
func (s *Store) readLocked(f func()) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f()
}
