package envoy_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
	"relay/internal/authz"
	"relay/internal/questions"
)

// waker stands for what Relay asks when an Envoy has a request wait. It lets everything through
// but what is held.
type waker struct {
	authv3.UnimplementedAuthorizationServer

	mu      sync.Mutex
	checks  []check
	changed chan struct{} // closed, and replaced, with each check
	held    chan struct{} // nil: nothing is held; else until it is closed
	refuse  int           // so many checks are answered Unavailable
	denied  typev3.StatusCode
	before  func(context.Context)
	answer  func() *authv3.CheckResponse // nil: as the rest says
	waiting atomic.Int64
}

// check is what a waker was asked.
type check struct {
	app, node, fleet string
	port             int
	headers          map[string]string
	size             int
}

// answerOn answers the question of an Envoy that comes on a stream.
func (w *waker) answerOn(g grpc.ServerStream) error {
	var asked authv3.CheckRequest
	if err := g.RecvMsg(&asked); err != nil {
		return err
	}
	answer, err := w.Check(g.Context(), &asked)
	if err != nil {
		return err
	}
	return g.SendMsg(answer)
}

func newWaker() *waker { return &waker{changed: make(chan struct{})} }

// Check implements Envoy's service.
func (w *waker) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	app, port := routing.SplitClusterName(req.GetAttributes().GetRequest().GetHttp().GetHeaders()[authz.RouteHeader])
	md, _ := metadata.FromIncomingContext(ctx)
	first := func(key string) string {
		if values := md.Get(key); len(values) > 0 {
			return values[0]
		}
		return ""
	}
	w.mu.Lock()
	w.checks = append(w.checks, check{
		app: app, port: port,
		node: req.GetAttributes().GetRequest().GetHttp().GetHeaders()[authz.NodeHeader], fleet: first(questions.FleetHeader),
		headers: req.GetAttributes().GetRequest().GetHttp().GetHeaders(),
		size:    proto.Size(req),
	})
	close(w.changed)
	w.changed = make(chan struct{})
	held, before, refused, denied, answer := w.held, w.before, w.refuse > 0, w.denied, w.answer
	w.refuse--
	w.mu.Unlock()
	if refused {
		return nil, grpcstatus.Error(codes.Unavailable, "another Relay serves this Envoy")
	}
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if before != nil {
		before(ctx)
	}
	if answer != nil {
		return answer(), nil
	}
	if denied != 0 {
		return &authv3.CheckResponse{
			Status:       &statuspb.Status{Code: int32(codes.Unavailable)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: denied}}},
		}, nil
	}
	return &authv3.CheckResponse{Status: &statuspb.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}, nil
}

// hold has all checks wait until the function that it returns is called.
func (w *waker) hold() (release func()) {
	held := make(chan struct{})
	w.mu.Lock()
	w.held = held
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		w.held = nil
		w.mu.Unlock()
		close(held)
	}
}

func (w *waker) asked() []check {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]check(nil), w.checks...)
}

// refuseAs has all checks answered with a status.
func (w *waker) refuseAs(code typev3.StatusCode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.denied = code
}

// await waits until there were n checks, and returns them.
func (w *waker) await(t testing.TB, n int) []check {
	t.Helper()
	timeout := time.After(patience)
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		if all := w.asked(); len(all) >= n {
			return all
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%d checks, want %d", len(w.asked()), n)
		}
	}
}
