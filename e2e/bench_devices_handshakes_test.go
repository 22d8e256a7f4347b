package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"relay/certs/certstest"
	"relay/xds/envoytest"
)

// handshakeTurn is how many devices connect in one turn of an Envoy: few, so that some turns meet nothing else
// on the machine.
const handshakeTurn = 160

// benchmarkHandshakes measures the CPU time of Envoy that a new device takes, from the handshake with its
// certificate to the first answer: with what Relay makes of the labels, and with an Envoy that is configured by
// hand to do as much and nothing else. They take turns.
func benchmarkHandshakes(b *testing.B) {
	w := newDeviceWorld(b)
	server := startBenchServer(b, whoServer)
	relayed := &benchDoor{name: "Relay", address: w.service("/imp", "", []*benchServer{server}, byTLS()...)}
	w.startWorkers(1)
	relayed.procfs = procfs{b, w.envoy.Pid()}
	bare := w.bareDoor(server.address)
	configs := make([]*tls.Config, handshakeTurn)
	for i := range configs {
		configs[i] = w.configs(i)
	}
	doors := []*benchDoor{bare, relayed}
	for _, d := range doors {
		d.devices = newBenchDevices(b, d.address, func(i int) *tls.Config { return configs[i] }, benchClients)
		w.listens(d.devices)
	}
	apart(b, []*benchProxy{{procfs: bare.procfs}, {procfs: relayed.procfs}})
	pin(b, server.cmd.Process.Pid, 1)
	pin(b, w.relay.pid, 1)
	cost := make([][]float64, len(doors))
	for range benchRounds {
		for i, d := range doors {
			cost[i] = append(cost[i], d.turn(b, configs))
		}
	}
	var ratios []float64
	for round := range benchRounds {
		ratios = append(ratios, cost[0][round]/cost[1][round])
	}
	for i, d := range doors {
		least, middle := slices.Min(cost[i]), median(cost[i])
		b.Logf("%s: least %.0f, median %.0f µs of CPU, so %.0f handshakes a second on one core", d.name, least, middle, 1e6/least)
		b.ReportMetric(1e6/least, "handshakes/s-"+d.name)
	}
	of := slices.Min(cost[0]) / slices.Min(cost[1])
	b.Logf("%.3f of the bare Envoy; median of the rounds %.3f", of, median(ratios))
	b.ReportMetric(of, "of-bare")
	if of < 0.9 {
		b.Errorf("%.2f as many handshakes as a bare Envoy, promised are 0.9", of)
	}
}

// benchDoor is an Envoy that lets devices in.
type benchDoor struct {
	procfs
	name, address string
	devices       *benchDevices
}

// turn returns what a new device costs Envoy, in µs of CPU time.
func (d *benchDoor) turn(b *testing.B, configs []*tls.Config) float64 {
	b.Helper()
	of := benchProxy{procfs: d.procfs}
	before := of.spent(b)
	var wg sync.WaitGroup
	errs := make([]error, benchClients)
	for client := range benchClients {
		wg.Go(func() {
			for i := client; i < len(configs) && errs[client] == nil; i += benchClients {
				var conn net.Conn
				if conn, errs[client] = d.devices.connect(configs[i]); errs[client] == nil {
					errs[client] = conn.Close()
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			b.Fatalf("%s: %v", d.name, err)
		}
	}
	return float64((of.spent(b) - before).Nanoseconds()) / 1000 / float64(len(configs))
}

// bareDoor starts an Envoy that is configured by hand: certificates of clients by URI, the header of the
// PROXY protocol, and the server with the fewest connections.
func (w *deviceWorld) bareDoor(server string) *benchDoor {
	w.b.Helper()
	dir := w.b.TempDir()
	shown := w.ca.TestIssue(w.b, []string{devicesDomain}, certstest.Options{})
	for name, content := range map[string][]byte{"server.pem": shown.Bundle(), "clients.pem": w.devices.PEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			w.b.Fatal(err)
		}
	}
	door := &benchDoor{name: "bare", address: freeAddress(w.b)}
	var values strings.Builder
	for i, what := range []string{"PEER_URI_SAN", "PEER_SUBJECT", "PEER_FINGERPRINT_256", "PEER_SERIAL"} {
		fmt.Fprintf(&values, "\n          - {type: %s, format_string: {text_format_source: {inline_string: \"%%DOWNSTREAM_%s%%\"}}}", strconv.Itoa(0xE0+i), what)
	}
	bootstrap := fmt.Sprintf(`admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: devices
    address: %s
    listener_filters: [{name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}]
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificates: [{certificate_chain: {filename: %[2]s/server.pem}, private_key: {filename: %[2]s/server.pem}}]
            validation_context: {trusted_ca: {filename: %[2]s/clients.pem}, match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: "%[3]s"}}]}
      filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: devices
          cluster: devices
          upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE
          max_early_data_bytes: 16384
          proxy_protocol_tlvs:%[4]s
  clusters:
  - name: devices
    load_balancing_policy: {policies: [{typed_extension_config: {name: least, typed_config: {"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest}}}]}
    transport_socket:
      name: proxy-protocol
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
        config: {version: V2, pass_through_tlvs: {match_type: INCLUDE_ALL}}
        transport_socket: {name: raw, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}
    load_assignment: {cluster_name: devices, endpoints: [{lb_endpoints: [{endpoint: {address: %[5]s}}]}]}
`, socketAddress(door.address), dir, benchTenant, values.String(), socketAddress(server))
	e := envoytest.Start(w.b, envoytest.Options{Bootstrap: []byte(bootstrap), Workers: 1})
	door.procfs = procfs{w.b, e.Pid()}
	return door
}
