package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
)

// Vault goes away, and comes back where it was with other tokens: no client
// notices, changes of apps go on, the hook says that it read nothing, and
// Relay finds back by itself.
func TestVaultOutage(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	tokenFile := filepath.Join(t.TempDir(), "token")
	first := vaulttest.Start(t)
	w.relay.readVault(first, tokenFile)
	w.certs.fill(ctx, first, tokenFile)
	w.start()
	serial := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial
	load := w.clients.load(100, ok, "https://a.test/")

	first.Stop()
	status, answer := w.admin.post("usr1")
	if status != http.StatusInternalServerError || !strings.Contains(answer, "connection refused") {
		t.Errorf("hook without Vault: status %d, %s", status, answer)
	}
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	if at, ok := w.admin.metric(`relay_certificate_expiry_timestamp_seconds{name="a.test",source="vault"}`); !ok || untilUnix(at) < 89*24*time.Hour {
		t.Errorf("the expiry is shown as %v while Vault is away", at)
	}

	second, err := vaulttest.RunAt(ctx, strings.TrimPrefix(first.Addr, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	w.certs.fill(ctx, second, tokenFile)
	if again := w.clients.renewed("https://a.test/", serial); again == serial {
		t.Error("the new Vault's certificate is not served")
	}
	w.clients.noFailure(load, 100)
}

// A Relay that logs in by Kubernetes, configured as in production.
func TestKubernetesLogin(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, cluster := vaulttest.Start(t), vaulttest.StartKubernetes(t)
	mount, err := server.Mount(ctx, "secret")
	if err != nil {
		t.Fatal(err)
	}
	role, err := mount.KubernetesRole(ctx, cluster, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	jwt := filepath.Join(t.TempDir(), "jwt")
	if err := os.WriteFile(jwt, []byte(cluster.Issue()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mount.Publish(ctx, "a.test", w.certs.ca.TestIssue(t, []string{"a.test"}, certstest.Options{})); err != nil {
		t.Fatal(err)
	}
	w.relay.startProcess("--vault-addr", server.Addr, "--vault-kubernetes-role", role, "--vault-kubernetes-token-file", jwt)
	w.envoy.start()
	w.envoy.ready()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
}
