package envoy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/authz"
	"relay/passwords"
	"relay/scaling/queue"
	"relay/sources"
	"relay/traffic"
	"relay/xds"
	"relay/xds/envoytest"
)

// realEnvoy is a real Envoy that gets what a Collator makes.
type realEnvoy struct {
	t      testing.TB
	c      *collator.Collator
	server *xds.Server
	store  *xds.Store
	envoy  *envoytest.Envoy
	fleet  routing.Fleet
	ca     *certstest.CA
	// failures are what the Envoy reports.
	failures *traffic.Failures
	link     *link
	waker    *waker
	// queue has the requests to apps with a queue, which queued says what there is of.
	queue  *queue.Service
	queued *queuedApp
	// askedForInstance counts requests for which the queue was asked.
	askedForInstance atomic.Int64
	tcp              *tcpWaker
	// passwords checks those that Envoy cannot check.
	passwords *passwords.Service
	// refuse is how many checks of passwords are answered Unavailable.
	refuse atomic.Int64
}

func startEnvoy(t testing.TB, options ...func(*routing.Fleet, *certstest.CA)) *realEnvoy {
	t.Helper()
	return startEnvoyWith(t, envoytest.Options{}, options...)
}

func startVersion(t testing.TB, version string, options ...func(*routing.Fleet, *certstest.CA)) *realEnvoy {
	t.Helper()
	return startEnvoyWith(t, envoytest.Options{Version: version}, options...)
}

