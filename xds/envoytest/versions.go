package envoytest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The versions of Envoy that Relay is tested with: all tests run the newest, those of what
// Envoy itself decides the oldest, too.
const (
	Newest = "1.40"
	Oldest = "1.36"
)

// between are the versions between these, the newest first. Only what runs for AllVersions
// needs them.
var between = []string{"1.39", "1.38", "1.37"}

// folder is where "make tools" installs a version, in .tools.
func folder(version string) string {
	if version == Newest {
		return "envoy"
	}
	return "envoy-" + version
}

// Versions returns the versions of ForEachVersion, the newest first.
func Versions() []string { return []string{Newest, Oldest} }

// AllVersions returns all versions that Relay is tested with, the newest first.
func AllVersions() []string { return slices.Concat([]string{Newest}, between, []string{Oldest}) }

// ForEachVersion runs a test for each of Versions. The version goes into
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
	if !slices.Contains(AllVersions(), version) {
		return "", fmt.Errorf("no Envoy %s is installed for tests: use one of %v", version, AllVersions())
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
		path := filepath.Join(dir, ".tools", folder(version), "envoy", "_bin", "envoy")
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("no Envoy %s at %s: run \"make tools\", or set RELAY_ENVOY", version, path)
		}
		return path, nil
	}
	return "", errors.New("no go.mod above the working directory: set RELAY_ENVOY to an Envoy binary")
}
