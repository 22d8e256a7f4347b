package authz

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type registrar struct{ desc *grpc.ServiceDesc }

func (r *registrar) RegisterService(desc *grpc.ServiceDesc, _ any) { r.desc = desc }

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// A check goes to who is asked about it, and to nobody else.
func TestRegister(t *testing.T) {
	t.Parallel()
	var asked string
	answer := func(name string) Answer { return func(grpc.ServerStream) error { asked = name; return nil } }
	for _, tt := range []struct {
		what             string
		passwords, sleep Answer
		header           []string
		want             string
		code             codes.Code
	}{
		{"password", answer("passwords"), answer("sleep"), []string{PasswordOf("/a_0")}, "passwords", codes.OK},
		{"an empty name", answer("passwords"), answer("sleep"), []string{""}, "passwords", codes.OK},
		{"two names", answer("passwords"), answer("sleep"), []string{"a", "b"}, "passwords", codes.OK},
		{"sleep", answer("passwords"), answer("sleep"), nil, "sleep", codes.OK},
		{"nobody knows passwords", nil, answer("sleep"), []string{PasswordOf("/a_0")}, "", codes.Unimplemented},
		{"nobody wakes apps", answer("passwords"), nil, nil, "", codes.Unimplemented},
	} {
		asked = ""
		var r registrar
		Register(&r, tt.passwords, tt.sleep)
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{PasswordHeader: tt.header})
		err := r.desc.Streams[0].Handler(nil, stream{ctx: ctx})
		if asked != tt.want || status.Code(err) != tt.code || Method != "/"+r.desc.ServiceName+"/"+r.desc.Streams[0].StreamName {
			t.Errorf("%s: %q, %v", tt.what, asked, err)
		}
	}
}

func TestPasswordPort(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/a_0", "deployment-group/é %\n_1", ""} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(PasswordHeader, PasswordOf(name)))
		if got, ok := PasswordPort(ctx); got != name || !ok {
			t.Errorf("%q is %q, %v", name, got, ok)
		}
	}
	for _, values := range [][]string{{"!"}, {PasswordOf("/a_0"), PasswordOf("/b_0")}} {
		if got, ok := PasswordPort(metadata.NewIncomingContext(t.Context(), metadata.MD{PasswordHeader: values})); got != "" || !ok {
			t.Errorf("%q: %q, %v", values, got, ok)
		}
	}
	if _, ok := PasswordPort(t.Context()); ok {
		t.Error("a call without the header is about a password")
	}
}
