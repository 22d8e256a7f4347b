package traffic

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"

	"relay/xds/envoytest"
)

// loadWorld is a real Envoy, without Relay, that reports its load to a server of the test.
type loadWorld struct {
	t                  *testing.T
	loads              *Loads
	envoy              *envoytest.Envoy
	http               string // address of the listener
	tcp                string
	app                netip.AddrPort // the endpoint of "app"
	xds                string
	stop               func() // ends the server
	bootstrap, version string
	usual              time.Duration
	read               atomic.Int64 // reports that the server has read
}

const loadBootstrap = `
node: {id: edge-1, cluster: external}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
stats_flush_on_admin: true
cluster_manager:
  enable_deferred_cluster_creation: true
  load_stats_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: relay-xds}}]}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %HTTP%}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          upgrade_configs: [{upgrade_type: websocket}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {path: "/direct"}, direct_response: {status: 503}}
              - {match: {path: "/download"}, route: {cluster_header: x-cluster, timeout: 0s}}
              - {match: {path: "/hang"}, route: {cluster_header: x-cluster, timeout: 0.5s}}
              - match: {prefix: "/"}
                route: {cluster_header: x-cluster, timeout: 60s, retry_policy: {retry_on: connect-failure, num_retries: 1, retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]}}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  - address: {socket_address: {address: 127.0.0.1, port_value: %TCP%}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: tcp
  clusters:
  - name: relay-xds
    type: STATIC
    load_assignment: {cluster_name: relay-xds, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %XDS%}}}}]}]}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
`

func freeAddress(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)) }

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// startLoadWorld starts an Envoy with the clusters "app", "tcp", "dead" (refuses connections), "half"
// (one of two endpoints does), "busy" (lets one request through) and "empty".
func startLoadWorld(t *testing.T, version string) *loadWorld {
	t.Helper()
	return startLoadWorldEvery(t, version, time.Second)
}

// startLoadWorldEvery is startLoadWorld with another interval between reports.
func startLoadWorldEvery(t *testing.T, version string, usual time.Duration) *loadWorld {
	t.Helper()
	w := &loadWorld{t: t, version: version, usual: usual, http: freeAddress(t), tcp: freeAddress(t)}
	w.loads = NewLoads([]string{"external"}, func(_, cluster string) bool { return cluster != "relay-xds" })
	w.xds = freeAddress(t)
	w.serve()

	app := httptest.NewServer(http.HandlerFunc(serveApp))
	t.Cleanup(app.Close)
	echo := startEcho(t)
	alive, dead := app.Listener.Addr().String(), freeAddress(t)
	w.app = netip.MustParseAddrPort(alive)
	b := strings.NewReplacer("%HTTP%", port(w.http), "%TCP%", port(w.tcp), "%XDS%", port(w.xds)).Replace(loadBootstrap)
	for name, endpoints := range map[string][]string{"app": {alive}, "tcp": {echo}, "dead": {dead}, "half": {alive, dead}, "busy": {alive}, "empty": nil} {
		var eps []string
		for _, e := range endpoints {
			eps = append(eps, fmt.Sprintf("{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}", port(e)))
		}
		limit := ""
		if name == "busy" {
			limit = "\n    circuit_breakers: {thresholds: [{max_requests: 1}]}"
		}
		b += fmt.Sprintf("  - name: %s\n    type: STATIC\n    connect_timeout: 20s%s\n    load_assignment: {cluster_name: %s, endpoints: [{lb_endpoints: [%s]}]}\n",
			name, limit, name, strings.Join(eps, ", "))
	}
	w.bootstrap = b
	w.start()
	return w
}

func (w *loadWorld) start() {
	w.t.Helper()
	w.envoy = envoytest.Start(w.t, envoytest.Options{Version: w.version, Bootstrap: []byte(w.bootstrap)})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.envoy.WaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// restart ends Envoy, and starts another one.
func (w *loadWorld) restart() {
	w.t.Helper()
	w.envoy.Kill()
	w.start()
}

// serve starts the server, until stop is called.
func (w *loadWorld) serve() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.xds)
	if err != nil {
		w.t.Fatal(err)
	}
	g := grpc.NewServer()
	s := NewLoadServer(w.loads, func(string, string) bool { return true })
	s.interval = w.usual
	s.Register(g, func(_ context.Context, first func() (*corev3.Node, error)) (handled, done func(), err error) {
		_, err = first()
		return func() { w.read.Add(1) }, func() {}, err
	})
	go func() { _ = g.Serve(l) }()
	w.stop = g.Stop
	w.t.Cleanup(g.Stop)
}

