package main

import (
	"path/filepath"
	"strings"
	"testing"
)

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
