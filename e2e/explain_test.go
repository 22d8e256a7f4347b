package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/collator/explain"
	"relay/sources/marathon/marathontest"
)

// From the labels of apps to what a real Envoy has acknowledged.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("shop.test")
	w.start()
	w.marathon.deploy(
		app("/site", "shop.test", 2, "HAPROXY_0_REDIRECT_TO_HTTPS", "true", "HAPROXY_0_VHOSTS", "typo.test"),
		app("/twin", "shop.test", 1),
		app("/api", "shop.test", 1, "HAPROXY_0_PATH", "/api", "HAPROXY_0_AUTH", "r:joe:"+passwordHash),
		app("/wild", "*.zone.test", 1), app("/lab", "lab.test", 1, "HAPROXY_GROUP", "lab"),
	)
	w.clients.expect("https://shop.test/", http.StatusOK, "/site")
	w.clients.expect("http://x.zone.test/", http.StatusOK, "/wild")
	starting := w.marathon.taskIDs("/site")[0]
	if err := w.marathon.UpdateTask(starting, func(task *marathontest.Task) { task.State = "TASK_STARTING" }); err != nil {
		t.Fatal(err)
	}
	w.admin.settled()
	wants := func(subject string, wanted ...string) {
		t.Helper()
		w.eventually("relay explain "+subject, func() error {
			status, out, errs := w.admin.explain(subject)
			if status != 0 || errs != "" {
				return fmt.Errorf("status %d: %s%s", status, out, errs)
			}
			for _, want := range wanted {
				if !strings.Contains(out, want) {
					return fmt.Errorf("%q is not in:\n%s", want, out)
				}
			}
			if strings.Contains(out, "W6ph5") {
				return fmt.Errorf("a hash is shown: %s", out)
			}
			return nil
		})
	}
	wants("shop.test",
		"serves       /api* for port 0 of /api, weight 1", "to cluster /api_0", "a password is asked for (user joe)",
		"serves       /* for port 0 of /site, weight 0: it has the lowest app id", "plain HTTP is redirected to HTTPS",
		"loses        /* for port 0 of /twin", "port 0 of /site has it",
		"certificate dir/"+w.certs.dir+"/shop.test.pem for shop.test, valid",
		"HAPROXY_0_VHOSTS", "left out: task "+starting, "127.0.0.1:", "has acknowledged 8 of 8 resources")
	wants("x.zone.test", "x.zone.test by *.zone.test in fleet external", "to cluster /wild_0", "has acknowledged")
	wants("/lab", "in the groups lab: none is a fleet of this Relay")

	status, out, errs := w.admin.explain("shop.tets")
	if status != 1 || !strings.Contains(out, "near it: shop.test") || !strings.Contains(errs, "nothing is known of shop.tets") {
		t.Errorf("an unknown domain: status %d, %s, %s", status, out, errs)
	}
	status, out, _ = w.admin.explain("--json", "/api")
	var e explain.Explanation
	if err := json.Unmarshal([]byte(out), &e); status != 0 || err != nil || len(e.Apps) != 1 || e.Apps[0].ID != "/api" || len(e.Fleets[0].Envoys) != 1 {
		t.Errorf("--json: status %d, %v, %s", status, err, out)
	}
}

// The command shows a token or a certificate to those endpoints that ask for it.
func TestExplainWithCredentials(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.relay.config.Admin.TLS.CertFile, w.relay.config.Admin.TLS.KeyFile = w.certs.ca.TestIssue(t, []string{"localhost"}, certstest.Options{}).TestPair(t, t.TempDir())
	w.relay.config.Admin.TokenFile, w.relay.config.Admin.TLS.ClientCAFile = filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	wrong := filepath.Join(dir, "wrong")
	for path, data := range map[string][]byte{w.relay.config.Admin.TokenFile: []byte("s3cret"), w.relay.config.Admin.TLS.ClientCAFile: w.certs.ca.RootPEM(), wrong: []byte("wr0ng-t0ken")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := w.certs.ca.TestIssue(t, []string{"operator.test"}, certstest.Options{}).TestPair(t, t.TempDir())
	w.relay.start()
	w.eventually("apps are read", func() error {
		if len(w.admin.list("apps").Apps) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	_, port, _ := net.SplitHostPort(w.admin.address())
	address := "localhost:" + port
	tests := []struct {
		args   []string
		want   string // in what it says; empty for success
		status int
	}{
		{[]string{"--admin", "https://" + address, "--admin-ca", w.relay.config.Admin.TLS.ClientCAFile, "--admin-token-file", w.relay.config.Admin.TokenFile}, "", 0},
		{[]string{"--admin", address, "--admin-ca", w.relay.config.Admin.TLS.ClientCAFile, "--admin-client-cert", cert, "--admin-client-key", key}, "", 0},
		{[]string{"--admin", "https://" + address, "--admin-ca", w.relay.config.Admin.TLS.ClientCAFile}, "401", 1},
		{[]string{"--admin", "https://" + address, "--admin-ca", w.relay.config.Admin.TLS.ClientCAFile, "--admin-token-file", wrong}, "401", 1},
		{[]string{"--admin", "https://" + address, "--admin-token-file", w.relay.config.Admin.TokenFile}, "certificate", 3},
		{[]string{"--admin", "http://" + address}, "400", 3},
		{[]string{"--admin", "https://" + address, "--admin-client-cert", cert}, "go together", 2},
		{[]string{"--admin", "https://" + address, "--admin-ca", wrong}, "no certificate in it", 2},
		{[]string{"--admin", "https://" + address, "--admin-token-file", filepath.Join(dir, "nowhere")}, "no such file", 2},
		{[]string{"--admin", "http://user:hunter2@127.0.0.1:1"}, "connection refused", 3},
		{[]string{"--admin", "ftp://127.0.0.1"}, "is not a URL", 2},
		{[]string{"--admin", "127.0.0.1"}, "neither a URL nor HOST:PORT", 2},
		{[]string{"--admin", w.marathon.URL()}, "URI not found", 1},
	}
	for _, tt := range tests {
		status, out, errs := command(t, append([]string{"explain", "seed.test"}, tt.args...)...)
		if tt.want == "" && (status != 0 || !strings.Contains(out, "/seed_0")) || tt.want != "" && (status != tt.status || !strings.Contains(errs, tt.want)) {
			t.Errorf("%q: status %d, %s%s; want %q", tt.args, status, out, errs, tt.want)
		}
		for _, secret := range []string{"s3cret", "wr0ng-t0ken", "hunter2"} {
			if strings.Contains(out+errs, secret) {
				t.Errorf("%q: %s is told: %s%s", tt.args, secret, out, errs)
			}
		}
	}
}
