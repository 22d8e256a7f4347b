package envoy_test

import (
	"net"
	"net/netip"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/scaling/queue"
	"relay/sources"
)

// A stream of gRPC has its instance until it ends, and calls that end with trailers free theirs.
func TestQueueGRPC(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := grpc.NewServer()
	healthv1.RegisterHealthServer(app, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- app.Serve(l) }()
	t.Cleanup(func() { app.Stop(); <-done })
	e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.Scaling = true })
	limits := &sources.Queue{Concurrency: 1, Length: 1}
	e.queued.set(func(p *queue.Port) {
		p.Queue, p.Endpoints = limits, []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}
	})
	e.c.SyncApps([]*sources.App{changed(webApp("/shop/web", "shop.test"), func(p *sources.Port) {
		p.Endpoints, p.Queue, p.Upstream = endpoints(l.Addr().String()), limits, &sources.Upstream{HTTP2: true}
	})})
	client, err := grpc.NewClient(e.fleet.HTTP.String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("shop.test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	calls := healthv1.NewHealthClient(client)
	e.until(t, "a call is answered", func() bool {
		_, err := calls.Check(t.Context(), &healthv1.HealthCheckRequest{})
		return err == nil
	})
	for range 5 { // each needs the place of the one before
		if _, err := calls.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := contextOf(t)
	defer cancel()
	streamed, end := contextOf(t)
	defer end()
	stream, err := calls.Watch(streamed, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := calls.Check(ctx, &healthv1.HealthCheckRequest{})
		answered <- err
	}()
	e.until(t, "a call waits for the end of the stream", func() bool { return e.queue.Depth("/shop/web", 0).Waiting == 1 })
	if _, err := calls.Check(ctx, &healthv1.HealthCheckRequest{}); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("one more than may wait: %v", err)
	}
	end()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	e.until(t, "nothing is left", func() bool { return e.queue.Depth("/shop/web", 0).InProgress == 0 })
}
