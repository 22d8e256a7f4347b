package ratelimit

import (
	"context"
	"errors"
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

	"relay/internal/questions"
)

// question is what an Envoy asks about a connection.
func question(t testing.TB, domain string, entries ...string) []byte {
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

func TestParse(t *testing.T) {
	t.Parallel()
	now := time.Now()
	domain, got, err := Parse(question(t, "relay.wake", "app", "/shop/db", "port", "1", "client", "::ffff:192.0.2.7", "node", "edge-1", "new", "x"), "external", now)
	want := Question{Fleet: "external", Node: "edge-1", App: "/shop/db", Port: 1, Client: netip.MustParseAddr("192.0.2.7"), Came: now}
	if err != nil || got != want || domain != "relay.wake" {
		t.Errorf("%s: %+v, %v", domain, got, err)
	}
	if _, got, err := Parse(question(t, "relay.wake", "app", "/db", "port", "0", "client", "pipe"), "external", now); err != nil || got.Client.IsValid() {
		t.Errorf("without an address: %+v, %v", got, err)
	}
	for what, raw := range map[string][]byte{
		"no app":        question(t, "relay.wake", "port", "0"),
		"no port":       question(t, "relay.wake", "app", "/db"),
		"odd port":      question(t, "relay.wake", "app", "/db", "port", "65536"),
		"long name":     question(t, "relay.wake", "app", strings.Repeat("a", maxName+1), "port", "0"),
		"many entries":  question(t, "relay.wake", "app", "/db", "port", "0", "a", "", "b", "", "c", "", "d", "", "e", "", "f", "", "g", ""),
		"no descriptor": {},
		"no message":    {0xff},
	} {
		if _, got, err := Parse(raw, "external", now); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(question(f, "relay.accept", "app", "/shop/db", "port", "1", "client", "192.0.2.7", "node", "edge-1"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, q, err := Parse(raw, "external", time.Time{})
		if err == nil && (q.App == "" || q.Port < 0 || q.Port > math.MaxUint16 || len(q.Node) > maxName || q.Client.Zone() != "" || q.Client.Is4In6()) {
			t.Errorf("%+v", q)
		}
	})
}

// stream is the one on which a question comes.
type stream struct {
	ctx    context.Context
	raw    []byte
	answer *ratelimitv3.RateLimitResponse
}

func (s *stream) Context() context.Context     { return s.ctx }
func (s *stream) SetHeader(metadata.MD) error  { return nil }
func (s *stream) SendHeader(metadata.MD) error { return nil }
func (s *stream) SetTrailer(metadata.MD)       {}
func (s *stream) RecvMsg(m any) error          { return proto.Unmarshal(s.raw, m.(*emptypb.Empty)) }
func (s *stream) SendMsg(m any) error {
	s.answer = m.(*ratelimitv3.RateLimitResponse)
	return nil
}

// Each domain has who answers. Who may not ask is refused.
func TestServe(t *testing.T) {
	t.Parallel()
	allowed := true
	admit := func(_ context.Context, first func() (*corev3.Node, error)) (func(), error) {
		node, err := first()
		if err == nil && (!allowed || node.GetId() != "edge-1" || node.GetCluster() != "external") {
			err = status.Error(codes.PermissionDenied, "no")
		}
		return func() {}, err
	}
	answers := map[string]Answer{
		"open":   func(context.Context, Question) (bool, error) { return true, nil },
		"closed": func(context.Context, Question) (bool, error) { return false, nil },
		"away": func(context.Context, Question) (bool, error) {
			return false, status.Error(codes.Unavailable, "ask another")
		},
	}
	ask := func(domain string, client string) (ratelimitv3.RateLimitResponse_Code, error) {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(questions.FleetHeader, "external"))
		s := &stream{ctx: ctx, raw: question(t, domain, "app", "/db", "port", "0", "client", client, "node", "edge-1")}
		err := Serve(s, admit, answers)
		return s.answer.GetOverallCode(), err
	}
	if code, err := ask("open", "192.0.2.7"); err != nil || code != ratelimitv3.RateLimitResponse_OK {
		t.Errorf("one that may go on: %v, %v", code, err)
	}
	if code, err := ask("closed", "192.0.2.7"); err != nil || code != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("one that may not: %v, %v", code, err)
	}
	if _, err := ask("away", "192.0.2.7"); status.Code(err) != codes.Unavailable {
		t.Errorf("an error: %v", err)
	}
	if _, err := ask("other", "192.0.2.7"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("another domain: %v", err)
	}
	if _, err := ask("open", strings.Repeat("x", maxQuestion)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a long one: %v", err)
	}
	allowed = false
	if _, err := ask("open", "192.0.2.7"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("who may not ask: %v", err)
	}
	if err := Serve(&stream{ctx: t.Context(), raw: []byte{0xff}}, admit, answers); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("what is no message: %v", err)
	}
}
