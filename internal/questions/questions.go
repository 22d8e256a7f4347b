// Package questions has what is common to the questions that Envoys ask Relay while a request or a
// connection waits: who may ask, of which fleet it is, and how a question is read. Each service of
// Envoy by which they ask has a package of its own, such as internal/authz.
package questions

import (
	"context"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// FleetHeader is a header of each call, which all Envoys of a fleet are told.
const FleetHeader = "x-relay-fleet"

// Admit decides whether an Envoy may ask, before anything else of it is read, and when first has
// returned who it says it is. Done is to be called at the end. The error goes to the Envoy.
type Admit func(ctx context.Context, first func() (*corev3.Node, error)) (done func(), err error)

// FleetOf returns the fleet that a call names.
func FleetOf(ctx context.Context) string {
	if names := metadata.ValueFromIncomingContext(ctx, FleetHeader); len(names) == 1 {
		return names[0]
	}
	return ""
}

// Receive returns the bytes of a question, of which what says what it is, and of which it has so many at
// most. To a message without fields, all that it receives is unknown, and kept as it is: to understand a
// large message would take many times its size.
func Receive(g grpc.ServerStream, what string, most int) ([]byte, error) {
	var message emptypb.Empty
	if err := g.RecvMsg(&message); err != nil {
		return nil, err
	}
	raw := message.ProtoReflect().GetUnknown()
	if len(raw) > most {
		return nil, status.Errorf(codes.ResourceExhausted, "%s has more than %d bytes", what, most)
	}
	return raw, nil
}

// Client returns the network that counts as one client: of IPv6 a client has a whole one for itself. It
// is the zero value of an address that is not known.
func Client(address netip.Addr) netip.Prefix {
	bits := 32
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits)
	return network
}
