package wake

import (
	"context"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// connection is what an Envoy asks about one.
func connection(t testing.TB, domain string, entries ...string) []byte {
	t.Helper()
	d := new(commonratelimitv3.RateLimitDescriptor)
	for i := 0; i < len(entries); i += 2 {
		d.Entries = append(d.Entries, &commonratelimitv3.RateLimitDescriptor_Entry{Key: entries[i], Value: entries[i+1]})
	}
	raw, err := proto.Marshal(&ratelimitv3.RateLimitRequest{Domain: domain, Descriptors: []*commonratelimitv3.RateLimitDescriptor{d}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParseConnection(t *testing.T) {
	now := time.Now()
	got, err := parseConnection(connection(t, "relay.wake", "app", "/shop/db", "port", "1", "client", "::ffff:192.0.2.7", "node", "edge-1", "new", "x"), "external", now)
	want := request{fleet: "external", node: "edge-1", app: "/shop/db", port: 1, client: netip.MustParseAddr("192.0.2.7"), came: now}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseConnection(connection(t, "relay.wake", "app", "/db", "port", "0", "client", "pipe"), "external", now); err != nil || got.client.IsValid() {
		t.Errorf("without an address: %+v, %v", got, err)
	}
	for what, raw := range map[string][]byte{
		"other domain":  connection(t, "limits", "app", "/db", "port", "0"),
		"no app":        connection(t, "relay.wake", "port", "0"),
		"no port":       connection(t, "relay.wake", "app", "/db"),
		"odd port":      connection(t, "relay.wake", "app", "/db", "port", "65536"),
		"long name":     connection(t, "relay.wake", "app", strings.Repeat("a", maxName+1), "port", "0"),
		"many entries":  connection(t, "relay.wake", "app", "/db", "port", "0", "a", "", "b", "", "c", "", "d", "", "e", "", "f", "", "g", ""),
		"no descriptor": {},
		"no message":    {0xff},
	} {
		if got, err := parseConnection(raw, "external", now); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

func FuzzParseConnection(f *testing.F) {
	f.Add(connection(f, "relay.wake", "app", "/shop/db", "port", "1", "client", "192.0.2.7", "node", "edge-1"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := parseConnection(raw, "external", time.Time{}); err == nil && (r.app == "" || r.port < 0 || r.port > math.MaxUint16 || len(r.node) > maxName) {
			t.Errorf("%+v", r)
		}
	})
}

// question is the stream on which one question comes.
type question struct {
	ctx    context.Context
	raw    []byte
	answer *ratelimitv3.RateLimitResponse
}

func (q *question) Context() context.Context     { return q.ctx }
func (q *question) SetHeader(metadata.MD) error  { return nil }
func (q *question) SendHeader(metadata.MD) error { return nil }
func (q *question) SetTrailer(metadata.MD)       {}
func (q *question) RecvMsg(m any) error {
	return proto.Unmarshal(q.raw, m.(*emptypb.Empty))
}
func (q *question) SendMsg(m any) error {
	q.answer = m.(*ratelimitv3.RateLimitResponse)
	return nil
}

// A connection goes on when its app runs, and is closed when the app fails to start. Who may not ask is refused.
func TestConnectionsAreAnswered(t *testing.T) {
	w := newWorld(t, Config{})
	allowed := true
	w.admit = func(_ context.Context, first func() (*corev3.Node, error)) (func(), error) {
		node, err := first()
		if err == nil && (!allowed || node.GetId() != "edge-1" || node.GetCluster() != "external") {
			err = status.Error(codes.PermissionDenied, "no")
		}
		return func() {}, err
	}
	ask := func() (ratelimitv3.RateLimitResponse_Code, error) {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(fleetHeader, "external"))
		q := &question{ctx: ctx, raw: connection(t, connectionDomain, "app", "/db", "port", "0", "client", "192.0.2.7", "node", "edge-1")}
		err := w.checkConnection(nil, q)
		return q.answer.GetOverallCode(), err
	}
	if code, err := ask(); err != nil || code != ratelimitv3.RateLimitResponse_OK {
		t.Errorf("an app that does not sleep: %v, %v", code, err)
	}
	w.apps.set("/db", State{Phase: Failed})
	if code, err := ask(); err != nil || code != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("one that fails: %v, %v", code, err)
	}
	w.fleet.gone["edge-1"] = true
	if _, err := ask(); status.Code(err) != codes.Unavailable {
		t.Errorf("the Envoy of another Relay: %v", err)
	}
	allowed = false
	if _, err := ask(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("who may not ask: %v", err)
	}
}
