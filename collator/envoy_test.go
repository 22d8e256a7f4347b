package collator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/sources"
	"relay/xds"
	"relay/xds/envoytest"
)

// edge is a real Envoy that gets what a Collator makes.
type edge struct {
	t      *testing.T
	c      *Collator
	server *xds.Server
	envoy  *envoytest.Envoy
	fleet  Fleet
	ca     *certstest.CA
}

func startEdge(t *testing.T) *edge {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	fleet := Fleet{
		Name: "external", Options: DefaultOptions(),
		HTTP:  netip.AddrPortFrom(loopback, envoytest.FreePort(t)),
		HTTPS: netip.AddrPortFrom(loopback, envoytest.FreePort(t)),
	}
	fleet.HTTPSPublicPort = fleet.HTTPS.Port()
	store := xds.NewStore()
	c, err := New(Config{
		Fleets: []Fleet{fleet}, CertificateSources: []string{"vault"},
		OnAppsPublished:         func() { store.Open(xds.Cluster, xds.Endpoint, xds.Listener, xds.Scope, xds.ExtensionConfig) },
		OnCertificatesPublished: func() { store.Open(xds.Secret) },
	}, map[string]Publisher{"external": store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, c: c, fleet: fleet, ca: certstest.TestCA(t)}
	e.server = xds.NewServer(map[string]*xds.Store{"external": store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.serve(c.Serve)
	e.serve(func(ctx context.Context) error { return e.server.Serve(ctx, l) })
	e.envoy = envoytest.Start(t, envoytest.Options{XDS: []string{l.Addr().String()}})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return e
}

// serve runs a service until the test ends.
func (e *edge) serve(service func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service(ctx) }()
	e.t.Cleanup(func() { cancel(); <-done })
}

// backend is an app instance: it answers with its name and the request's head,
// and echoes WebSocket messages.
func (e *edge) backend(name string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "websocket" {
			echo(w, r)
			return
		}
		fmt.Fprintf(w, "app %s\nhost %s\n", name, r.Host)
		_ = r.Header.Write(w)
	}))
	e.t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func echo(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	for {
		kind, message, err := ws.Read(r.Context())
		if err != nil {
			return
		}
		if err := ws.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

func (e *edge) app(id string, domains ...string) *sources.App {
	app := webApp(id, domains...)
	return changed(app, func(p *sources.Port) { p.Endpoints = endpoints(e.backend(id)) })
}

func (e *edge) certificate(name string, serverNames ...string) *certs.Certificate {
	e.t.Helper()
	issued := e.ca.TestIssue(e.t, serverNames, certstest.Options{})
	c, _, err := certs.ParsePEM(issued.Bundle())
	if err != nil {
		e.t.Fatal(err)
	}
	c.Source, c.Name = "vault", name
	return c
}

// request is sent as it is, on a connection of its own.
type request struct {
	host, path string
	tls        bool
	sni        string
	header     http.Header
	http2      bool
}

type answer struct {
	status      int
	location    string
	contentType string
	protocol    int
	body        string
	fingerprint string
}

func (e *edge) transport(r request) *http.Transport {
	address := e.fleet.HTTP
	if r.tls {
		address = e.fleet.HTTPS
	}
	config := e.ca.ClientTLS()
	config.ServerName = r.sni
	return &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: r.http2, TLSClientConfig: config,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address.String())
		},
	}
}

