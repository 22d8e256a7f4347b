package passwords

import (
	"net/netip"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"relay/internal/authz"
	"relay/internal/questions"
)

const (
	// maxCheck is how large a check may be, in bytes: a path and headers that Envoy takes fit.
	maxCheck = 256 << 10
	// maxName is how long a name may be.
	maxName = 1024
	// busyRetryAfter is after how many seconds a client may try again whose password could not be checked.
	busyRetryAfter = 2
)

// Answer returns what answers the checks of Envoys that may ask.
func (s *Service) Answer(admit questions.Admit) authz.Answer {
	return func(g grpc.ServerStream) error {
		var q question
		done, err := admit(g.Context(), func() (*corev3.Node, error) {
			raw, err := questions.Receive(g, "a check", maxCheck)
			if err == nil {
				port, _ := authz.PasswordPort(g.Context())
				q, err = parse(raw, questions.FleetOf(g.Context()), port)
			}
			return &corev3.Node{Cluster: q.fleet}, err
		})
		if err != nil {
			return err
		}
		defer done()
		o, realm := s.check(g.Context(), q)
		s.metrics.checks.WithLabelValues(string(o)).Inc()
		answer, err := s.answer(o, realm)
		if err != nil {
			return err
		}
		return g.SendMsg(answer)
	}
}

// parse understands a check of an Envoy of a fleet, about the app port of a name. What it returns holds nothing of the message.
func parse(raw []byte, fleet, name string) (question, error) {
	var check authv3.CheckRequest
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &check); err != nil {
		return question{}, status.Error(codes.InvalidArgument, "a check is malformed")
	}
	end := strings.LastIndexByte(name, '_')
	port, err := strconv.ParseUint(name[end+1:], 10, 16)
	if end <= 0 || err != nil || max(len(name), len(fleet)) > maxName {
		return question{}, status.Errorf(codes.InvalidArgument, "a check does not say for which app port it is, as %s", authz.PasswordHeader)
	}
	a := check.GetAttributes()
	q := question{fleet: fleet, app: name[:end], port: int(port)}
	q.client, _ = netip.ParseAddr(a.GetSource().GetAddress().GetSocketAddress().GetAddress())
	q.client = q.client.Unmap().WithZone("")
	header := a.GetRequest().GetHttp().GetHeaders()["authorization"]
	q.authorization = strings.Clone(header[:min(len(header), maxAuthorization+1)])
	return q, nil
}

// answer makes an answer of an outcome.
func (s *Service) answer(o outcome, realm string) (*authv3.CheckResponse, error) {
	switch o {
	case right, kept:
		return &authv3.CheckResponse{
			Status:       &rpcstatus.Status{Code: int32(codes.OK)},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
		}, nil
	case wrong, none:
		return denied(typev3.StatusCode_Unauthorized, "www-authenticate", `Basic realm="`+realm+`"`), nil
	case guessing:
		return denied(typev3.StatusCode_TooManyRequests, "retry-after", strconv.Itoa(int(s.limits.GuessEvery.Seconds()))), nil
	case busy:
		return denied(typev3.StatusCode_ServiceUnavailable, "retry-after", strconv.Itoa(busyRetryAfter)), nil
	case left:
		return nil, status.Error(codes.Canceled, "the client is gone")
	}
	return nil, status.Error(codes.Unavailable, "this Relay does not know the app: ask the next one")
}

// denied has Envoy answer a request itself, with the page of a status.
func denied(code typev3.StatusCode, header, value string) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)}, DynamicMetadata: authz.Refusal(),
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: code},
			Headers: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: header, Value: value},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		}},
	}
}
