package wake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/internal/authz"
	"relay/xds"
	"relay/xds/envoytest"
)

// envoyWorld is a real Envoy that asks the service on an xDS port, and an app behind it.
type envoyWorld struct {
	t     testing.TB
	apps  *fakeApps
	http  string // address of the listener
	relay string // address of the xDS port
	*Service
	envoy *envoytest.Envoy
	stop  func() // ends the service
	// limits change those of the xDS port.
	limits []func(*xds.Limits)

	mu   sync.Mutex
	came []string // the paths of the requests that the app got
}

func freeAddress(t testing.TB) string { return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)) }

func startEnvoyWorld(t testing.TB, config Config, workers int, limits ...func(*xds.Limits)) *envoyWorld {
	t.Helper()
	return startEnvoyWorldOf(t, "127.0.0.1:1", config, workers, limits...)
}

// startEnvoyWorldOf has another app, below /ordered/.
func startEnvoyWorldOf(t testing.TB, ordered string, config Config, workers int, limits ...func(*xds.Limits)) *envoyWorld {
	t.Helper()
	w := &envoyWorld{t: t, apps: newFakeApps(), http: freeAddress(t), relay: freeAddress(t), limits: limits}
	w.serve(config)
	t.Cleanup(func() { w.stop() })
	app := httptest.NewServer(w)
	t.Cleanup(app.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.UnknownServiceHandler(echoMessages))
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	bootstrap, err := os.ReadFile("testdata/envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	text := strings.NewReplacer("PORT_HTTP", port(w.http), "PORT_APP", port(app.Listener.Addr().String()),
		"PORT_ORDERED", port(ordered), "PORT_GRPC", port(l.Addr().String()), "PORT_RELAY", port(w.relay)).Replace(string(bootstrap))
	w.envoy = envoytest.Start(t, envoytest.Options{Bootstrap: []byte(text), Workers: workers})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.envoy.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve starts the service on its port.
func (w *envoyWorld) serve(config Config) {
	w.t.Helper()
	l, err := net.Listen("tcp", w.relay)
	if err != nil {
		w.t.Fatal(err)
	}
	server := xds.NewServer(map[string]*xds.Store{"edge": xds.NewStore()}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	for _, change := range w.limits {
		change(&server.Limits)
	}
	s := New(config, w.apps, &fakeEnvoys{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	s.sendLimit = time.Minute // no request is to overtake another because the machine stood still
	server.PerRequest, server.Answered = []string{authz.Method}, s
	server.Services = func(g grpc.ServiceRegistrar) { authz.Register(g, nil, s.Answer(server.AdmitRequest)) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- server.Serve(ctx, l) }()
	go func() { done <- s.Run(ctx) }()
	w.Service = s
	w.stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				w.t.Errorf("the service ended: %v", err)
			}
		}
	})
}

// ServeHTTP is the app: it says how much it was sent, and echoes WebSockets.
func (w *envoyWorld) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.came = append(w.came, r.URL.Path)
	w.mu.Unlock()
	if r.Header.Get("Upgrade") == "websocket" {
		ws, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		kind, message, err := ws.Read(r.Context())
		if err == nil {
			_ = ws.Write(r.Context(), kind, message)
		}
		return
	}
	n, err := io.Copy(io.Discard, r.Body)
	_, _ = fmt.Fprint(rw, r.Method, " ", n, " ", err, " ", r.Header.Get("X-Relay-Node"))
}

func (w *envoyWorld) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.came...)
}

// echoMessages is a gRPC service that sends back what it gets.
func echoMessages(_ any, g grpc.ServerStream) error {
	for {
		message := new(wrapperspb.StringValue)
		if err := g.RecvMsg(message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := g.SendMsg(message); err != nil {
			return err
		}
	}
}

// result is what a client got.
type result struct {
	status int
	body   string
	header http.Header
	err    error
}

// send sends a request. The header has names and values in turn.
func (w *envoyWorld) send(ctx context.Context, method, path string, body io.Reader, header ...string) <-chan result {
	got := make(chan result, 1)
	req, err := http.NewRequestWithContext(ctx, method, "http://"+w.http+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	go func() {
		// A connection of its own, as clients have.
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			got <- result{err: err}
			return
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got <- result{resp.StatusCode, string(text), resp.Header, err}
	}()
	return got
}

// waitHeld waits until so many requests are held.
func (w *envoyWorld) waitHeld(want int) {
	w.t.Helper()
	w.waitFor("requests are held", want, func() int {
		w.Service.mu.Lock()
		defer w.Service.mu.Unlock()
		return w.held
	})
}

// waitWoken waits until apps were woken so many times: nobody waits for that.
func (w *envoyWorld) waitWoken(want int) {
	w.t.Helper()
	w.waitFor("times woken", want, func() int { return len(w.apps.wokenApps()) })
}

func (w *envoyWorld) waitFor(what string, want int, count func() int) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		n := count()
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d %s, want %d", n, what, want)
		}
	}
}
