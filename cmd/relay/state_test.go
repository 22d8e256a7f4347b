package main

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/internal/relay"
)

func TestWrongStateConfiguration(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("password"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"give --state-dir":      {"--state-key-file", short},
		"give --state-key-file": {"--state-dir", "d", "--state-certificates", "encrypted"},
		"must be one of":        {"--state-dir", "d", "--state-certificates", "plain"},
		"must not be negative":  {"--state-dir", "d", "--state-grace=-1s"},
	} {
		if _, err := parse(t, "", append([]string{"--marathon", "http://m"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", args, err, want)
		}
	}
	config := relay.Config{State: relay.State{Dir: t.TempDir(), KeyFile: short}, Fleets: []relay.Fleet{{Fleet: routing.Fleet{
		Name: "external", HTTP: netip.MustParseAddrPort("127.0.0.1:1"), Options: routing.DefaultOptions(),
	}}}}
	if _, err := relay.New(config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "32 random bytes") || strings.Contains(err.Error(), "password") {
		t.Errorf("a short key: %v", err)
	}
}

// relay check tells what would keep relay serve from saving state, and leaves nothing behind.
func TestCheckState(t *testing.T) {
	t.Parallel()
	apps := writeFile(t, "apps.yaml", "apps: []\n")
	key := writeFile(t, "key", strings.Repeat("0f", 32))
	dir := t.TempDir()
	readOnly := filepath.Join(dir, "read-only")
	if err := os.Mkdir(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, dir, key string
		want           string
	}{
		{"a directory", dir, key, ""},
		{"one to be made", filepath.Join(dir, "a", "b"), "", ""},
		{"a file", apps, "", "cannot be written to"},
		{"below a file", filepath.Join(apps, "state"), "", "--state-dir"},
		{"not where files can be made", "/proc/relay/state", "", "--state-dir /proc/relay/state cannot be written to"},
		{"another's", readOnly, "", "--state-dir " + readOnly + " cannot be written to"},
		{"no key", dir, filepath.Join(dir, "none"), "--state-key-file"},
		{"a short key", dir, apps, "32 random bytes"},
	}
	for _, tt := range tests {
		if tt.dir == readOnly && os.Geteuid() == 0 {
			continue // root may write everywhere
		}
		args := []string{"check", "--source-file", apps, "--state-dir", tt.dir}
		if tt.key != "" {
			args = append(args, "--state-key-file", tt.key)
		}
		status, out, errs := command(t, args...)
		if wrong := tt.want != ""; wrong != (status != 0) || !strings.Contains(out, tt.want) || !wrong && !strings.Contains(out, "ok     saved state") {
			t.Errorf("%s: status %d, want %q:\n%s%s", tt.name, status, tt.want, out, errs)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