// serveApp answers with the status in the path; "/hang" waits, "/reset" closes without an
// answer, and "/ws" becomes a WebSocket that says nothing.
func serveApp(rw http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/hang":
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
	case "/download":
		_, _ = io.WriteString(rw, "some")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	case "/reset", "/ws":
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if r.URL.Path == "/ws" {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}
	default:
		var code int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &code)
		rw.WriteHeader(code)
	}
}

func startEcho(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func (w *loadWorld) get(cluster, path string) int {
	w.t.Helper()
	req, _ := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.http+path, nil)
	req.Header.Set("X-Cluster", cluster)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// counted returns all that was counted of a cluster, and what is in progress.
func (w *loadWorld) counted(cluster string) counts {
	f := w.loads.fleets["external"]
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.clusters[cluster]
	if c == nil {
		return counts{}
	}
	var all counts
	for _, t := range c.minutes {
		all.add(t)
	}
	all.inProgress = uint32(c.inProgress)
	return all
}

// expect waits until so much was counted of a cluster.
func (w *loadWorld) expect(cluster string, requests, errors, inProgress uint32) {
	w.t.Helper()
	want := counts{tally{requests, errors}, inProgress}
	w.eventually(fmt.Sprintf("%s: %+v", cluster, want), func() bool { return w.counted(cluster) == want })
}

func (w *loadWorld) eventually(what string, check func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			f := w.loads.fleets["external"]
			f.mu.Lock()
			for name, c := range f.clusters {
				w.t.Logf("%s: %v, %d in progress", name, c.minutes, c.inProgress)
			}
			f.mu.Unlock()
			w.t.Fatalf("not so: %s", what)
		}
	}
}

// reporting waits until Envoy has reported: before, it has not begun to count.
func (w *loadWorld) reporting() {
	w.t.Helper()
	w.eventually("Envoy reports", func() bool { _, ok := w.loads.Cluster("external", "app"); return ok })
}

// open opens a connection, and sends something.
func (w *loadWorld) open(address, text string) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_, _ = io.WriteString(conn, text)
	return conn
}

func upgrade(cluster, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a.test\r\nX-Cluster: " + cluster + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
}

// moreReports waits until Envoy has reported n times more.
func (w *loadWorld) moreReports(n int64) {
	w.t.Helper()
	reports := func() int64 { return stat(w.t, w.envoy, "load_reporter.responses") }
	before := reports()
	w.eventually("Envoy reports again", func() bool { return reports() >= before+n })
}

// unread is how many reports of Envoy the server has never read, of all since it began. What is under way is
// none of them.
func (w *loadWorld) unread() int64 {
	w.t.Helper()
	least, began := int64(math.MaxInt64), w.read.Load()
	w.eventually("reports are read", func() bool {
		least = min(least, w.notRead())
		return w.read.Load() > began
	})
	return min(least, w.notRead())
}

// notRead is unread, with what is under way.
func (w *loadWorld) notRead() int64 {
	w.t.Helper()
	read := w.read.Load()
	return stat(w.t, w.envoy, "load_reporter.responses") - read
}

// cut stops the server, and waits until Envoy knows. Reports that it sends until it is back are lost, and what
// they had with them; lost says, once it is back and reports are read, whether there were any.
func (w *loadWorld) cut() (lost func() bool) {
	w.t.Helper()
	const ends = "load_reporter.errors"
	unread, before := w.unread(), stat(w.t, w.envoy, ends)
	w.stop()
	w.eventually("Envoy has lost its stream", func() bool { return stat(w.t, w.envoy, ends) > before })
	return func() bool { return w.unread() > unread }
}

func stat(t *testing.T, e *envoytest.Envoy, name string) int64 {
	t.Helper()
	stats, err := e.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(name)+"$"))
	if err != nil {
		t.Fatal(err)
	}
	return stats[name]
}
