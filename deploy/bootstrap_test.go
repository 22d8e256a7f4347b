package deploy_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/deploy"
	"relay/xds/envoytest"
)

var good = deploy.Bootstrap{
	NodeID: "it's me: edge-1", Fleet: "external", XDS: []string{"relay-1.test:18000", "[::1]:18000"},
	Admin: netip.MustParseAddrPort("127.0.0.1:9901"),
}

func TestEnvoyAcceptsBootstrap(t *testing.T) {
	t.Parallel()
	secured := good
	secured.ClustersOnDemand = true
	issued := certstest.TestCA(t).TestIssue(t, []string{"edge.test"}, certstest.Options{})
	dir := t.TempDir()
	for name, data := range map[string][]byte{"ca": issued.Leaf, "cert": issued.Leaf, "key": issued.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secured.TLS = deploy.ClientTLS{
		CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ServerName: "relay.test",
	}
	authority := secured
	authority.TLS.Cert, authority.TLS.Key = "", ""
	limited, full := good, good
	limited.Limits.MaxConnections = 448
	full.Limits.MaxHeap = 1 << 30
	both, err := deploy.LimitsOfMachine()
	if err != nil || both.MaxConnections == 0 || both.MaxHeap == 0 {
		t.Fatalf("the limits of this machine: %+v, %v", both, err)
	}
	secured.Limits = both
	for name, b := range map[string]deploy.Bootstrap{
		"plain": good, "TLS": authority, "mutual TLS, limits": secured, "connections": limited, "memory": full,
	} {
		path, err := b.Write(filepath.Join(t.TempDir(), "it's", "made"))
		if err != nil {
			t.Fatal(err)
		}
		accepts(t, name, path)
	}
	text, err := good.YAML()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	accepts(t, "printed", path)
}

func accepts(t *testing.T, name, path string) {
	t.Helper()
	for _, version := range envoytest.Versions() {
		envoy, err := envoytest.FindVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(envoy, "--mode", "validate", "--log-level", "warning", "--config-path", path).CombinedOutput(); err != nil {
			t.Errorf("%s: Envoy %s refuses the bootstrap: %v\n%s", name, version, err, out)
		}
	}
}

// An Envoy at rest does next to nothing, however many stats it has.
func TestStatsAreReadOnDemand(t *testing.T) {
	t.Parallel()
	text, err := good.YAML()
	if err != nil || !strings.Contains(string(text), "\nstats_flush_on_admin: true\n") {
		t.Errorf("%v; Envoy goes through all its stats every few seconds:\n%s", err, text)
	}
}

// All Envoys ask the same Relay about an app, in whatever order they were told the Relays, and
// each Relay is asked about as many apps.
func TestQueueClusters(t *testing.T) {
	t.Parallel()
	b := good
	b.XDS = []string{"relay-2.test:18000", "relay-1.test:18000", "relay-3.test:18000"}
	clusters := func() string {
		text, err := b.YAML()
		if err != nil {
			t.Fatal(err)
		}
		_, queues, ok := strings.Cut(string(text), "# Before each request to an app with a queue")
		if !ok || strings.Count(queues, "- name: 'relay-queue-") != deploy.QueueSlots || !strings.Contains(string(text), "relay: {queues: '12', accepts: '12'}") {
			t.Fatalf("clusters for queues:\n%s", text)
		}
		return queues
	}
	first := clusters()
	for _, relay := range b.XDS {
		host, _, _ := strings.Cut(relay, ":")
		if n := strings.Count(first, "priority: 0\n        lb_endpoints:\n        - endpoint: {address: {socket_address: {address: '"+host+"'"); n != 2*deploy.QueueSlots/3 { // for requests, and for connections
			t.Errorf("%s is the first of %d clusters", relay, n)
		}
	}
	slices.Reverse(b.XDS)
	if clusters() != first {
		t.Error("in another order, the clusters are others")
	}
}

func TestBootstrapRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*deploy.Bootstrap)
		err    string
	}{
		{"no fleet", func(b *deploy.Bootstrap) { b.Fleet = "" }, "needs a node id and a fleet"},
		{"no xDS", func(b *deploy.Bootstrap) { b.XDS = nil }, "at least one xDS address"},
		{"no port", func(b *deploy.Bootstrap) { b.XDS = []string{"host"} }, "missing port"},
		{"no host", func(b *deploy.Bootstrap) { b.XDS = []string{":80"} }, "not HOST:PORT"},
		{"no admin", func(b *deploy.Bootstrap) { b.Admin = netip.AddrPort{} }, "admin"},
		{"certificate without TLS", func(b *deploy.Bootstrap) { b.TLS.Cert, b.TLS.Key = "c", "k" }, "TLS to Relay"},
		{"certificate without key", func(b *deploy.Bootstrap) { b.TLS = deploy.ClientTLS{CA: "a", ServerName: "r", Cert: "c"} }, "TLS to Relay"},
		{"TLS without a name", func(b *deploy.Bootstrap) { b.TLS.CA = "a" }, "TLS to Relay"},
		{"line break", func(b *deploy.Bootstrap) { b.NodeID = "a\nb" }, "line break"},
	}
	for _, tt := range tests {
		b := good
		tt.change(&b)
		dir := t.TempDir()
		if _, err := b.Write(dir); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.err)
		}
		if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
			t.Errorf("%s: %v, %q was written", tt.name, err, made)
		}
	}
	good := good
	good.TLS = deploy.ClientTLS{CA: "a", ServerName: "r"}
	if _, err := good.YAML(); err == nil || !strings.Contains(err.Error(), "--output DIR") {
		t.Errorf("TLS in one file: error %v, want one that says how", err)
	}
}
