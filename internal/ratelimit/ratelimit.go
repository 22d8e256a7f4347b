// Package ratelimit is the service that Envoys ask before a connection to a TCP service goes on:
// that of global rate limits
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto). gRPC knows one
// service of the name. So what a question is about is told apart by its domain.
package ratelimit

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"relay/internal/questions"
)

// Method is the full name of the method. It is called for each of many connections.
const Method = "/" + service + "/ShouldRateLimit"

const service = "envoy.service.ratelimit.v3.RateLimitService"

// The domains tell apart what a question is about.
const (
	// WakeDomain asks whether there is an instance for a connection to an app that sleeps.
	WakeDomain = "relay.wake"
	// HoldDomain asks whether there is an instance for a connection to a service that holds them until then.
	HoldDomain = "relay.hold"
	// AcceptDomain asks whether it is the turn of a connection.
	AcceptDomain = "relay.accept"
)

// The keys of what a question says: the routed id of the app and the index of its port, the address of
// the client, and the id of the Envoy's node, if it says that.
const (
	AppKey    = "app"
	PortKey   = "port"
	ClientKey = "client"
	NodeKey   = "node"
)

// The limits of a question: of its size in bytes, of the entries, and of the length of a name.
const maxQuestion, maxEntries, maxName = 64 << 10, 8, 1024

// Question is what an Envoy asks about a connection. It holds nothing of the message.
type Question struct {
	// Fleet and Node are those of the Envoy; the node is empty if it did not say.
	Fleet, Node string
	// App is the routed id of the app.
	App  string
	Port int
	// Client is the address of the client; not valid if it is not known.
	Client netip.Addr
	// Came is when the question came.
	Came time.Time
}

// Answer says whether a connection may go on; if not, Envoy closes it. It may take long to. The error
// goes to the Envoy, which then asks another Relay, or lets the connection go on.
type Answer func(ctx context.Context, q Question) (within bool, err error)

// Register adds the service to a gRPC server, with who answers the questions of each domain. Envoys
// that may not ask are refused.
//
// The method is registered as a stream, which is the same on the wire: so it is decided who asks
// before the message is read, and nothing of the message stays in memory while a connection waits.
func Register(g grpc.ServiceRegistrar, admit questions.Admit, answers map[string]Answer) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "ShouldRateLimit", ServerStreams: true, ClientStreams: true, Handler: func(_ any, g grpc.ServerStream) error {
			return Serve(g, admit, answers)
		}}},
	}, nil)
}

// Serve answers the question of one stream.
func Serve(g grpc.ServerStream, admit questions.Admit, answers map[string]Answer) error {
	var q Question
	var answer Answer
	done, err := admit(g.Context(), func() (*corev3.Node, error) {
		raw, err := questions.Receive(g, "a question about a connection", maxQuestion)
		if err != nil {
			return nil, err
		}
		var domain string
		if domain, q, err = Parse(raw, questions.FleetOf(g.Context()), time.Now()); err != nil {
			return nil, err
		}
		if answer = answers[domain]; answer == nil {
			return nil, status.Error(codes.InvalidArgument, "a question about a connection is of no known domain")
		}
		return &corev3.Node{Id: q.Node, Cluster: q.Fleet}, nil
	})
	if err != nil {
		return err
	}
	defer done()
	within, err := answer(g.Context(), q)
	if err != nil {
		return err
	}
	code := ratelimitv3.RateLimitResponse_OK
	if !within {
		code = ratelimitv3.RateLimitResponse_OVER_LIMIT
	}
	return g.SendMsg(&ratelimitv3.RateLimitResponse{OverallCode: code})
}

// Parse understands what an Envoy of a fleet asks about a connection, and of which domain that is.
func Parse(raw []byte, fleet string, now time.Time) (domain string, q Question, err error) {
	var asked ratelimitv3.RateLimitRequest
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &asked); err != nil {
		return "", Question{}, status.Error(codes.InvalidArgument, "a question about a connection is malformed")
	}
	q = Question{Fleet: fleet, Came: now}
	port := -1
	if d := asked.GetDescriptors(); len(d) == 1 && len(d[0].GetEntries()) <= maxEntries {
		for _, entry := range d[0].GetEntries() {
			switch value := entry.GetValue(); entry.GetKey() {
			case AppKey:
				q.App = value
			case NodeKey:
				q.Node = value
			case ClientKey:
				q.Client, _ = netip.ParseAddr(value)
				q.Client = q.Client.Unmap().WithZone("")
			case PortKey:
				if n, err := strconv.ParseUint(value, 10, 16); err == nil {
					port = int(n)
				}
			}
		}
	}
	if q.App == "" || port < 0 || max(len(q.App), len(q.Fleet), len(q.Node)) > maxName {
		return "", Question{}, status.Error(codes.InvalidArgument, "a question about a connection does not say for which app it is")
	}
	q.Port = port
	return asked.GetDomain(), q, nil
}