func (e *edge) send(ctx context.Context, r request) (answer, error) {
	scheme := "http"
	if r.tls {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://envoy.invalid"+r.path, nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = r.host
	for name, values := range r.header {
		req.Header[name] = values
	}
	transport := e.transport(r)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	a := answer{
		status: resp.StatusCode, location: resp.Header.Get("Location"), contentType: resp.Header.Get("Content-Type"),
		protocol: resp.ProtoMajor, body: string(body),
	}
	if resp.TLS != nil {
		a.fingerprint = fmt.Sprintf("%x", resp.TLS.PeerCertificates[0].SerialNumber)
	}
	return a, err
}

// eventually sends the request until the answer is right.
func (e *edge) eventually(t *testing.T, r request, right func(answer) bool) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		a, err := e.send(ctx, r)
		if err == nil && right(a) {
			return a
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%+v: last answer %+v, %v; streams: %+v", r, a, err, e.server.Streams())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func fromApp(name string) func(answer) bool {
	return func(a answer) bool { return a.status == 200 && strings.HasPrefix(a.body, "app "+name+"\n") }
}

func status(code int) func(answer) bool { return func(a answer) bool { return a.status == code } }

func TestEnvoy(t *testing.T) {
	e := startEdge(t)
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
	t.Run("websocket", e.testWebSocket)
	for _, stream := range e.server.Streams() {
		for _, kind := range stream.Types {
			if kind.Rejected != nil {
				t.Errorf("Envoy rejected %s: %+v", kind.Type, kind.Rejected)
			}
		}
	}
}

func (e *edge) testHosts(t *testing.T) {
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
	for _, host := range []string{"unknown.test", "azone.test", "UNKNOWN.test.", strings.Repeat(".", 5000) + "zone.test"} {
		e.eventually(t, request{host: host, path: "/"}, status(404))
	}
}

func (e *edge) testHeaders(t *testing.T) {
	a := e.eventually(t, request{host: "app.test", path: "/", header: http.Header{
		"X-Relay-Scope": {"secure.test", "*.zone.test"}, "X-Forwarded-Proto": {"https"},
		"X-Envoy-Upstream-Rq-Timeout-Ms": {"1"}, "X-Envoy-Max-Retries": {"99"},
	}}, fromApp("/plain"))
	lower := strings.ToLower(a.body)
	if strings.Contains(lower, scopeHeader) || strings.Contains(lower, "x-envoy-max-retries") {
		t.Errorf("the app sees a header that it must not: %s", a.body)
	}
	if !strings.Contains(lower, "x-forwarded-proto: http\r\n") {
		t.Errorf("x-forwarded-proto is not what Envoy saw: %s", a.body)
	}
	e.eventually(t, request{host: "secure.test", path: "/x?y", header: http.Header{"X-Forwarded-Proto": {"https"}}},
		func(a answer) bool {
			return a.status == 301 && a.location == fmt.Sprintf("https://secure.test:%d/x?y", e.fleet.HTTPS.Port())
		})
	challenge := acmePrefix + "token"
	e.eventually(t, request{host: "secure.test", path: challenge}, fromApp("/marathon-acme"))
	e.eventually(t, request{host: "acme.zone.test", path: challenge}, fromApp("/marathon-acme"))
	e.eventually(t, request{host: "acme-only.test", path: challenge}, fromApp("/marathon-acme"))
	e.eventually(t, request{host: "acme-only.test", path: "/"}, status(404))
	e.eventually(t, request{host: "app.test", path: challenge}, fromApp("/plain"))
}

func (e *edge) testHTTPS(t *testing.T) {
	secure := request{host: "secure.test", path: acmePrefix + "token", tls: true, sni: "secure.test", http2: true}
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

func (e *edge) testErrors(t *testing.T) {
	for _, tt := range []struct {
		host, title string
		status      int
	}{
		{"unknown.test", "Not found", 404},
		{"offline.test", "Offline", 503},
		{"refused.test", "Unreachable", 502},
	} {
		a := e.eventually(t, request{host: tt.host, path: "/"}, status(tt.status))
		if !strings.Contains(a.body, "<h1>"+tt.title+"</h1>") || a.contentType != "text/html; charset=utf-8" {
			t.Errorf("%s: %q, %s; want the page %q", tt.host, a.contentType, a.body, tt.title)
		}
	}
}

// testWebSocket checks that nothing an app or a certificate does closes the
// connections of others, or its own.
func (e *edge) testWebSocket(t *testing.T) {
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

func (e *edge) dial(t *testing.T, r request) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte("ping")); err != nil {
		t.Fatalf("WebSocket to %s: %v", host, err)
	}
	if _, message, err := ws.Read(ctx); err != nil || string(message) != "ping" {
		t.Fatalf("WebSocket to %s: read %q, %v", host, message, err)
	}
}
