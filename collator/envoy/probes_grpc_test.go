package envoy_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"relay/probe"
	"relay/sources"
	"relay/xds/envoytest"
)

// Probes by gRPC reach an app through a real Envoy, with TLS and without, and know the Envoy's failures from the app's.
func TestProbesByGRPC(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server, checks := grpc.NewServer(), health.NewServer()
		healthv1.RegisterHealthServer(server, checks)
		checks.SetServingStatus("ill", healthv1.HealthCheckResponse_NOT_SERVING)
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		t.Cleanup(func() { server.Stop(); <-done })
		e := startVersion(t, version)
		e.certificates("grpc.test", "offline.test")
		app := func(id, domain string, instances []sources.Endpoint) *sources.App {
			return changed(webApp(id, domain), func(p *sources.Port) {
				p.Endpoints, p.Upstream = instances, &sources.Upstream{HTTP2: true}
			})
		}
		e.c.SyncApps([]*sources.App{e.app("/well", "well.test"), app("/grpc", "grpc.test", endpoints(l.Addr().String())), app("/offline", "offline.test", nil)})
		e.eventually(t, request{host: "well.test", path: "/"}, fromApp("/well"))
		p := e.probed(t)
		ask := func(domain string, secure bool, ask probe.Ask) probe.Result {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			target := probe.Target{Kind: probe.GRPC, Envoy: "e", Address: e.fleet.HTTP.String(), Domain: domain, ServerName: domain, TLS: secure, Ask: ask}
			if secure {
				target.Address = e.fleet.HTTPS.String()
			}
			return p.probers[probe.GRPC].Probe(ctx, target)
		}
		for _, secure := range []bool{false, true} {
			e.until(t, "the app is reached", func() bool { return ask("grpc.test", secure, probe.Ask{}).OK })
			for _, c := range []probedCase{
				{"grpc.test", probe.Ask{Path: "ill"}, "health check: the health check says NOT_SERVING", true, false},
				{"grpc.test", probe.Ask{Path: "none"}, "health check: the health check knows no such service", true, false},
				{"offline.test", probe.Ask{}, "health check: the Envoy answers offline", true, false},
			} {
				c.check(t, ask(c.domain, secure, c.ask))
			}
		}
		if r := ask("well.test", false, probe.Ask{}); r.OK || !r.Answered || !strings.HasPrefix(r.Reason, "health check: ") {
			t.Errorf("an app without gRPC: %+v", r)
		}
		if r := ask("unknown.test", false, probe.Ask{}); r.OK || r.Answered || r.Code != "no-such-domain" {
			t.Errorf("an unknown domain: %+v", r)
		}
	})
}
