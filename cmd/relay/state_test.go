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
