package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// discovering are the settings of a Prometheus that finds everything by a Relay: the Relay, the listeners of Envoys, and the
// domains for blackbox_exporter. The type of the token is said, as Prometheus 2.42 has no default for it there.
const discovering = `
global: {scrape_interval: 1s}
scrape_configs:
- job_name: relay
  authorization: {credentials_file: TOKEN}
  http_sd_configs: [{url: "RELAY/api/v1/sd/relays", authorization: {type: Bearer, credentials_file: TOKEN}}]
- job_name: edges
  metrics_path: /probe
  params: {module: [tcp]}
  http_sd_configs: [{url: "RELAY/api/v1/sd/envoys", authorization: {type: Bearer, credentials_file: TOKEN}}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {regex: "__meta_relay_(fleet|envoy|listener)", action: labelmap}
  - {target_label: __address__, replacement: "BLACKBOX"}
- job_name: domains
  metrics_path: /probe
  params: {module: [http]}
  http_sd_configs: [{url: "RELAY/api/v1/sd/domains?sample=10", authorization: {type: Bearer, credentials_file: TOKEN}}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__meta_relay_domain], target_label: __param_hostname}
  - {source_labels: [__meta_relay_url], target_label: instance}
  - {regex: "__meta_relay_(fleet|envoy|domain|app|owner)", action: labelmap}
  - {target_label: __address__, replacement: "BLACKBOX"}
`

// startBlackbox runs Debian's blackbox_exporter, which trusts the authority of the world.
func (w *world) startBlackbox() (address string) {
	w.t.Helper()
	path, err := exec.LookPath("prometheus-blackbox-exporter")
	if err != nil {
		w.t.Fatal("prometheus-blackbox-exporter is missing: make programs installs it")
	}
	address = freeAddress(w.t)
	settings := writeFile(w.t, "blackbox.yml", fmt.Sprintf("modules:\n  tcp: {prober: tcp}\n  http: {prober: http, http: {preferred_ip_protocol: ip4, tls_config: {ca_file: %s}}}\n",
		writeFile(w.t, "ca.pem", string(w.certs.ca.RootPEM()))))
	startProgram(w.t, path, "--config.file", settings, "--web.listen-address", address)
	return address
}

// startProgram runs a program until the test ends.
func startProgram(t *testing.T, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", path, log.String())
		}
	})
}

// A Prometheus and a blackbox_exporter that people have already find everything by Relay, and see what Relay's own
// probes see.
func TestPrometheusDiscovers(t *testing.T) {
	w, second := probedWorld(t)
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is missing: make programs installs it")
	}
	settings := strings.NewReplacer("RELAY", w.admin.url, "TOKEN", w.relay.config.Admin.TokenFile, "BLACKBOX", w.startBlackbox()).Replace(discovering)
	p := &runningPrometheus{t: t, address: freeAddress(t)}
	startProgram(t, path, "--config.file", writeFile(t, "prometheus.yml", settings), "--storage.tsdb.path", t.TempDir(), "--web.listen-address", p.address, "--log.level", "warn")
	up := func(queries ...string) {
		t.Helper()
		w.eventually("Prometheus finds all", func() error {
			var errs []error
			for _, query := range queries {
				errs = append(errs, p.has(query))
			}
			return errors.Join(errs...)
		})
	}
	up(`relay_build_info * on (instance) group_left up{job="relay"} == 1`,
		`probe_success{job="domains", domain="shop.test", app="/shop", owner="team-shop", fleet="external", envoy="envoy", instance="https://shop.test/health"} == 1`,
		`probe_success{job="domains", domain="inner.test", fleet="internal", envoy="inner-1", instance="http://inner.test/"} == 1`,
		`probe_success{job="domains", domain="seed.test", fleet="external"} == 1`,
		`probe_success{job="edges", fleet="external", listener="https"} == 1`, `count(probe_success{job="edges"} == 1) == 3`)
	second.Kill()
	up(`probe_success{job="domains", domain="inner.test", envoy="inner-1"} == 0`, `probe_success{job="edges", envoy="inner-1"} == 0`)
}
