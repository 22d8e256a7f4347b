package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relay/certs/vault/vaulttest"
)

// fresh starts Relay and an Envoy that has nothing.
func fresh(w *world) {
	w.t.Helper()
	w.relay.stop()
	w.envoy.Stop()
	w.marathon.away()
	w.relay.start()
	w.envoy.start()
}

// Marathon and Vault are away when Relay and Envoy start: all is served as it
// was, passwords included, and it is said. What changed meanwhile is served
// once they are back.
func TestSavedState(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	vault, tokenFile := vaulttest.Start(t), filepath.Join(t.TempDir(), "token")
	w.certs.fill(ctx, vault, tokenFile)
	w.relay.readVault(vault, tokenFile)
	w.marathon.deploy(app("/a", "a.test", 2), app("/auth", "auth.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.start()
	serial := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial
	w.clients.expect("http://auth.test/", http.StatusUnauthorized, "")

	vault.Stop()
	fresh(w)
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	if again := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial; again != serial {
		t.Errorf("the certificate is %s, was %s", again, serial)
	}
	w.clients.expect("http://auth.test/", http.StatusUnauthorized, "")
	if a := w.clients.do("http://auth.test/", "Authorization", "Basic am9lOnBhc3N3b3Jk"); a.status != http.StatusOK {
		t.Errorf("with the password: status %d", a.status)
	}
	if status := w.admin.readyStatus(); status != http.StatusOK {
		t.Errorf("/readyz: status %d", status)
	}
	w.admin.problem("marathon", "serving apps as saved at 20")
	w.admin.problem("marathon", "marathon cannot be read")
	w.admin.problem("vault", "serving certificates as saved at 20")
	pages := w.admin.pages()
	for _, want := range []string{`relay_state_age_seconds{source="marathon"}`, `relay_state_age_seconds{source="vault"}`, "serving apps as saved at"} {
		if !strings.Contains(pages, want) {
			t.Errorf("the admin endpoint does not show %s", want)
		}
	}
	if strings.Contains(pages, `relay_state_age_seconds{source="marathon"} 0`+"\n") {
		t.Error("the saved state has no age")
	}
	isEncrypted(w, "apps-marathon.state", "certificates-vault.state")
	if n := strings.Count(w.relay.log.String(), "serving its saved state"); n != 3 {
		t.Errorf("the log says %d times that saved state is served, want once for each source, and for authorities", n)
	}

	w.marathon.deploy(app("/b", "b.test", 1), app("/a", "moved.test", 2))
	w.marathon.ClearFaults()
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	w.clients.expect("http://moved.test/", http.StatusOK, "/a")
	w.clients.expect("http://a.test/", http.StatusNotFound, "")
	second, err := vaulttest.RunAt(ctx, strings.TrimPrefix(vault.Addr, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	w.certs.fill(ctx, second, tokenFile)
	w.admin.noProblems()
	if pages := w.admin.pages(); !strings.Contains(pages, `relay_state_age_seconds{source="marathon"} 0`+"\n") {
		t.Error("the age of what is read is not 0")
	}
}

// Without a key no password is saved, and no port that asks for one comes back
// open: it answers 403 until Marathon tells the password again.
func TestStateWithoutKey(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	w.certs.issue("a.test")
	w.marathon.deploy(app("/a", "a.test", 1), app("/auth", "auth.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.start()
	w.clients.expect("http://auth.test/", http.StatusUnauthorized, "")
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	fresh(w)
	w.clients.expect("http://auth.test/", http.StatusForbidden, "")
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	if a := w.clients.do("http://auth.test/", "Authorization", "Basic am9lOnBhc3N3b3Jk"); a.status != http.StatusForbidden {
		t.Errorf("with the password: status %d", a.status)
	}
	w.admin.problem("/auth", "its password was not saved")
	if _, data := w.relay.stateFile("apps-marathon.state"); bytes.Contains(data, []byte(passwordHash[5:])) || !bytes.Contains(data, []byte("auth.test")) {
		t.Error("the password's hash is in the file, or the app is not")
	}
	files, err := os.ReadDir(w.relay.config.State.Dir)
	files = slices.DeleteFunc(files, func(f os.DirEntry) bool { return strings.Contains(f.Name(), "envoys.state") }) // which comes after some seconds
	if err != nil || len(files) != 2 || files[1].Name() != "authorities-dir.state" && files[0].Name() != "authorities-dir.state" {
		t.Errorf("the directory has %v, %v; want the apps, and authorities, which are no secret", files, err)
	}
	w.marathon.ClearFaults()
	w.clients.expect("http://auth.test/", http.StatusUnauthorized, "")
	w.admin.noProblems()
}

// A damaged file is not served, and it is said.
func TestDamagedState(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	w.certs.issue("a.test")
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.relay.stop()
	path, data := w.relay.stateFile("apps-marathon.state")
	if err := os.WriteFile(path, bytes.Replace(data, []byte("a.test"), []byte("x.test"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh(w)
	w.admin.problem("marathon", path+" is not used: it is damaged: the checksum differs")
	if status := w.admin.readyStatus(); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: status %d", status)
	}
	if revision := w.admin.fleet("external").Revision; revision != 0 {
		t.Errorf("revision %d was published", revision)
	}
	w.marathon.ClearFaults()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.admin.noProblems()
}

// Saved state is for Envoys that have nothing. One that has something newer keeps it,
// rather than be taken back to what was saved, until Marathon can be read again.
func TestSavedStateTakesNothingNewerAway(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	w.marathon.deploy(app("/old", "old.test", 1))
	w.start()
	w.clients.expect("http://old.test/", http.StatusOK, "/old")
	w.relay.stop()
	path, saved := w.relay.stateFile("apps-marathon.state")
	w.relay.start()
	w.marathon.deploy(app("/new", "new.test", 1))
	w.clients.expect("http://new.test/", http.StatusOK, "/new")
	w.relay.stop()
	if err := os.WriteFile(path, saved, 0o600); err != nil {
		t.Fatal(err)
	}

	w.marathon.away()
	w.relay.start()
	w.eventually("Envoy is not served", func() error {
		if !strings.Contains(w.relay.log.String(), "the Envoy has something newer") {
			return fmt.Errorf("the log does not tell of it")
		}
		return nil
	})
	w.admin.has(`relay_xds_refused_total{reason="outdated"}`)
	w.clients.expect("http://new.test/", http.StatusOK, "/new")
	// One that has nothing is served.
	w.envoy.Stop()
	w.envoy.start()
	w.clients.expect("http://old.test/", http.StatusOK, "/old")

	w.marathon.ClearFaults()
	w.clients.expect("http://new.test/", http.StatusOK, "/new")
}

// isEncrypted fails the test if state files can be read.
func isEncrypted(w *world, names ...string) {
	w.t.Helper()
	for _, name := range names {
		if _, data := w.relay.stateFile(name); bytes.Contains(data, []byte("a.test")) || bytes.Contains(data, []byte("PRIVATE")) {
			w.t.Errorf("%s can be read", name)
		}
	}
}
