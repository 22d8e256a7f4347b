package traffic

import (
	"context"
	"errors"
	"io"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// entriesPerSecond is how many entries of one stream are looked into, and burst how many it
	// may be ahead. Of an Envoy that has more, a sample is.
	entriesPerSecond, burst = 500, 5000
	// allPerSecond and allBurst are those of all streams. But ownPerSecond of each stream, and
	// ownBurst ahead, are looked into whatever others send.
	allPerSecond, allBurst = 5000, 20_000
	ownPerSecond, ownBurst = 5, 100
	// countedPerSecond is how many entries of all streams are counted. Of more, the rest waits,
	// until Envoys drop what they cannot keep. But ownCounted of each stream never wait.
	countedPerSecond, ownCounted = 50_000, 1000
	// maxMessage is how large a message may be, in bytes. Envoys send 16 kB, or one entry.
	maxMessage = 1 << 20
)

// Log takes a message of an access log that an Envoy has. Of the node it gets the id and the fleet. Each entry in it stands for so many:
// more than 1 if there were too many to look into all. It is called by several streams at once,
// and must not wait.
type Log func(node *corev3.Node, message *alsv3.StreamAccessLogsMessage, stands uint64)

// Server is the access log service
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/accesslog/v3/als.proto), to which
// the access logs of Envoys' listeners go. It hands each on by its name.
type Server struct {
	alsv3.UnimplementedAccessLogServiceServer
	logs map[string][]Log // by name
	// looked and counted limit what all streams have looked into and counted.
	looked, counted *rate.Limiter
	admit           Admit
}

// Admit decides whether an Envoy may report, before anything else of it is read, and when it
// has said who it is. Handled is to be called when nothing is held of the last message, before a
// wait, and done at the end of the stream. The error goes to the Envoy.
type Admit func(ctx context.Context, first func() (*corev3.Node, error)) (handled, done func(), err error)

// NewServer returns a server without logs. What Envoys send of a log that it does not have is
// ignored.
func NewServer() *Server {
	return &Server{
		logs: make(map[string][]Log), looked: rate.NewLimiter(allPerSecond, allBurst), counted: rate.NewLimiter(countedPerSecond, countedPerSecond),
	}
}

// Handle hands what comes of the access log with a name to each of logs. It is to be called
// before Register.
func (s *Server) Handle(name string, logs ...Log) { s.logs[name] = append(s.logs[name], logs...) }

// Register adds the service to a gRPC server. Envoys that may not report are refused.
func (s *Server) Register(g grpc.ServiceRegistrar, admit Admit) {
	s.admit = admit
	alsv3.RegisterAccessLogServiceServer(g, s)
}

// StreamAccessLogs takes what one worker of an Envoy reports of one log.
func (s *Server) StreamAccessLogs(g alsv3.AccessLogService_StreamAccessLogsServer) error {
	var raw []byte
	var who *alsv3.StreamAccessLogsMessage_Identifier
	handled, done, err := s.admit(g.Context(), func() (node *corev3.Node, err error) {
		if raw, err = receive(g); err != nil {
			return nil, err
		}
		if who, err = identifierOf(raw); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return who.GetNode(), nil
	})
	if err != nil {
		return err
	}
	defer done()
	logs := s.logs[who.GetLogName()]
	// Without all that an Envoy says of itself, which is large, and there once for each worker.
	node := &corev3.Node{Id: who.GetNode().GetId(), Cluster: who.GetNode().GetCluster()}
	who = nil
	sample, own := newSampler(s.looked), rate.NewLimiter(ownCounted, burst)
	for {
		n := countEntries(raw)
		if stands, look := sample.next(n, time.Now()); look {
			// A message that cannot be understood is one that is lost.
			if message := new(alsv3.StreamAccessLogsMessage); proto.Unmarshal(raw, message) == nil {
				for _, log := range logs {
					log(node, message, stands)
				}
			}
		}
		raw = nil
		if handled(); !own.AllowN(time.Now(), n) {
			if err := s.counted.WaitN(g.Context(), min(n, countedPerSecond)); err != nil {
				return status.FromContextError(g.Context().Err()).Err()
			}
		}
		if raw, err = receive(g); err != nil {
			if errors.Is(err, io.EOF) {
				return g.SendAndClose(&alsv3.StreamAccessLogsResponse{})
			}
			return err
		}
	}
}

// identifierOf returns who a message says that it is from. Its entries may be many, and are not
// looked into.
func identifierOf(raw []byte) (who *alsv3.StreamAccessLogsMessage_Identifier, err error) {
	who = new(alsv3.StreamAccessLogsMessage_Identifier)
	err = fields(raw, func(field protowire.Number, _ uint64, b []byte) error {
		if field != identifier {
			return nil
		}
		return proto.UnmarshalOptions{Merge: true}.Unmarshal(b, who)
	})
	return who, err
}

// receive returns a message as bytes: understanding it costs ten times as much as receiving it.
// To a message without fields, all that it receives is unknown, and kept as it is.
func receive(g grpc.ServerStream) ([]byte, error) {
	var message emptypb.Empty
	if err := g.RecvMsg(&message); err != nil {
		return nil, err
	}
	raw := message.ProtoReflect().GetUnknown()
	if len(raw) > maxMessage {
		return nil, status.Errorf(codes.ResourceExhausted, "a message has more than %d bytes", maxMessage)
	}
	return raw, nil
}
