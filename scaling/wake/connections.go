package wake

import (
	"net/netip"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// connectionDomain is that of the questions about TCP connections, and the others are the keys in them.
const (
	connectionDomain                                       = "relay.wake"
	connectionApp, connectionPort                          = "app", "port"
	connectionClient, connectionNode, maxConnectionEntries = "client", "node", 8
)

// ConnectionMethod is the full name of the method by which Envoys ask about TCP connections. It is
// called for each of many connections.
const ConnectionMethod = "/" + rateLimitService + "/ShouldRateLimit"

const rateLimitService = "envoy.service.ratelimit.v3.RateLimitService"

// registerConnections adds the service that Envoys ask before a connection to a TCP service that
// sleeps goes on. It is that of global rate limits
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ratelimit/v3/rls.proto): a
// connection is within the limit when there is an instance for it.
func (s *Service) registerConnections(g grpc.ServiceRegistrar) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: rateLimitService, HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "ShouldRateLimit", Handler: s.checkConnection, ServerStreams: true, ClientStreams: true}},
	}, s)
}

// checkConnection answers whether a connection may go on. It has no page: one that may not is closed.
func (s *Service) checkConnection(_ any, g grpc.ServerStream) error {
	var r request
	done, err := s.admit(g.Context(), func() (*corev3.Node, error) {
		raw, err := receive(g)
		if err == nil {
			r, err = parseConnection(raw, fleetOf(g.Context()), time.Now())
		}
		return &corev3.Node{Id: r.node, Cluster: r.fleet}, err
	})
	if err != nil {
		return err
	}
	defer done()
	answer, sent, err := s.decide(g.Context(), r)
	defer whenAnswered(g.Context(), sent)
	if err != nil {
		return err
	}
	code := ratelimitv3.RateLimitResponse_OK
	if answer.GetDeniedResponse() != nil {
		code = ratelimitv3.RateLimitResponse_OVER_LIMIT
	}
	return g.SendMsg(&ratelimitv3.RateLimitResponse{OverallCode: code})
}

// parseConnection understands what an Envoy of a fleet asks about a connection, which came just now.
func parseConnection(raw []byte, fleet string, now time.Time) (request, error) {
	var asked ratelimitv3.RateLimitRequest
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &asked); err != nil {
		return request{}, status.Error(codes.InvalidArgument, "a question about a connection is malformed")
	}
	r := request{fleet: fleet, came: now}
	port := -1
	if d := asked.GetDescriptors(); asked.GetDomain() == connectionDomain && len(d) == 1 && len(d[0].GetEntries()) <= maxConnectionEntries {
		for _, entry := range d[0].GetEntries() {
			switch value := entry.GetValue(); entry.GetKey() {
			case connectionApp:
				r.app = value
			case connectionNode:
				r.node = value
			case connectionClient:
				r.client, _ = netip.ParseAddr(value)
				r.client = r.client.Unmap().WithZone("")
			case connectionPort:
				if n, err := strconv.ParseUint(value, 10, 16); err == nil {
					port = int(n)
				}
			}
		}
	}
	if r.app == "" || port < 0 || max(len(r.app), len(r.fleet), len(r.node)) > maxName {
		return request{}, status.Error(codes.InvalidArgument, "a question about a connection does not say for which app it is")
	}
	r.port = port
	return r, nil
}
