package envoy_test

import (
	"context"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	"relay/collator/envoy"
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
	before  func(context.Context)
}

// check is what a waker was asked.
type check struct {
	app, node, fleet, labels string
	port                     int
	headers                  map[string]string
	size                     int
	local                    string
	metadata                 metadata.MD
}

func newWaker() *waker { return &waker{changed: make(chan struct{})} }

// Check implements Envoy's service.
func (w *waker) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	route := req.GetAttributes().GetRouteMetadataContext().GetFilterMetadata()[envoy.ScalingMetadata].GetFields()
	md, _ := metadata.FromIncomingContext(ctx)
	first := func(key string) string {
		if values := md.Get(key); len(values) > 0 {
			return values[0]
		}
		return ""
	}
	w.mu.Lock()
	w.checks = append(w.checks, check{
		app: route[envoy.ScalingApp].GetStringValue(), port: int(route[envoy.ScalingPort].GetNumberValue()),
		node: req.GetAttributes().GetRequest().GetHttp().GetHeaders()[envoy.NodeHeader], fleet: first(envoy.FleetHeader),
		headers: req.GetAttributes().GetRequest().GetHttp().GetHeaders(),
		labels:  req.GetAttributes().GetDestination().GetLabels()["node"], size: len(req.String()), metadata: md,
	})
	close(w.changed)
	w.changed = make(chan struct{})
	held, before, refused := w.held, w.before, w.refuse > 0
	w.refuse--
	w.mu.Unlock()
	if refused {
		return nil, grpcstatus.Error(codes.Unavailable, "another Relay serves this Envoy")
	}
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

// await waits until there were n checks, and returns them.
func (w *waker) await(t testing.TB, n int) []check {
	t.Helper()
	timeout := time.After(10 * time.Second)
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
