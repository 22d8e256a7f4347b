package envoy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/deploy"
	"relay/sources"
	"relay/xds/envoytest"
)

// accessLogged are requests whose lines are looked for, and a browser that tries to make one of its own.
func (e *realEnvoy) accessLogged(t *testing.T) {
	t.Helper()
	port := envoytest.FreePort(t)
	db := changed(serviceApp("/db", sources.TCP{Port: port}), func(p *sources.Port) { p.Endpoints = endpoints(e.greets()) })
	e.c.SyncApps([]*sources.App{e.app("/shop", "shop.test"), db})
	e.eventually(t, request{host: "shop.test", path: "/"}, status(200))
	e.until(t, "the service is served", func() bool { return greeted(fmt.Sprintf("127.0.0.1:%d", port)) == nil })
	long := strings.Repeat("x", 20_000)
	for _, r := range []request{
		{host: "shop.test", path: "/search?q=s3cret&token=s3cret"},
		{host: "shop.test", path: "/" + long},
		{host: "shop.test", path: "/", header: http.Header{
			"User-Agent": {`"}` + "\t" + `{"forged":"yes"}` + long}, "Authorization": {"Bearer s3cret"}, "Cookie": {"s3cret"}, "Referer": {"http://a.test/?s3cret"}, "X-Envoy-Original-Path": {"/s3cret"},
		}},
		{host: "nobody.test", path: "/?s3cret"},
	} {
		_, _ = e.send(t.Context(), r)
	}
	conn, err := net.Dial("tcp", e.fleet.HTTP.String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET /\",\"forged\":\"yes\",\"x\":\"\\ HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: \xff\",\"forged\":\"yes\r\nConnection: close\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
}

// wellLogged says what is wrong with the lines of accessLogged.
func wellLogged(lines []map[string]string) error {
	var found, failed, connected bool
	for _, l := range lines {
		if text := fmt.Sprint(l); strings.Contains(text, "s3cret") || l["forged"] != "" || len(text) > 6000 {
			return permanentError{fmt.Errorf("a line has what it should not: %.3000q", l)}
		}
		if l["url.path"] == "/search" {
			found = true
			for name, want := range map[string]string{
				"http.request.method": "GET", "http.response.status_code": "200", "url.domain": "shop.test", "client.address": "127.0.0.1", "relay.fleet": "external",
				"relay.cluster": "/shop_0", "event.dataset": "relay.access", "http.version": "HTTP/1.1", "message": "GET shop.test/search 200",
			} {
				if l[name] != want {
					return permanentError{fmt.Errorf("%s is %q, want %q: %v", name, l[name], want, l)}
				}
			}
			if l["relay.duration_ms"] == "" || l["destination.address"] == "" {
				return permanentError{fmt.Errorf("%v", l)}
			}
		}
		if l["relay.cluster"] == "/db_0" && l["network.transport"] == "tcp" && l["client.address"] == "127.0.0.1" && l["destination.bytes"] == "6" && l["destination.address"] != "" {
			connected = true
		}
		failed = failed || l["url.domain"] == "nobody.test" && l["http.response.status_code"] == "404" && l["relay.error"] != ""
	}
	if !found || !failed || !connected || len(lines) < 6 {
		return fmt.Errorf("%d lines, /search %t, the failure %t, the connection %t", len(lines), found, failed, connected)
	}
	return nil
}

// permanentError does not go away by waiting.
type permanentError struct{ error }

func awaitLogged(t *testing.T, lines func() []map[string]string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := wellLogged(lines())
		if _, bad := errors.AsType[permanentError](err); bad || err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
		if err == nil {
			return
		}
	}
}

// Each request is a line of JSON in the file, without query strings and credentials, and no client forges one.
func TestAccessLogFile(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "access.json")
			e := startVersion(t, version, func(f *routing.Fleet, _ *certstest.CA) { f.AccessLog.File = file })
			e.c.SyncCertificates("vault", nil, nil)
			e.accessLogged(t)
			awaitLogged(t, func() (lines []map[string]string) {
				text, _ := os.ReadFile(file)
				for line := range strings.Lines(string(text)) {
					var fields map[string]any
					if err := json.Unmarshal([]byte(line), &fields); err != nil && strings.HasSuffix(line, "\n") {
						t.Fatalf("%v: %s", err, line)
					}
					texts := make(map[string]string)
					for name, value := range fields {
						texts[name] = fmt.Sprint(value)
					}
					lines = append(lines, texts)
				}
				return lines
			})
		})
	}
}

// logCollector takes logs by OpenTelemetry's protocol.
type logCollector struct {
	mu    sync.Mutex
	lines []map[string]string
}

