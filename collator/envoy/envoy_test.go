package envoy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/certs"
	"relay/collator/envoy"
	"relay/sources"
	"relay/xds/envoytest"
)

func TestEnvoy(t *testing.T) {
	e := startEnvoy(t)
	plain := e.app("/plain", "app.test", "zone.test", "in.zone.test")
	secure := changed(e.app("/secure", "secure.test", "acme.zone.test"), func(p *sources.Port) {
		p.RedirectToHTTPS = true
		p.ACMEDomains = []string{"acme-only.test", "secure.test"}
	})
	offline := changed(webApp("/offline", "offline.test"), func(p *sources.Port) { p.Endpoints = nil })
	refused := changed(webApp("/refused", "refused.test"), func(p *sources.Port) {
		p.Endpoints = endpoints(fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)))
	})
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("secure.test", "secure.test", "app.test")}, nil)
	e.c.SyncApps([]*sources.App{plain, secure, offline, refused, e.app("/marathon-acme"),
		e.app("/wild", "*.zone.test"), e.app("/inner", "*.in.zone.test"), e.app("/exact", "x.zone.test", "x.in.zone.test")})
	e.eventually(t, request{host: "app.test", path: "/"}, fromApp("/plain"))

	t.Run("hosts", e.testHosts)
	t.Run("headers", e.testHeaders)
	t.Run("https", e.testHTTPS)
	t.Run("errors", e.testErrors)
	t.Run("wildcards", e.testWildcards)
	t.Run("websocket", e.testWebSocket)
	for _, stream := range e.server.Streams() {
		for _, kind := range stream.Types {
			if kind.Rejected != nil {
				t.Errorf("Envoy rejected %s: %+v", kind.Type, kind.Rejected)
			}
		}
	}
}

func (e *realEnvoy) testHosts(t *testing.T) {
	for host, app := range map[string]string{
		"app.test": "/plain", "APP.Test": "/plain", "app.test.": "/plain", "app.test:8080": "/plain", "APP.test.:80": "/plain",
		"zone.test": "/plain", "a.zone.test": "/wild", "a.b.zone.test": "/wild", "A.Zone.Test": "/wild",
		"a.zone.test.": "/wild", "a.zone.test:80": "/wild", "A.zone.test.:80": "/wild", "in.zone.test": "/plain",
		"x.zone.test": "/exact", "X.zone.test": "/exact", "x.zone.test:81": "/exact", "x.zone.test.": "/exact", "X.zone.test.:81": "/exact",
		"a.in.zone.test": "/inner", "x.in.zone.test": "/exact", "X.in.zone.test.:9": "/exact",
	} {
		a := e.eventually(t, request{host: host, path: "/"}, fromApp(app))
		if !strings.Contains(a.body, "\nhost "+host+"\n") {
			t.Errorf("the app sees another host than %q: %s", host, a.body)
		}
	}
	for _, host := range []string{"unknown.test", "azone.test", "UNKNOWN.test."} {
		e.eventually(t, request{host: host, path: "/"}, status(404))
	}
}

func (e *realEnvoy) testHeaders(t *testing.T) {
	a := e.eventually(t, request{host: "app.test", path: "/", header: http.Header{
		"X-Relay-Scope": {"secure.test", "*.zone.test"}, "X-Forwarded-Proto": {"https"},
		"X-Envoy-Upstream-Rq-Timeout-Ms": {"1"}, "X-Envoy-Max-Retries": {"99"},
	}}, fromApp("/plain"))
	lower := strings.ToLower(a.body)
	if strings.Contains(lower, envoy.ScopeHeader) || strings.Contains(lower, "x-envoy-max-retries") {
		t.Errorf("the app sees a header that it must not: %s", a.body)
	}
	if !strings.Contains(lower, "x-forwarded-proto: http\r\n") {
		t.Errorf("x-forwarded-proto is not what Envoy saw: %s", a.body)
	}
	e.eventually(t, request{host: "secure.test", path: "/x?y", header: http.Header{"X-Forwarded-Proto": {"https"}}},
		func(a answer) bool {
			return a.status == 301 && a.location == fmt.Sprintf("https://secure.test:%d/x?y", e.fleet.HTTPS.Port())
		})
	challenge := envoy.ACMEPrefix + "token"
	e.eventually(t, request{host: "secure.test", path: challenge}, fromApp("/marathon-acme"))
	e.eventually(t, request{host: "acme.zone.test", path: challenge}, fromApp("/marathon-acme"))
	e.eventually(t, request{host: "acme-only.test", path: challenge}, fromApp("/marathon-acme"))
	e.eventually(t, request{host: "acme-only.test", path: "/"}, status(404))
	e.eventually(t, request{host: "app.test", path: challenge}, fromApp("/plain"))
}

