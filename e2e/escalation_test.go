package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/internal/relay"
)

// probeAs has Relay ask from outside, as settings say. It trusts the world's authority.
func (w *world) probeAs(settings string) {
	w.t.Helper()
	folder := w.t.TempDir()
	authority, file := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "probes.yaml")
	for name, text := range map[string]string{authority: string(w.certs.ca.RootPEM()), file: "ca-file: " + authority + "\n" + settings} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.relay.config.Probes = relay.Probes{Enabled: true, File: file, Place: "here"}
}

// askEdges has Relay ask both Envoys as if they were of one fleet, as often as is the default, or as settings say.
func (w *edgesWorld) askEdges(settings string) {
	port := func(address string) string { return strings.TrimPrefix(address, "127.0.0.1:") }
	w.probeAs(fmt.Sprintf("fleets: [external]\nenvoys:\n  external:\n  - {id: edge-1, address: 127.0.0.1, http: %s, https: %s}\n  - {id: edge-2, address: 127.0.0.1, http: %s, https: %s}\n%s",
		port(w.clients.http), port(w.clients.https), port(w.http), port(w.https), settings))
}

// becomes waits until check is content, and fails the test after a limit. It returns how long that took.
func becomes(t *testing.T, what string, limit time.Duration, check func() error) time.Duration {
	t.Helper()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
	}
}

// An Envoy is killed. By the settings in deploy, with the intervals that they have, one incident is opened at PagerDuty
// within 90 s, though two Prometheus see it; it is resolved when the Envoy is back. The watchdog calls all the time.
func TestEscalation(t *testing.T) {
	w := startEdges(t, func(w *edgesWorld) {
		w.certs.issue("shop.test")
		w.certs.issue("b.test")
		w.marathon.deploy(
			app("/shop", "shop.test", 1, "HAPROXY_GROUP", "external,internal", "RELAY_0_PROBE", "/ 2xx within 5s", "RELAY_OWNER", "shop"),
			app("/b", "b.test", 1, "HAPROXY_GROUP", "external,internal", "RELAY_0_PROBE", "/"))
		w.askEdges("")
	})
	a := startAlertmanager(t, 0)
	settings := prometheusSettings{relay: w.admin.address(), alertmanager: a.address, asShipped: true}
	both := []*runningPrometheus{startPrometheus(t, settings), startPrometheus(t, settings)}
	for _, p := range both {
		p.expectSeries("all edges answer", "relay_probe_envoy_up", []string{"fleet", "envoy"}, map[string]string{"external edge-1": "1", "external edge-2": "1"})
		p.expectSeries("all are asked", `probe_success`, []string{"envoy", "domain", "owner"}, map[string]string{
			"edge-1 shop.test shop": "1", "edge-2 shop.test shop": "1", "edge-1 b.test ": "1", "edge-2 b.test ": "1",
		})
	}
	w.second.Kill()
	took := becomes(t, "an incident", 90*time.Second, func() error {
		if len(a.pager.all()) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	w.startSecond()
	over := becomes(t, "the incident is resolved", 120*time.Second, func() error {
		if i := a.pager.all()[0]; i.resolved.IsZero() {
			return fmt.Errorf("%s is open", i.summary)
		}
		return nil
	})
	t.Logf("the incident was opened after %s, and resolved %s after the Envoy was back", took.Round(time.Second), over.Round(time.Second))
	all := a.pager.all()
	if len(all) != 1 {
		t.Errorf("%d incidents: %+v", len(all), all)
	}
	if i := all[0]; i.service != a.platform || i.class != "RelayEdgeDown" || i.component != "edge-2" || i.groupOfAlert != "external" || i.severity != "critical" || i.triggers != 1 {
		t.Errorf("the incident is %+v", i)
	}
	if a.told.beats() == 0 {
		t.Error("the watchdog has not called")
	}
}
