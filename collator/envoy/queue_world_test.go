package envoy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/deploy"
	"relay/scaling/queue"
	"relay/sources"
	"relay/xds/envoytest"
)

// queueWorld is an app with a queue, Relays that have the queue, and Envoys that ask them.
type queueWorld struct {
	t         testing.TB
	instances []*queuedInstance
	apps      *queuedApp
	relays    []*queueRelay
	envoys    []string // where clients connect
	processes []*envoytest.Envoy
}

// queuedInstance is an instance of the app. It notes how many requests it has at once.
type queuedInstance struct {
	address netip.AddrPort
	// takes is how long it takes for each request.
	takes time.Duration
	// held, if it is set, is closed before it answers anything.
	held chan struct{}
	// now are in progress, most were at once, in came, and out were answered.
	now, most, in, out atomic.Int64
}

// ServeHTTP implements http.Handler.
func (i *queuedInstance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := i.now.Add(1)
	defer i.now.Add(-1)
	i.in.Add(1)
	for most := i.most.Load(); n > most && !i.most.CompareAndSwap(most, n); most = i.most.Load() {
	}
	if r.Header.Get("Upgrade") == "websocket" {
		echo(w, r)
		return
	}
	size, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	if i.held != nil {
		select {
		case <-i.held:
		case <-r.Context().Done():
			return
		}
	}
	timer := time.NewTimer(i.takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	_, _ = fmt.Fprintf(w, "%d bytes\n", size)
	_ = r.Header.Write(w)
	i.out.Add(1)
}

// queuedApp says what there is of the app.
type queuedApp struct {
	mu      sync.Mutex
	port    queue.Port
	changed chan struct{}
	// others says what there is of other apps.
	others func(app string) (queue.Port, bool)
}

func newQueuedApp() *queuedApp { return &queuedApp{changed: make(chan struct{})} }

// Endpoints implements queue.Apps.
func (a *queuedApp) Endpoints(app string, port int) (queue.Port, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.others != nil {
		if other, ok := a.others(app); ok {
			return other, a.changed
		}
	}
	if app != "/shop/web" || port != 0 {
		return queue.Port{}, nil
	}
	return a.port, a.changed
}

func (a *queuedApp) set(change func(*queue.Port)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.port)
	close(a.changed)
	a.changed = make(chan struct{})
}

// Serves implements queue.Envoys, as WaitFor does.
func (a *queuedApp) Serves(string, string) bool { return true }

// WaitFor returns at once: the Envoys have all instances from the beginning.
func (a *queuedApp) WaitFor(context.Context, string, string, string, int) error { return nil }

// queueRelay is a Relay with nothing but the queue.
type queueRelay struct {
	address string
	service *queue.Service
	server  *grpc.Server
	asked   atomic.Int64
	link    *link
	hangs   atomic.Bool
}

func (w *queueWorld) startRelay() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	l := newLink(listener)
	r := &queueRelay{address: l.Addr().String(), server: grpc.NewServer(grpc.WaitForHandlers(true)), link: l}
	r.service = queue.New(w.apps, w.apps, queue.DefaultLimits(), prometheus.NewRegistry())
	r.service.Register(r.server, func(_ context.Context, first func() (*corev3.Node, error)) (func(), error) {
		node, err := first()
		if r.hangs.Load() && err != nil {
			return nil, err // Envoy asks no more
		}
		if err != nil || node.GetCluster() != "external" || node.GetId() == "" {
			w.t.Errorf("%v asks, %v", node, err)
			return nil, err
		}
		r.asked.Add(1)
		return func() {}, nil
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = r.server.Serve(l) }()
	w.t.Cleanup(func() { r.server.Stop(); <-done; r.service.Close() })
	w.relays = append(w.relays, r)
}

// startQueue starts an app with so many instances, of which each takes a while for a request, so
// many Relays, and so many Envoys.
func startQueue(t testing.TB, q sources.Queue, takes time.Duration, instances, relays, envoys int) *queueWorld {
	t.Helper()
	w := &queueWorld{t: t, apps: newQueuedApp()}
	w.apps.port.Queue = &q
	for range instances {
		i := &queuedInstance{takes: takes}
		s := httptest.NewServer(i)
		t.Cleanup(s.Close)
		i.address = netip.MustParseAddrPort(s.Listener.Addr().String())
		w.instances = append(w.instances, i)
		w.apps.port.Endpoints = append(w.apps.port.Endpoints, i.address)
	}
	for range relays {
		w.startRelay()
	}
	slices.SortFunc(w.relays, func(a, b *queueRelay) int {
		return netip.MustParseAddrPort(a.address).Compare(netip.MustParseAddrPort(b.address))
	})
	for n := range envoys {
		w.startEnvoy(fmt.Sprintf("edge-%d", n))
	}
	return w
}

