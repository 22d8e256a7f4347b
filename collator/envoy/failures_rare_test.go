package envoy_test

import (
	"fmt"
	"strings"
	"testing"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/failure"
	"relay/sources"
	"relay/traffic"
	"relay/xds/envoytest"
)

// failsWith sends a request that must fail with a code, and finds what Envoy reports of it.
func (e *realEnvoy) failsWith(t *testing.T, r request, code string) traffic.Failure {
	t.Helper()
	c, _ := failure.Of(code)
	a := e.eventually(t, r, status(int(c.Status)))
	if !strings.Contains(a.body, "Error: "+code+"<") {
		t.Errorf("got %+v, want %s", a, code)
	}
	f := e.reported(t, func(f traffic.Failure) bool { return f.Code == code && f.Domain == r.host })
	if n := e.counted(t, code); f.Status != int(c.Status) || n == 0 {
		t.Errorf("Envoy reports %+v; counted %v", f, n)
	}
	return f
}

// A browser takes a connection for a domain whose TLS is passed through.
func TestMisdirectedIsAFailure(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("a.test", "a.test", "passed.test")}, nil)
	e.c.SyncApps([]*sources.App{e.app("/a", "a.test"), changed(serviceApp("/passed", sources.TCP{Passthrough: true}, "passed.test"), func(p *sources.Port) {
		p.Endpoints = endpoints(e.greets())
	})})
	e.eventually(t, request{host: "a.test", path: "/", tls: true, sni: "a.test"}, fromApp("/a"))
	e.failsWith(t, request{host: "passed.test", path: "/", tls: true, sni: "a.test"}, "misdirected")
}

// The cluster of an app is loaded on demand, and Relay does not answer.
func TestStartingIsAFailure(t *testing.T) {
	t.Parallel()
	e := startEnvoyWith(t, envoytest.Options{ClustersOnDemand: true}, func(f *routing.Fleet, _ *certstest.CA) { f.ClustersOnDemand = true })
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{e.app("/used", "used.test"), e.app("/new", "new.test")})
	e.eventually(t, request{host: "used.test", path: "/"}, fromApp("/used"))
	resume := e.link.hang()
	t.Cleanup(resume)
	a, err := e.send(t.Context(), request{host: "new.test", path: "/"})
	resume()
	if err != nil || a.status != 503 || !strings.Contains(a.body, "Error: starting<") {
		t.Errorf("got %+v, %v", a, err)
	}
	if f := e.reported(t, func(f traffic.Failure) bool { return f.Code == "starting" }); f.App != "/new" || f.Domain != "new.test" {
		t.Errorf("Envoy reports %+v", f)
	}
}

// An Envoy that has no memory left refuses requests.
func TestOverloadedIsAFailure(t *testing.T) {
	t.Parallel()
	full := fmt.Sprintf(`overload_manager: {refresh_interval: 0.1s, resource_monitors: [{name: envoy.resource_monitors.fixed_heap, typed_config: {"@type": %s, max_heap_size_bytes: 1000}}],
  actions: [{name: envoy.overload_actions.stop_accepting_requests, triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.95}}]}]}`,
		"type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig")
	e := startEnvoyWith(t, envoytest.Options{Args: []string{"--config-yaml", full}})
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{e.app("/a", "a.test")})
	e.failsWith(t, request{host: "a.test", path: "/"}, "overloaded")
}
