package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain keeps the tests from the settings of whoever runs them.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "relay-config")
	if err != nil {
		panic(err)
	}
	if err := os.Setenv("XDG_CONFIG_HOME", dir); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		_ = os.RemoveAll(dir)
		os.Exit(status)
	}))
}
