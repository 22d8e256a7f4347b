package traffic

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// entriesPerSecond is how many entries of one stream are read, and burst how many it may be
	// ahead. Of an Envoy that has more, the rest waits, until Envoy drops what it cannot keep.
	entriesPerSecond = 500
	burst            = 5000
	// maxMessage is how large a message may be, in bytes. Envoys send 16 kB.
	maxMessage = 1 << 20
)

// Server is the access log service
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/accesslog/v3/als.proto). The
// listeners of Envoys have an access log that reports to it each connection to an instance
// that failed.
type Server struct {
	alsv3.UnimplementedAccessLogServiceServer
	failures *Failures
	admit    Admit
}

// Admit decides whether an Envoy may report, before anything else of it is read, and when it
// has said who it is. Done is to be called at the end of the stream. The error goes to the
// Envoy.
type Admit func(ctx context.Context, first func() (*corev3.Node, error)) (done func(), err error)

// NewServer returns a server that adds to failures.
func NewServer(failures *Failures) *Server { return &Server{failures: failures} }

// Register adds the service to a gRPC server. Envoys that may not report are refused.
func (s *Server) Register(g grpc.ServiceRegistrar, admit Admit) {
	s.admit = admit
	alsv3.RegisterAccessLogServiceServer(g, s)
}

// StreamAccessLogs takes what one worker of an Envoy reports.
func (s *Server) StreamAccessLogs(g alsv3.AccessLogService_StreamAccessLogsServer) error {
	var first *alsv3.StreamAccessLogsMessage
	done, err := s.admit(g.Context(), func() (node *corev3.Node, err error) {
		if first, err = receive(g); err != nil {
			return nil, err
		}
		return first.GetIdentifier().GetNode(), nil
	})
	if err != nil {
		return err
	}
	defer done()
	node := first.GetIdentifier().GetNode()
	pace := rate.NewLimiter(entriesPerSecond, burst)
	for message := first; ; {
		entries := message.GetTcpLogs().GetLogEntry()
		for _, entry := range entries {
			s.failures.report(node, entry, time.Now())
		}
		if err := pace.WaitN(g.Context(), min(len(entries), burst)); err != nil {
			return status.FromContextError(g.Context().Err()).Err()
		}
		if message, err = receive(g); err != nil {
			if errors.Is(err, io.EOF) {
				return g.SendAndClose(&alsv3.StreamAccessLogsResponse{})
			}
			return err
		}
	}
}

func receive(g alsv3.AccessLogService_StreamAccessLogsServer) (*alsv3.StreamAccessLogsMessage, error) {
	message, err := g.Recv()
	if err == nil && proto.Size(message) > maxMessage {
		err = status.Errorf(codes.ResourceExhausted, "a message has more than %d bytes", maxMessage)
	}
	return message, err
}

// report takes an entry of the access log. An entry of a connection that was made in the end
// has the flag of a failure before, too.
func (f *Failures) report(node *corev3.Node, entry *accesslogv3.TCPAccessLogEntry, now time.Time) {
	p := entry.GetCommonProperties()
	if !p.GetResponseFlags().GetUpstreamConnectionFailure() || p.GetUpstreamLocalAddress() != nil {
		return
	}
	socket := p.GetUpstreamRemoteAddress().GetSocketAddress()
	ip, err := netip.ParseAddr(socket.GetAddress())
	if err != nil || len(p.GetUpstreamCluster()) > maxName {
		return
	}
	instance := Instance{
		Fleet: node.GetCluster(), Cluster: p.GetUpstreamCluster(), Address: netip.AddrPortFrom(ip.Unmap(), uint16(socket.GetPortValue())),
	}
	f.add(instance, node.GetId(), p.GetUpstreamTransportFailureReason(), now)
}