// startEnvoyWith starts an Envoy with options of its own.
func startEnvoyWith(t testing.TB, o envoytest.Options, options ...func(*routing.Fleet, *certstest.CA)) *realEnvoy {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	fleet := routing.Fleet{
		Name: "external", Options: routing.DefaultOptions(), Redis: true,
		HTTP:  netip.AddrPortFrom(loopback, envoytest.FreePort(t)),
		HTTPS: netip.AddrPortFrom(loopback, envoytest.FreePort(t)),
	}
	fleet.HTTPSPublicPort = fleet.HTTPS.Port()
	ca := certstest.TestCA(t)
	for _, option := range options {
		option(&fleet, ca)
	}
	store := xds.NewStore()
	store.ClustersOnDemand = fleet.ClustersOnDemand
	c, err := collator.New(collator.Config{
		Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"},
	}, map[string]collator.Publisher{"external": store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	e := &realEnvoy{t: t, c: c, store: store, fleet: fleet, ca: ca, waker: newWaker(), tcp: newTCPWaker(), failures: traffic.NewFailures([]string{"external"}, func(_, cluster string) (string, int) { return routing.SplitClusterName(cluster) })}
	e.server = xds.NewServer(map[string]*xds.Store{"external": store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	e.server.PerRequest = []string{authv3.Authorization_Check_FullMethodName, extprocv3.ExternalProcessor_Process_FullMethodName}
	reports := traffic.NewServer()
	reports.Handle(envoy.FailuresLog, e.failures.Log)
	e.server.Services = func(g grpc.ServiceRegistrar) {
		reports.Register(g, e.server.Admit)
		authz.Register(g, e.passwords.Answer(func(ctx context.Context, first func() (*corev3.Node, error)) (func(), error) {
			if e.refuse.Add(-1) >= 0 {
				return nil, grpcstatus.Error(codes.Unavailable, "another Relay serves this Envoy")
			}
			return e.server.AdmitRequest(ctx, first)
		}), e.waker.answerOn)
		e.queue.Register(g, func(ctx context.Context, first func() (*corev3.Node, error)) (func(), error) {
			e.askedForInstance.Add(1)
			return e.server.AdmitRequest(ctx, first)
		})
		ratelimitv3.RegisterRateLimitServiceServer(g, e.tcp)
	}
	e.passwords = passwords.New(e, passwords.DefaultLimits(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	e.queued = newQueuedApp()
	e.queue = queue.New(e.queued, e.queued, queue.DefaultLimits(), prometheus.NewRegistry())
	t.Cleanup(e.queue.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.serve(c.Serve)
	e.serve(func(ctx context.Context) error {
		open := func(published <-chan struct{}, types ...xds.Type) {
			select {
			case <-published:
				store.Open(types...)
			case <-ctx.Done():
			}
		}
		open(c.AppsPublished(), xds.Cluster, xds.Endpoint, xds.Listener, xds.Scope, xds.ExtensionConfig)
		open(c.CertificatesPublished(), xds.Secret)
		return nil
	})
	e.link = newLink(l)
	e.serve(func(ctx context.Context) error { return e.server.Serve(ctx, e.link) })
	o.XDS = append([]string{l.Addr().String()}, o.XDS...) // more may be other Relays
	e.envoy = envoytest.Start(t, o)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return e
}

// serve runs a service until the test ends.
func (e *realEnvoy) serve(service func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service(ctx) }()
	e.t.Cleanup(func() { cancel(); <-done })
}

// backend is an app instance: it answers with its name and the request's head,
// and echoes WebSocket messages.
func (e *realEnvoy) backend(name string) string {
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

func (e *realEnvoy) app(id string, domains ...string) *sources.App {
	app := webApp(id, domains...)
	return changed(app, func(p *sources.Port) { p.Endpoints = endpoints(e.backend(id)) })
}

func (e *realEnvoy) certificate(name string, serverNames ...string) *certs.Certificate {
	e.t.Helper()
	return e.issue(name, certstest.Options{}, serverNames...)
}

func (e *realEnvoy) issue(name string, options certstest.Options, serverNames ...string) *certs.Certificate {
	e.t.Helper()
	issued := e.ca.TestIssue(e.t, serverNames, options)
	c, _, err := certs.ParsePEM(issued.Bundle())
	if err != nil {
		e.t.Fatal(err)
	}
	c.Source, c.Name = "vault", name
	return c
}

// certificates has Envoy serve a certificate for each name.
func (e *realEnvoy) certificates(names ...string) {
	e.t.Helper()
	var all []*certs.Certificate
	for _, name := range names {
		all = append(all, e.certificate(name, name))
	}
	e.c.SyncCertificates("vault", all, nil)
}

// listenersTaken is how often Envoy took in listeners.
func (e *realEnvoy) listenersTaken(t *testing.T) int64 {
	t.Helper()
	const stat = "listener_manager.lds.update_success"
	stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(stat)+"$"))
	if n, ok := stats[stat]; err == nil && ok {
		return n
	}
	t.Fatalf("Envoy's stats: %v, %v", stats, err)
	return 0
}

// until waits for something that must happen.
func (e *realEnvoy) until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// request is sent as it is, on a connection of its own.
type request struct {
	host, path string
	tls        bool
	sni        string
	header     http.Header
	http2      bool
	identity   []tls.Certificate // the client's
	from       string            // the client's address; 127.0.0.1 when empty
	first      string            // what the connection begins with, before any TLS
}

type answer struct {
	status      int
	location    string
	contentType string
	protocol    int
	body        string
	fingerprint string
}

func (e *realEnvoy) transport(r request) *http.Transport {
	address := e.fleet.HTTP
	if r.tls {
		address = e.fleet.HTTPS
	}
	config := e.ca.ClientTLS()
	config.ServerName, config.Certificates = r.sni, r.identity
	return &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: r.http2, TLSClientConfig: config,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			if r.from != "" {
				dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(r.from)}
			}
			conn, err := dialer.DialContext(ctx, network, address.String())
			if err == nil && r.first != "" {
				_, err = io.WriteString(conn, r.first)
			}
			return conn, err
		},
	}
}

func (e *realEnvoy) send(ctx context.Context, r request) (answer, error) {
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
func (e *realEnvoy) eventually(t testing.TB, r request, right func(answer) bool) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
