package vaulttest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/certs/vault/vaulttest"
)

func TestRunSaysWhatIsMissing(t *testing.T) {
	ends := filepath.Join(t.TempDir(), "ends")
	if err := os.WriteFile(ends, []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/absent/vaultdev": "/absent/vaultdev", ends: "ended without serving"} {
		t.Setenv("RELAY_VAULTDEV", path)
		if _, err := vaulttest.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	t.Setenv("RELAY_VAULTDEV", "")
	t.Chdir(t.TempDir())
	if _, err := vaulttest.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "RELAY_VAULTDEV") {
		t.Errorf("got %v", err)
	}
}
