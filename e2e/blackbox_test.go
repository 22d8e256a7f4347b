package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relay/internal/relay"
)

// startBlackbox runs Debian's blackbox_exporter with the modules of deploy/blackbox.yml until the test ends. It trusts an authority.
func startBlackbox(t *testing.T, authority []byte) (address string) {
	t.Helper()
	program, err := exec.LookPath("prometheus-blackbox-exporter")
	if err != nil {
		t.Fatal("prometheus-blackbox-exporter is missing: make programs installs it")
	}
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(trusted, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	address = freeAddress(t)
	cmd := exec.Command(program, "--config.file", "../deploy/blackbox.yml", "--web.listen-address", address, "--log.level", "warn", "--timeout-offset", "0.05")
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+trusted, "SSL_CERT_DIR="+filepath.Dir(trusted))
	runUntilEnd(t, "blackbox_exporter", cmd)
	return address
}

// series returns the values of a query by the labels that are named.
func (p *runningPrometheus) series(query string, labels ...string) (values map[string]string, err error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.get("/api/v1/query", url.Values{"query": {query}}, &data); err != nil {
		return nil, err
	}
	values = make(map[string]string)
	for _, r := range data.Result {
		var key []string
		for _, l := range labels {
			key = append(key, r.Metric[l])
		}
		values[strings.Join(key, " ")] = fmt.Sprint(r.Value[1])
	}
	return values, nil
}

// expectSeries waits until the values of a query are as they are to be.
func (p *runningPrometheus) expectSeries(what, query string, labels []string, want map[string]string) {
	p.t.Helper()
	eventually(p.t, what, func() error {
		got, err := p.series(query, labels...)
		if err != nil {
			return err
		}
		var wrong []error
		for key, value := range want {
			if got[key] != value {
				wrong = append(wrong, fmt.Errorf("%s is %q, want %s", key, got[key], value))
			}
		}
		for key := range got {
			if _, known := want[key]; !known {
				wrong = append(wrong, fmt.Errorf("there is %s", key))
			}
		}
		slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return errors.Join(wrong...)
	})
}

// Who has a Prometheus and a blackbox_exporter finds every domain through every Envoy by Relay, with nothing but addresses
// put into the settings in deploy: those that work, one whose app answers with an error, and all of an Envoy that is killed. What
// sleeps is not asked.
func TestBlackboxExporterFindsAll(t *testing.T) {
	w := startEdges(t, func(w *edgesWorld) {
		w.relay.config.Scaling = relay.Scaling{Enabled: true, Marathon: w.relay.config.Apps.Marathon, WaitingPerApp: 10, WaitingInAll: 10, WakeRate: 1}
		w.certs.issue("secure.test")
		w.marathon.deploy(
			app("/plain", "plain.test", 1, "HAPROXY_GROUP", "external,internal", "RELAY_0_PROBE", "/health", "RELAY_OWNER", "shop"),
			app("/secure", "secure.test", 1, "HAPROXY_GROUP", "external,internal", "RELAY_0_PROBE", "/", "HAPROXY_0_REDIRECT_TO_HTTPS", "true"),
			app("/silent", "silent.test", 1, "RELAY_0_PROBE", "off"),
			app("/named", "named.test", 1, "RELAY_0_PROBE", "module relay_any"),
			app("/greedy", "greedy.test", 1, "RELAY_0_PROBE", "module login"), // which may have a password
			sleepyApp("/sleepy", "sleepy.test", 0, map[string]string{"RELAY_IDLE_AFTER": "30m", "RELAY_ASLEEP": "1", "RELAY_0_PROBE": "/"}),
		)
		broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
		t.Cleanup(broken.Close)
		w.marathon.service("/broken", []string{broken.Listener.Addr().String()}, "HAPROXY_0_VHOST", "broken.test", "RELAY_0_PROBE", "/")
	})
	p := startPrometheus(t, prometheusSettings{relay: w.admin.address(), blackbox: startBlackbox(t, w.certs.ca.RootPEM())})
	labels := []string{"fleet", "envoy", "domain", "app", "owner", "instance"}
	want := map[string]string{
		"external envoy plain.test /plain shop http://plain.test/health":  "1",
		"internal edge-2 plain.test /plain shop http://plain.test/health": "1",
		"external envoy secure.test /secure  https://secure.test/":        "1",
		"internal edge-2 secure.test /secure  https://secure.test/":       "1",
		"external envoy broken.test /broken  http://broken.test/":         "0",
		"external envoy named.test /named  http://named.test/":            "1",
	}
	p.expectSeries("all are asked", `probe_success{job="blackbox"}`, labels, want)
	w.second.Kill()
	for key := range want {
		if strings.HasPrefix(key, "internal ") {
			want[key] = "0"
		}
	}
	p.expectSeries("the second Envoy is killed", `probe_success{job="blackbox"}`, labels, want)
	p.expectSeries("that is seen", `ALERTS{alertname=~"Relay(Edge|Fleet)Down"}`, []string{"alertname", "fleet", "envoy"}, map[string]string{
		"RelayEdgeDown internal edge-2": "1", "RelayFleetDown internal ": "1",
	})
	// All have been asked several times by now.
	if got, err := p.series(`up{job="blackbox", domain="greedy.test"}`, "domain"); err != nil || len(got) > 0 {
		t.Errorf("an app is asked by any module that it names: %v, %v", got, err)
	}
}
