// Package authz is the service that Envoys ask before a request goes on: that of external authorization
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto). gRPC knows
// one service of the name. So what a check is about is told apart by a header of the call.
package authz

import (
	"context"
	"encoding/base64"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Method is the full name of the method. It is called for each of many requests.
const Method = "/" + service + "/Check"

const service = "envoy.service.auth.v3.Authorization"

// By these headers of a request, which Envoy sets whatever a client sends, a check says which Envoy asks and
// which app port it is about: the id of the node, and the name of the route, which is that of the app port's
// cluster.
const (
	NodeHeader  = "x-relay-node"
	RouteHeader = "x-relay-route"
)

// PasswordHeader is a header of a call that is about a password: PasswordOf the name of an app port.
// A call without it is about an app that may sleep.
const PasswordHeader = "x-relay-password"

// PasswordOf returns what PasswordHeader is for an app port of a name, which may have any character.
func PasswordOf(port string) string { return base64.RawURLEncoding.EncodeToString([]byte(port)) }

// PasswordPort returns the name of the app port that a call is about, if that is a password.
func PasswordPort(ctx context.Context) (port string, ok bool) {
	values := metadata.ValueFromIncomingContext(ctx, PasswordHeader)
	if len(values) == 0 {
		return "", false
	}
	name, err := base64.RawURLEncoding.DecodeString(values[0])
	if err != nil || len(values) > 1 {
		return "", true
	}
	return string(name), true
}

// RefusedKey is in each refusal of Relay, and Envoys have it in the dynamic metadata RefusedMetadata then. By that they
// tell it from a refusal of an app that is asked, whose page is the client's.
const RefusedMetadata, RefusedKey = "envoy.filters.http.ext_authz", "relay"

// Refusal is the metadata of a refusal of Relay.
func Refusal() *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{RefusedKey: structpb.NewBoolValue(true)}}
}

// Answer answers one check, which comes on a stream.
type Answer func(g grpc.ServerStream) error

// Register adds the service to a gRPC server, with who answers checks of passwords, and of apps that may
// sleep; nil is nobody.
//
// The method is registered as a stream, which is the same on the wire: so it is decided who asks
// before the message is read, and nothing of the message stays in memory while a request is held.
func Register(g grpc.ServiceRegistrar, passwords, sleep Answer) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Check", ServerStreams: true, ClientStreams: true, Handler: func(_ any, g grpc.ServerStream) error {
			answer := sleep
			if _, ok := PasswordPort(g.Context()); ok {
				answer = passwords
			}
			if answer == nil {
				return status.Error(codes.Unimplemented, "this Relay does not answer such checks")
			}
			return answer(g)
		}}},
	}, nil)
}
