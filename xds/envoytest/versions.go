package envoytest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The versions of Envoy that Relay is tested with.
const (
	Newest = "1.40"
	Oldest = "1.36"
)

// folders are where "make tools" installs the versions, in .tools.
var folders = map[string]string{Newest: "envoy", Oldest: "envoy-" + Oldest}

// Versions returns the versions to test with, the newest first.
func Versions() []string { return []string{Newest, Oldest} }

// ForEachVersion runs a test for each version. The version goes into
// Options.Version.
func ForEachVersion(t *testing.T, test func(t *testing.T, version string)) {
	t.Helper()
	for _, version := range Versions() {
		t.Run("Envoy "+version, func(t *testing.T) { test(t, version) })
	}
}

// Find returns the path of the newest Envoy: see FindVersion.
func Find() (string, error) { return FindVersion(Newest) }

// FindVersion returns the path of the pinned Envoy binary of a version: what
// "make tools" installed in the module that holds the working directory.
// $RELAY_ENVOY stands in for the newest.
func FindVersion(version string) (string, error) {
	folder, known := folders[version]
	if !known {
		return "", fmt.Errorf("no Envoy %s is installed for tests: use one of %v", version, Versions())
	}
	if path := os.Getenv("RELAY_ENVOY"); path != "" && version == Newest {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		path := filepath.Join(dir, ".tools", folder, "envoy", "_bin", "envoy")
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("no Envoy %s at %s: run \"make tools\", or set RELAY_ENVOY", version, path)
		}
		return path, nil
	}
	return "", errors.New("no go.mod above the working directory: set RELAY_ENVOY to an Envoy binary")
}
