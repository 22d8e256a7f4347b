package envoytest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"relay/xds/envoytest"
)

// Tests that run for each version say what they ran with.
func TestVersions(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := envoytest.Start(t, envoytest.Options{Version: version, XDS: []string{"127.0.0.1:1"}})
		text, err := e.Get(t.Context(), "/server_info")
		if err != nil {
			t.Fatal(err)
		}
		var info struct {
			Version string `json:"version"`
		}
		if err := json.Unmarshal([]byte(text), &info); err != nil {
			t.Fatal(err)
		}
		// The commit, the version and how it was built, with slashes between.
		if parts := strings.Split(info.Version, "/"); len(parts) < 2 || !strings.HasPrefix(parts[1], version+".") {
			t.Errorf("started as %s, Envoy is %q", version, info.Version)
		}
	})
}

func TestUnknownVersion(t *testing.T) {
	t.Parallel()
	if path, err := envoytest.FindVersion("1.2"); err == nil {
		t.Errorf("1.2 is %s", path)
	}
}