// rawCodec hands messages on as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(m any) (mem.BufferSlice, error) {
	text, err := proto.Marshal(m.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(text)}, err
}
func (rawCodec) Unmarshal(data mem.BufferSlice, into any) error {
	return proto.Unmarshal(data.Materialize(), into.(proto.Message))
}

var _ encoding.CodecV2 = rawCodec{}

// start serves until the test ends, and returns the address.
func (c *logCollector) start(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		// A request is of the same form as LogsData.
		var logs logsv1.LogsData
		if err := stream.RecvMsg(&logs); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		c.take(&logs)
		return stream.SendMsg(&emptypb.Empty{})
	}))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func (c *logCollector) take(logs *logsv1.LogsData) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range logs.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				line := map[string]string{"message": record.GetBody().GetStringValue()}
				for _, a := range append(record.Attributes, resource.GetResource().GetAttributes()...) {
					line[a.Key] = a.Value.GetStringValue()
				}
				c.lines = append(c.lines, line)
			}
		}
	}
}

func (c *logCollector) all() []map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines[:len(c.lines):len(c.lines)]
}

// Each request is sent to the collector that the bootstrap names, by each Envoy.
func TestAccessLogCollector(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			var c logCollector
			e := startEnvoyWith(t, envoytest.Options{Version: version, NodeID: "edge-1", AccessLog: c.start(t)}, toCollector)
			e.c.SyncCertificates("vault", nil, nil)
			e.accessLogged(t)
			t.Cleanup(func() {
				if t.Failed() {
					stats, _ := e.envoy.Stats(context.Background(), regexp.MustCompile("access.log"))
					t.Logf("Envoy: %v; came: %.3000q", stats, c.all())
				}
			})
			awaitLogged(t, c.all)
			odd := func() bool {
				return slices.ContainsFunc(c.all(), func(l map[string]string) bool {
					return l["relay.odd"] == "true" && l["url.path"] == "" && l["http.response.status_code"] != ""
				})
			}
			for deadline := time.Now().Add(patience); !odd(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("no odd line: %v", c.all())
				}
			}
			if l := c.all()[0]; l["node_name"] != "edge-1" || l["service.name"] != "envoy" {
				t.Errorf("whose line it is: %v", l)
			}
		})
	}
}

func toCollector(f *routing.Fleet, _ *certstest.CA) { f.AccessLog.Collector = true }

// A collector that is not there, that hangs, or that the bootstrap does not name stops no request, and what waits for it is
// little.
func TestAccessLogWithoutCollector(t *testing.T) {
	t.Parallel()
	hangs, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hangs.Close() })
	for name, collector := range map[string]string{"hangs": hangs.Addr().String(), "away": fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)), "not named": ""} {
		envoytest.ForEachVersion(t, func(t *testing.T, version string) {
			e := startEnvoyWith(t, envoytest.Options{Version: version, AccessLog: collector, StatsD: deploy.StatsD{Address: "127.0.0.1:9"}}, toCollector)
			e.c.SyncCertificates("vault", nil, nil)
			e.c.SyncApps([]*sources.App{e.app("/shop", "shop.test")})
			e.eventually(t, request{host: "shop.test", path: "/"}, status(200))
			client := e.client(t, false)
			ask := func(n int) {
				t.Helper()
				for range n {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.fleet.HTTP.String()+"/"+strings.Repeat("x", 1000), nil)
					if err != nil {
						t.Fatal(err)
					}
					r.Host = "shop.test"
					a, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, a.Body)
					_ = a.Body.Close()
					if a.StatusCode != http.StatusOK {
						t.Fatalf("%s: %s", name, a.Status)
					}
				}
			}
			ask(2000)
			before := e.memory(t)
			ask(10_000) // of some 3 kB each
			if grown := e.memory(t) - before; grown > 8<<10 {
				t.Errorf("%s: Envoy %s has grown by %d kB", name, version, grown)
			}
		})
	}
}

// An Envoy that cannot open the file rejects the listener, and says why: it goes on with the one it had, but an Envoy
// that starts has none.
func TestAccessLogFileUnusable(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := startVersion(t, version, func(f *routing.Fleet, _ *certstest.CA) {
			f.AccessLog.File = filepath.Join(t.TempDir(), "no", "such", "folder", "access.json")
		})
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{e.app("/shop", "shop.test")})
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			text := "nothing is rejected"
			for _, s := range e.server.Streams() {
				for _, kind := range s.Types {
					if kind.Rejected != nil {
						text = fmt.Sprintf("%+v", *kind.Rejected)
					}
				}
			}
			if strings.Contains(text, "unable to open file") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("Envoy %s: %s", version, text)
			}
		}
	})
}
