package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// The flags of StatsD are those of the bootstrap; without an address nothing of them is in it.
func TestBootstrapStatsD(t *testing.T) {
	t.Parallel()
	limits := []string{"bootstrap", "--max-connections", "0", "--max-heap", "0", "--node-id", "edge-1"}
	for _, tt := range []struct{ args, want []string }{
		{nil, []string{"stats_flush_on_admin: true"}},
		{[]string{"--graphite-prefix", "x", "--statsd-apps"}, []string{"stats_flush_on_admin: true"}},
		{[]string{"--statsd", "10.0.0.7:8125"}, []string{"address: '10.0.0.7', port_value: 8125", "prefix: 'envoy.external.edge-1'", "stats_flush_interval: 10s", "inclusion_list"}},
		{[]string{"--statsd", "udp://10.0.0.7:8125", "--statsd-tags", "--graphite-prefix", "x"}, []string{"graphite_statsd", "prefix: 'x'"}},
		{[]string{"--statsd", "tcp://statsd.test:8125", "--statsd-interval", "30s"}, []string{"tcp_cluster_name: statsd", "'statsd.test', port_value: 8125", "stats_flush_interval: 30s"}},
	} {
		status, out, errs := command(t, append(limits, tt.args...)...)
		for _, want := range tt.want {
			if status != 0 || !strings.Contains(out, want) {
				t.Errorf("%q: status %d, no %q in:\n%s%s", tt.args, status, want, out, errs)
			}
		}
		if strings.Contains(out, "stats_sinks:") != (len(tt.want) > 1) {
			t.Errorf("%q: sinks in\n%s", tt.args, out)
		}
	}
	if status, _, errs := command(t, append(limits, "--statsd", "statsd.test:8125")...); status == 0 || !strings.Contains(errs, "tcp://statsd.test:8125") {
		t.Errorf("a name for UDP: status %d, %s", status, errs)
	}
}

// A bootstrap that names files which are not there is written, with a warning for each.
func TestBootstrapWarnsOfFiles(t *testing.T) {
	t.Parallel()
	there := writeFile(t, "there.pem", "x")
	none := filepath.Join(t.TempDir(), "none.pem")
	tests := []struct {
		name          string
		ca, cert, key string
		want          []string
	}{
		{"all there", there, there, there, nil},
		{"no authorities", none, there, there, []string{"--xds-ca: stat " + none}},
		{"no pair", there, none, none, []string{"--xds-cert: stat " + none, "--xds-key: stat " + none}},
		{"a directory", filepath.Dir(there), there, there, []string{"--xds-ca: " + filepath.Dir(there) + " is a directory"}},
	}
	for _, tt := range tests {
		status, out, errs := command(t, "bootstrap", "--max-connections", "0", "--max-heap", "0", "--output", t.TempDir(),
			"--xds-server-name", "relay.test", "--xds-ca", tt.ca, "--xds-cert", tt.cert, "--xds-key", tt.key)
		if status != 0 || !strings.Contains(out, "wrote ") || strings.Count(errs, "\n") != len(tt.want) {
			t.Errorf("%s: status %d, want %d warnings:\n%s%s", tt.name, status, len(tt.want), out, errs)
		}
		for _, want := range tt.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: no %q in:\n%s", tt.name, want, errs)
			}
		}
	}
}
