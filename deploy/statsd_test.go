package deploy_test

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/deploy"
	"relay/xds/envoytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Who does not ask for stats gets the bootstrap of before, byte by byte.
func TestBootstrapWithoutStatsD(t *testing.T) {
	t.Parallel()
	b := good
	b.Limits = deploy.Limits{MaxConnections: 448, MaxHeap: 1 << 30}
	got, err := b.YAML()
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "envoy-bootstrap.golden.yaml")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the bootstrap is another one (%v): go test ./deploy -update writes it, look at the difference", err)
	}
}

// Each form is taken by each Envoy.
func TestEnvoyAcceptsStatsD(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]deploy.StatsD{
		"UDP":                   {Address: "127.0.0.1:8125", Prefix: "envoy.{fleet}.{node}"},
		"IPv6":                  {Address: "[::1]:8125", Interval: 2500 * time.Millisecond, Apps: true},
		"TCP":                   {Address: "statsd.test:8125", TCP: true, Prefix: "envoy"},
		"none, but access logs": {},
		"tags":                  {Address: "127.0.0.1:8125", Tags: true, Prefix: "envoy"},
	} {
		b := good
		b.StatsD, b.AccessLog = s, "127.0.0.1:4317"
		path, err := b.Write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		accepts(t, name, path)
	}
}

func TestStatsDMistakes(t *testing.T) {
	t.Parallel()
	for words, s := range map[string]deploy.StatsD{
		"is not HOST:PORT":        {Address: "127.0.0.1:0"},
		"missing port in address": {Address: "127.0.0.1"},
		"tcp://statsd.test:8125":  {Address: "statsd.test:8125"},
		"go by UDP only":          {Address: "127.0.0.1:8125", TCP: true, Tags: true},
		"give at least 1s":        {Address: "127.0.0.1:8125", Interval: time.Millisecond},
		"write letters, digits":   {Address: "127.0.0.1:8125", Prefix: "a\nb"},
	} {
		b := good
		b.StatsD = s
		if text, err := b.YAML(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v, want %q\n%s", s, err, words, text)
		}
	}
}

// received are the names that came to a collector.
type received struct {
	mu    sync.Mutex
	lines map[string]string
}

func (r *received) take(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		r.lines[name] = value
	}
}

func (r *received) names() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.lines {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// listen is a collector of both kinds, on one port. It ends with the test.
func (r *received) listen(t *testing.T) (address string) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { _, _ = tcp.Close(), udp.Close(); running.Wait() })
	read := func(from func([]byte) (int, error)) {
		for buffer := make([]byte, 1<<16); ; {
			n, err := from(buffer)
			if err != nil {
				return
			}
			r.take(string(buffer[:n]))
		}
	}
	running.Go(func() {
		read(func(b []byte) (int, error) { n, _, err := udp.ReadFrom(b); return n, err })
	})
	running.Go(func() {
		for conn, err := tcp.Accept(); err == nil; conn, err = tcp.Accept() {
			running.Go(func() { read(conn.Read); _ = conn.Close() })
		}
	})
	return tcp.Addr().String()
}

// The bootstrap tells Relay that it has a collector of access logs.
func TestAccessLogIsTold(t *testing.T) {
	t.Parallel()
	b := good
	b.AccessLog = "collector.test:4317"
	text, err := b.YAML()
	if err != nil || !strings.Contains(string(text), "accepts: '12', access_log: collector}") || !strings.Contains(string(text), "address: 'collector.test', port_value: 4317") {
		t.Errorf("%v\n%s", err, text)
	}
	b.AccessLog = "collector.test"
	if text, err := b.YAML(); err == nil {
		t.Errorf("an address without port is taken:\n%s", text)
	}
}

// Stats of each Envoy arrive, named as the prefix says, by each way.
func TestStatsArrive(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		for name, s := range map[string]deploy.StatsD{"UDP": {}, "TCP": {TCP: true}, "tags": {Tags: true}} {
			t.Run(version+" "+name, func(t *testing.T) {
				t.Parallel()
				r := &received{lines: make(map[string]string)}
				s.Address, s.Prefix, s.Interval = r.listen(t), "envoy.{fleet}.{node}", time.Second
				envoytest.Start(t, envoytest.Options{Version: version, NodeID: "edge-1.test", XDS: []string{"127.0.0.1:1"}, StatsD: s})
				wanted := []string{"server.live", "control_plane.connected_state", "cluster_manager.active_clusters"}
				if s.Tags {
					wanted = append(wanted, "cluster.upstream_cx_total;envoy.cluster_name=relay-xds")
				} else {
					wanted = append(wanted, "cluster.relay-xds.upstream_cx_total")
				}
				await(t, func() (missing string) {
					got := r.names()
					for _, n := range wanted {
						if !slices.Contains(got, "envoy.external.edge-1_test."+n) {
							missing += "no " + n + "; "
						}
					}
					return missing
				}, func() { t.Logf("there are %q", r.names()) })
				for _, n := range r.names() {
					if strings.Contains(n, "relay-queue") || !strings.HasPrefix(n, "envoy.external.edge-1_test.") {
						t.Errorf("%s came", n)
					}
				}
			})
		}
	}
}

// await waits until nothing is missing.
func await(t *testing.T, missing func() string, say func()) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		m := missing()
		if m == "" {
			return
		}
		if time.Now().After(deadline) {
			say()
			t.Fatal(m)
		}
	}
}

// Envoy counts what waits for a collector that takes nothing, by which it bounds that.
func TestStatsForAHangingCollector(t *testing.T) {
	t.Parallel()
	hangs, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.Close()
	b := good
	b.StatsD = deploy.StatsD{Address: hangs.Addr().String(), TCP: true, Interval: time.Second, Prefix: strings.Repeat("long", 200)}
	text, err := b.YAML()
	if err != nil {
		t.Fatal(err)
	}
	often := strings.NewReplacer("stats_flush_interval: 1s", "stats_flush_interval: 0.005s", "port_value: 9901", "port_value: 0").Replace(string(text))
	for _, version := range envoytest.Versions() {
		e := envoytest.Start(t, envoytest.Options{Version: version, Bootstrap: []byte(often)})
		await(t, func() string {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			stat, err := e.Get(ctx, `/stats?filter=^cluster\.statsd\.upstream_cx_tx_bytes_buffered$`)
			if value := strings.TrimSpace(strings.TrimPrefix(stat, "cluster.statsd.upstream_cx_tx_bytes_buffered:")); err != nil || value == "" || value == "0" {
				return "Envoy " + version + " does not know what waits: " + stat
			}
			return ""
		}, func() {})
	}
}