func (w *queueWorld) startEnvoy(node string) {
	filter, err := envoy.QueueChainFilter("relay-queue-0")
	if err != nil {
		w.t.Fatal(err)
	}
	balancing, err := envoy.QueueBalancing(sources.BalanceDefault)
	if err != nil {
		w.t.Fatal(err)
	}
	asJSON := func(m proto.Message) string {
		text, err := protojson.Marshal(m)
		if err != nil {
			w.t.Fatal(err)
		}
		return string(text)
	}
	port := envoytest.FreePort(w.t)
	var bootstrap bytes.Buffer
	err = template.Must(template.New("").Parse(queueBootstrap)).Execute(&bootstrap, map[string]any{
		"Node": node, "Port": port, "Filter": asJSON(filter), "Balancing": asJSON(balancing), "Instances": w.apps.port.Endpoints, "Queue": w.queueCluster(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	process := envoytest.Start(w.t, envoytest.Options{Bootstrap: bootstrap.Bytes()})
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := process.WaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.processes = append(w.processes, process)
	w.envoys = append(w.envoys, fmt.Sprintf("127.0.0.1:%d", port))
}

// queueCluster is the cluster of Relays, as it is in the bootstraps of Envoys.
func (w *queueWorld) queueCluster() string {
	b := deploy.Bootstrap{NodeID: "edge", Fleet: "external", Admin: netip.MustParseAddrPort("127.0.0.1:0")}
	for _, r := range w.relays {
		b.XDS = append(b.XDS, r.address)
	}
	text, err := b.YAML()
	if err != nil {
		w.t.Fatal(err)
	}
	_, queues, _ := strings.Cut(string(text), "  - name: 'relay-queue-0'")
	first, _, _ := strings.Cut(queues, "  - name: 'relay-queue-1'")
	return "  - name: 'relay-queue-0'" + first
}

// hold has no instance answer before it is called.
func hold(instances []*queuedInstance) (release func()) {
	held := make(chan struct{})
	for _, i := range instances {
		i.held = held
	}
	return func() { close(held) }
}

// get sends a request by one of the Envoys.
func (w *queueWorld) get(client *http.Client, n int, path string) (*http.Response, string, error) {
	resp, err := client.Get("http://" + w.envoys[n%len(w.envoys)] + path)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// most is how many requests an instance had at once.
func (w *queueWorld) most() (most int64) {
	for _, i := range w.instances {
		most = max(most, i.most.Load())
	}
	return most
}

// answered is how many requests all instances have answered.
func (w *queueWorld) answered() (n int64) {
	for _, i := range w.instances {
		n += i.out.Load()
	}
	return n
}

// inProgress is how many requests all instances have.
func (w *queueWorld) inProgress() (n int64) {
	for _, i := range w.instances {
		n += i.now.Load()
	}
	return n
}

func (w *queueWorld) eventually(what string, happened func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s", what)
		}
	}
}

const queueBootstrap = `
node: {id: "{{.Node}}", cluster: external}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: http
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Port}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          upgrade_configs: [{upgrade_type: websocket}]
          route_config:
            virtual_hosts:
            - name: app
              domains: ["*"]
              routes:
              - match: {prefix: /plain}
                route: {cluster: app, timeout: 0s}
              - match: {prefix: /}
                route: {cluster: app, timeout: 0s}
                metadata: {filter_metadata: {relay.scaling: {app: /shop/web, port: 0}}}
                typed_per_filter_config:
                  scaling:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.composite.v3.CompositePerRoute
                    matcher: {on_no_match: {action: {name: run, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction, filter_chain_name: queue}}}}
          http_filters:
          - name: scaling
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite
              named_filter_chains: {queue: {typed_config: [ {{.Filter}} ]}}
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 1s
    load_balancing_policy: {{.Balancing}}
    circuit_breakers: {thresholds: [{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}]}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{{- range .Instances}}
        - endpoint: {address: {socket_address: {address: "{{.Addr}}", port_value: {{.Port}}}}}
{{- end}}
{{.Queue}}
`
