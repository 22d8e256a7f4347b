package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/sources/marathon/marathontest"
	"relay/xds"
	"relay/xds/xdstest"
)

// A checker that others wrote (PyPI's "schemathesis") asks a Relay with apps, a certificate and
// an Envoy for everything that its OpenAPI document has, rightly and wrongly, and holds each
// answer against it. The streams have no end, so it does not ask for them.
func TestOpenAPIDocumentHolds(t *testing.T) {
	library, err := filepath.Abs("../.tools/schemathesis")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(library, "schemathesis")); err != nil {
		t.Fatalf("the checker is not there, run make tools: %v", err)
	}
	w := newWorld(t)
	w.certs.put("shop.pem", []string{"shop.test"}, certstest.Options{})
	if err := w.marathon.LoadApps(
		marathontest.App{Definition: app("/shop/web", "shop.test,typo..test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true")},
		marathontest.App{Definition: app("/other", "shop.test", 0)},
	); err != nil {
		t.Fatal(err)
	}
	w.relay.start()
	w.admin.awaitReady()
	c := xdstest.Connect(t, w.relay.config.XDS.Address, "external", "edge-1")
	c.Subscribe(xds.Cluster.URL())
	c.Ack(c.Next())
	w.admin.acknowledged()

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	// No document can say which cursors were given.
	settings := filepath.Join(t.TempDir(), "settings.toml")
	if err := os.WriteFile(settings, []byte("parameters = { \"query.cursor\" = \"\" }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, phase := range [][]string{
		{"--phases", "examples,coverage"},
		{"--phases", "fuzzing", "--mode", "positive", "--max-examples", "10"},
	} {
		cmd := exec.CommandContext(ctx, "python3", slices.Concat([]string{
			"-m", "schemathesis.cli", "--config-file", settings, "run", w.admin.url + "/api/v1/openapi.json", "--exclude-path-regex", "/(events|tail)$",
			"--seed", "1", "--no-color", "--no-shrink", "--generation-database", "none", "--continue-on-failure", "--warnings", "off",
		}, phase)...)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "PYTHONPATH="+library, "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=127.0.0.1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
