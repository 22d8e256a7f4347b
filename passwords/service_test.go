package passwords

import (
	"context"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"relay/internal/authz"
	"relay/internal/crypt"
	"relay/internal/questions"
)

// stream is the one on which a check comes.
type stream struct {
	grpc.ServerStream
	ctx    context.Context
	raw    []byte
	answer *authv3.CheckResponse
}

func (s *stream) Context() context.Context { return s.ctx }
func (s *stream) RecvMsg(m any) error      { return proto.Unmarshal(s.raw, m.(*emptypb.Empty)) }
func (s *stream) SendMsg(m any) error {
	s.answer = m.(*authv3.CheckResponse)
	return nil
}

// checkOf is what an Envoy sends of a request.
func checkOf(t testing.TB, authorization string) []byte {
	t.Helper()
	raw, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "::ffff:192.0.2.7"}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Path: "/?token=secret", Headers: map[string]string{"authorization": authorization},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	a := &apps{}
	a.set("/a", "joe", sha512Secret)
	s := newService(a)
	admit := func(_ context.Context, first func() (*corev3.Node, error)) (func(), error) {
		node, err := first()
		if err == nil && node.GetCluster() != "external" {
			err = status.Error(codes.PermissionDenied, "no such fleet")
		}
		return func() {}, err
	}
	answer := s.Answer(admit)
	for _, tt := range []struct {
		what, fleet, port string
		raw               []byte
		code              codes.Code
		status            int // 0 is let in
		header            string
	}{
		{"right", "external", "/a_0", checkOf(t, basic("joe", "secret")), codes.OK, 0, ""},
		{"wrong", "external", "/a_0", checkOf(t, basic("joe", "wrong")), codes.OK, 401, `Basic realm="Shop"`},
		{"none", "external", "/a_0", checkOf(t, ""), codes.OK, 401, `Basic realm="Shop"`},
		{"unknown port", "external", "/a_1", checkOf(t, basic("joe", "secret")), codes.Unavailable, 0, ""},
		{"unknown app", "external", "/b_0", checkOf(t, basic("joe", "secret")), codes.Unavailable, 0, ""},
		{"unknown fleet", "x", "/a_0", checkOf(t, basic("joe", "secret")), codes.PermissionDenied, 0, ""},
		{"no port", "external", "/a", checkOf(t, basic("joe", "secret")), codes.InvalidArgument, 0, ""},
		{"no app", "external", "_0", checkOf(t, basic("joe", "secret")), codes.InvalidArgument, 0, ""},
		{"odd port", "external", "/a_70000", checkOf(t, basic("joe", "secret")), codes.InvalidArgument, 0, ""},
		{"malformed", "external", "/a_0", []byte{0xff}, codes.Unknown, 0, ""},
		{"large", "external", "/a_0", checkOf(t, strings.Repeat("x", maxCheck)), codes.ResourceExhausted, 0, ""},
	} {
		g := &stream{raw: tt.raw, ctx: metadata.NewIncomingContext(t.Context(), metadata.Pairs(
			questions.FleetHeader, tt.fleet, authz.PasswordHeader, authz.PasswordOf(tt.port)))}
		err := answer(g)
		if status.Code(err) != tt.code {
			t.Errorf("%s: %v, want %s", tt.what, err, tt.code)
		}
		denied := g.answer.GetDeniedResponse()
		in := g.answer.GetOkResponse() != nil && g.answer.GetStatus().GetCode() == int32(codes.OK)
		if in != (tt.status == 0 && tt.code == codes.OK) || int(denied.GetStatus().GetCode()) != tt.status {
			t.Errorf("%s: %v", tt.what, g.answer)
		}
		if h := denied.GetHeaders(); tt.header != "" && (len(h) != 1 || h[0].GetHeader().GetValue() != tt.header) {
			t.Errorf("%s: %v", tt.what, h)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: a secret is in %v", tt.what, err)
		}
	}
}

// Each outcome has its answer, and none but two lets in.
func TestAnswersOfOutcomes(t *testing.T) {
	t.Parallel()
	s := newService(&apps{})
	for o, want := range map[outcome]int{right: 200, kept: 200, wrong: 401, none: 401, guessing: 429, busy: 503, left: 0, unavailable: 0, "": 0} {
		answer, err := s.answer(o, "Shop")
		got := int(answer.GetDeniedResponse().GetStatus().GetCode())
		if answer.GetOkResponse() != nil {
			got = 200
		}
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", o, got, err)
		}
		if h := answer.GetDeniedResponse().GetHeaders(); want > 401 && (len(h) != 1 || h[0].GetHeader().GetKey() != "retry-after" || h[0].GetHeader().GetValue() == "0") {
			t.Errorf("%q: %v", o, h)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(checkOf(f, basic("joe", "secret")), "/a_0")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		q, err := parse(raw, "external", name)
		if err == nil && (q.app == "" || len(q.authorization) > maxAuthorization+1 || q.client.Zone() != "" || q.client.Is4In6()) {
			t.Errorf("%+v", q)
		}
	})
}

// BenchmarkAnswer measures what a request costs Relay whose password was right before, without gRPC.
func BenchmarkAnswer(b *testing.B) {
	a := &apps{}
	a.set("/a", "joe", sha512Secret)
	s := newService(a)
	answer := s.Answer(func(_ context.Context, first func() (*corev3.Node, error)) (func(), error) {
		_, err := first()
		return func() {}, err
	})
	for _, header := range []struct{ what, authorization string }{
		{"kept", basic("joe", "secret")}, {"wrong", basic("joe", "wrong")}, {"none", ""},
		{"longest", basic("joe", strings.Repeat("x", crypt.MaxPassword))}, {"too long", "Basic " + strings.Repeat("x", 60_000)},
	} {
		g := &stream{raw: checkOf(b, header.authorization), ctx: metadata.NewIncomingContext(b.Context(), metadata.Pairs(
			questions.FleetHeader, "external", authz.PasswordHeader, authz.PasswordOf("/a_0")))}
		b.Run(header.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := answer(g); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
