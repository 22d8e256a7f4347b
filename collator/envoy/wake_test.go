package envoy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

func scaling(f *routing.Fleet, _ *certstest.CA) { f.Scaling = true }

// gated is an app whose requests wait for Relay. Without endpoints it sleeps.
func gated(app *sources.App, endpoints ...sources.Endpoint) *sources.App {
	asleep := changed(app, func(p *sources.Port) { p.Endpoints = endpoints })
	asleep.Gated = true
	return asleep
}

// startScaling starts an Envoy of a fleet whose apps may sleep.
func startScaling(t *testing.T, version string, options ...func(*routing.Fleet, *certstest.CA)) *realEnvoy {
	t.Helper()
	options = append([]func(*routing.Fleet, *certstest.CA){scaling, func(f *routing.Fleet, _ *certstest.CA) {
		f.HTTPS, f.HTTPSPublicPort = routing.Fleet{}.HTTPS, 0
	}}, options...)
	e := startVersion(t, version, options...)
	e.c.SyncCertificates("vault", nil, nil)
	return e
}

// counted is an instance that says how much it was sent, and echoes WebSockets.
func counted(t *testing.T) []sources.Endpoint {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "websocket" {
			echo(w, r)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %s of %d bytes, %v, node %q", r.Method, r.Host, n, err, r.Header.Get("X-Relay-Node"))
	}))
	t.Cleanup(s.Close)
	return endpoints(s.Listener.Addr().String())
}

// post sends a request with a body, and returns the answer or what went wrong.
func (e *realEnvoy) post(ctx context.Context, host string, body []byte) <-chan string {
	answered := make(chan string, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://envoy.invalid/", bytes.NewReader(body))
		req.Host = host
		transport := e.transport(request{})
		defer transport.CloseIdleConnections()
		resp, err := transport.RoundTrip(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		answered <- fmt.Sprint(resp.StatusCode, " ", string(text))
	}()
	return answered
}

func (e *realEnvoy) websocket(ctx context.Context, host string) (*websocket.Conn, error) {
	transport := e.transport(request{})
	ws, resp, err := websocket.Dial(ctx, "ws://envoy.invalid/", &websocket.DialOptions{Host: host, HTTPClient: &http.Client{Transport: transport}})
	if resp != nil && resp.Body != nil && err != nil {
		_ = resp.Body.Close()
	}
	return ws, err
}

// namedChains are the versions whose Envoys can have requests wait.
var namedChains = []string{envoytest.Newest, "1.39"}

// An app that sleeps has no cluster in Envoy. Its requests wait for Relay, whatever they are and
// however their host is written, and arrive whole once the cluster has come.
func TestRequestsWaitForAnApp(t *testing.T) {
	t.Parallel()
	for _, version := range namedChains {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startScaling(t, version, func(f *routing.Fleet, _ *certstest.CA) { f.Options.StreamIdleTimeout = 5 * time.Second })
			// Once they go on, the times count: so long no machine stands still.
			timeouts := []string{"TIMEOUT=5s", "IDLE_TIMEOUT=5s"}
			app := set(t, webApp("/web", "web.test", "*.wild.test"), append(timeouts, "MAX_STREAM_DURATION=5s")...)
			silent := changed(set(t, webApp("/silent", "silent.test"), timeouts...), func(p *sources.Port) { p.Endpoints = endpoints(silence(t)) })
			release := e.waker.hold()
			e.c.SyncApps([]*sources.App{gated(app), silent, e.app("/plain", "plain.test")})
			e.eventually(t, request{host: "plain.test", path: "/"}, fromApp("/plain"))
			ctx, cancel := contextOf(t)
			defer cancel()
			hosts := []string{"web.test", "WEB.Test", "a.wild.test", "A.B.wild.test:80"}
			var answers []<-chan string
			for _, host := range hosts {
				answers = append(answers, e.post(ctx, host, make([]byte, 5<<20)))
			}
			type dialled struct {
				ws  *websocket.Conn
				err error
			}
			opened := make(chan dialled, 1)
			go func() {
				ws, err := e.websocket(ctx, "Web.test")
				opened <- dialled{ws, err}
			}()
			checks := e.waker.await(t, len(hosts)+1)
			for _, c := range checks {
				if c.app != "/web" || c.port != 0 || c.node != "envoy" || c.fleet != "external" || c.size > 1000 {
					t.Errorf("Relay was asked %+v", c)
				}
			}
			if clusters := e.clusters(t); strings.Contains(clusters, "/web_0") {
				t.Errorf("an app that sleeps has a cluster: %s", clusters)
			}
			// They wait for longer than another request lasts at the same timeouts: these do not count.
			if got := <-e.post(ctx, "silent.test", nil); !strings.HasPrefix(got, "504") {
				t.Errorf("an app that says nothing: %s", got)
			}
			e.c.UpdateApps([]*sources.App{gated(app, counted(t)...)}, nil)
			e.until(t, "the cluster", func() bool { return strings.Contains(e.clusters(t), "/web_0") })
			release()
			for i, host := range hosts {
				if got, want := <-answers[i], fmt.Sprintf("200 POST %s of %d bytes, <nil>, node %q", host, 5<<20, ""); got != want {
					t.Errorf("%s: %s, want %s", host, got, want)
				}
			}
			d := <-opened
			if d.err != nil {
				t.Fatal(d.err)
			}
			defer func() { _ = d.ws.CloseNow() }()
			ping(t, "Web.test", d.ws)
		})
	}
}

// clusters is what Envoy says of its clusters.
func (e *realEnvoy) clusters(t *testing.T) string {
	t.Helper()
	text, err := e.envoy.Get(t.Context(), "/clusters")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A client that leaves ends its wait.
func TestClientLeavesWhileItWaits(t *testing.T) {
	t.Parallel()
	e := startScaling(t, envoytest.Newest)
	defer e.waker.hold()()
	e.c.SyncApps([]*sources.App{gated(webApp("/web", "web.test"))})
	e.eventually(t, request{host: "other.test", path: "/"}, status(404))
	ctx, cancel := contextOf(t)
	defer cancel()
	waits := e.post(ctx, "web.test", nil)
	e.until(t, "it waits", func() bool { return e.waker.waiting.Load() == 1 })
	cancel()
	<-waits
	e.until(t, "the end of the wait", func() bool { return e.waker.waiting.Load() == 0 })
}

// silence is the address of an instance that says nothing.
func silence(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
