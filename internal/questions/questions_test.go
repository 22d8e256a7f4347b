package questions

import (
	"context"
	"net/netip"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestClient(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::7": "2001:db8:1:2::/64"} {
		if got := Client(netip.MustParseAddr(address)); got != netip.MustParsePrefix(want) {
			t.Errorf("%s is %s, not %s", address, got, want)
		}
	}
	if got := Client(netip.Addr{}); got.IsValid() {
		t.Errorf("no address is %s", got)
	}
}

func TestFleetOf(t *testing.T) {
	t.Parallel()
	for want, named := range map[string][]string{"external": {"external"}, "": {"external", "internal"}} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{FleetHeader: named})
		if got := FleetOf(ctx); got != want {
			t.Errorf("%q is the fleet %q, not %q", named, got, want)
		}
	}
	if got := FleetOf(context.Background()); got != "" {
		t.Errorf("a call that names none is of %q", got)
	}
}

// stream has one message.
type stream struct {
	grpc.ServerStream
	raw []byte
}

func (s stream) RecvMsg(m any) error { return proto.Unmarshal(s.raw, m.(proto.Message)) }

func TestReceive(t *testing.T) {
	t.Parallel()
	message := []byte{0x0a, 0x01, 'x'}
	if raw, err := Receive(stream{raw: message}, "a check", len(message)); err != nil || string(raw) != string(message) {
		t.Errorf("%v, %v", raw, err)
	}
	if _, err := Receive(stream{raw: message}, "a check", len(message)-1); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one that is too long: %v", err)
	}
	if _, err := Receive(stream{raw: []byte{0xff}}, "a check", 10); err == nil {
		t.Error("what is no message was received")
	}
}