func (e *realEnvoy) testHTTPS(t *testing.T) {
	secure := request{host: "secure.test", path: envoy.ACMEPrefix + "token", tls: true, sni: "secure.test", http2: true}
	first := e.eventually(t, secure, fromApp("/secure"))
	if first.protocol != 2 {
		t.Errorf("answered by HTTP/%d to a client that offers h2", first.protocol)
	}
	if !strings.Contains(strings.ToLower(first.body), "x-forwarded-proto: https\r\n") {
		t.Errorf("x-forwarded-proto over TLS: %s", first.body)
	}
	unknown := request{host: "app.test", path: "/", tls: true, sni: "other.test"}
	if a, err := e.send(t.Context(), unknown); err == nil {
		t.Errorf("a server name without certificate was answered: %+v", a)
	}
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("secure.test", "secure.test", "app.test"),
		e.certificate("other.test", "other.test")}, nil)
	e.eventually(t, secure, func(a answer) bool { return a.fingerprint != first.fingerprint })
	e.eventually(t, unknown, fromApp("/plain"))
}

func (e *realEnvoy) testErrors(t *testing.T) {
	for _, tt := range []struct {
		host, code string
		status     int
	}{
		{"unknown.test", "no-such-domain", 404},
		{"offline.test", "offline", 503},
		{"refused.test", "unreachable", 502},
	} {
		a := e.eventually(t, request{host: tt.host, path: "/"}, status(tt.status))
		if !strings.Contains(a.body, "<h1>Error: "+tt.code+"</h1>") || a.contentType != "text/html; charset=utf-8" {
			t.Errorf("%s: %q, %s; want the page %q", tt.host, a.contentType, a.body, tt.code)
		}
	}
}

// testWildcards checks that the domains under zones are served by the right app at
// each moment while wildcards come and go.
func (e *realEnvoy) testWildcards(t *testing.T) {
	exact, apex := e.app("/steady", "x.y.z.test", "x.z.test"), e.app("/apex", "z.test")
	outer, inner := e.app("/outer-zone", "*.z.test"), e.app("/inner-zone", "*.y.z.test")
	e.c.UpdateApps([]*sources.App{exact, apex}, nil)
	e.eventually(t, request{host: "x.y.z.test", path: "/"}, fromApp("/steady"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.watch(ctx, "x.y.z.test", "x.z.test") }()
	inInner := request{host: "other.y.z.test", path: "/"}
	for range 10 {
		e.c.UpdateApps([]*sources.App{outer}, nil)
		e.eventually(t, inInner, fromApp("/outer-zone"))
		e.c.UpdateApps([]*sources.App{inner}, nil)
		e.eventually(t, inInner, fromApp("/inner-zone"))
		e.c.UpdateApps(nil, []string{"/outer-zone"})
		e.eventually(t, request{host: "other.z.test", path: "/"}, status(404))
		e.c.UpdateApps(nil, []string{"/inner-zone"})
		e.eventually(t, inInner, status(404))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// watch sends requests until the context ends or /steady does not answer.
func (e *realEnvoy) watch(ctx context.Context, hosts ...string) error {
	for i := 0; ctx.Err() == nil; i++ {
		host := hosts[i%len(hosts)]
		a, err := e.send(ctx, request{host: host, path: "/"})
		if ctx.Err() == nil && (err != nil || !fromApp("/steady")(a)) {
			return fmt.Errorf("request %d, to %s: %+v, %v", i, host, a, err)
		}
	}
	return nil
}

// testWebSocket checks that nothing an app or a certificate does closes the
// connections of others, or its own.
func (e *realEnvoy) testWebSocket(t *testing.T) {
	sockets := map[string]*websocket.Conn{
		"app.test":    e.dial(t, request{host: "app.test"}),
		"a.zone.test": e.dial(t, request{host: "a.zone.test"}),
		"secure.test": e.dial(t, request{host: "secure.test", tls: true, sni: "secure.test"}),
	}
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("secure.test", "secure.test", "app.test"),
		e.certificate("late.test", "late.test")}, nil)
	e.c.UpdateApps([]*sources.App{e.app("/late", "*.late.test", "late.test"), e.app("/app-test", "y.app.test")}, []string{"/inner"})
	e.eventually(t, request{host: "a.late.test", path: "/"}, fromApp("/late"))
	e.eventually(t, request{host: "x.in.zone.test", path: "/"}, fromApp("/exact"))
	e.eventually(t, request{host: "b.in.zone.test", path: "/"}, fromApp("/wild"))
	e.eventually(t, request{host: "late.test", path: "/", tls: true, sni: "late.test"}, fromApp("/late"))
	// Connections that a listener update drains are closed after two seconds.
	deadline := time.After(3 * time.Second)
	for pinging := true; pinging; {
		for host, ws := range sockets {
			ping(t, host, ws)
		}
		select {
		case <-deadline:
			pinging = false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (e *realEnvoy) dial(t *testing.T, r request) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	transport := e.transport(r)
	transport.DisableKeepAlives = false
	transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	scheme := "http"
	if r.tls {
		scheme = "https"
	}
	ws, _, err := websocket.Dial(ctx, scheme+"://envoy.invalid/", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Host: r.host,
	})
	if err != nil {
		t.Fatalf("WebSocket to %s: %v", r.host, err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

func ping(t *testing.T, host string, ws *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte("ping")); err != nil {
		t.Fatalf("WebSocket to %s: %v", host, err)
	}
	if _, message, err := ws.Read(ctx); err != nil || string(message) != "ping" {
		t.Fatalf("WebSocket to %s: read %q, %v", host, message, err)
	}
}
