package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/vault/vaulttest"
	"relay/sources/marathon/marathontest"
)

// keepState has Relay save what it serves, encrypted if encrypt is set.
func (w *world) keepState(encrypt bool) {
	w.t.Helper()
	w.config.State.Dir, w.config.State.Grace = filepath.Join(w.t.TempDir(), "state"), 500*time.Millisecond
	if encrypt {
		w.config.State.Certificates, w.config.State.KeyFile = true, filepath.Join(w.t.TempDir(), "key")
		if err := os.WriteFile(w.config.State.KeyFile, bytes.Repeat([]byte("7f"), 32), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// marathonAway lets nothing be read, while tasks and deployments go on.
func (w *world) marathonAway() {
	for _, kind := range []marathontest.Kind{marathontest.KindList, marathontest.KindApp, marathontest.KindEvents} {
		w.marathon.Inject(kind, marathontest.Fault{Status: http.StatusServiceUnavailable})
	}
}

// fresh starts Relay and an Envoy that has nothing.
func (w *world) fresh() {
	w.t.Helper()
	w.stop()
	w.envoy.Stop()
	w.marathonAway()
	w.startRelay()
	w.startEnvoy()
}

func (w *world) readyStatus() int {
	w.t.Helper()
	status, _ := w.admin.get("/readyz")
	return status
}

// stateFile returns a file of the state directory.
func (w *world) stateFile(name string) (path string, data []byte) {
	w.t.Helper()
	path = filepath.Join(w.config.State.Dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return path, data
}

// noProblems waits until nothing is wrong any more.
func (w *world) noProblems() {
	w.t.Helper()
	w.eventually("no problems", func() error {
		if all := w.admin.problems(); len(all) > 0 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
}

// Marathon and Vault are away when Relay and Envoy start: all is served as it
// was, passwords included, and it is said. What changed meanwhile is served
// once they are back.
func TestLastKnownGood(t *testing.T) {
	w := newWorld(t)
	w.keepState(true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	vault, tokenFile := vaulttest.Start(t), filepath.Join(t.TempDir(), "token")
	fill := func(server *vaulttest.Server) {
		mount, err := server.Mount(ctx, "secret")
		if err != nil {
			t.Fatal(err)
		}
		token, err := mount.ReaderToken(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		w.publish(mount, "a.test")
		if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fill(vault)
	w.config.Certificates.Dir.Paths = nil
	w.pollCertificates(200 * time.Millisecond)
	w.config.Certificates.Vault.Addresses, w.config.Certificates.Vault.Mount, w.config.Certificates.Vault.TokenFile = []string{vault.Addr}, "secret", tokenFile
	w.deploy(app("/a", "a.test", 2), app("/auth", "auth.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.start()
	serial := w.expect("https://a.test/", http.StatusOK, "/a").serial
	w.expect("http://auth.test/", http.StatusUnauthorized, "")

	vault.Stop()
	w.fresh()
	w.expect("http://a.test/", http.StatusOK, "/a")
	if again := w.expect("https://a.test/", http.StatusOK, "/a").serial; again != serial {
		t.Errorf("the certificate is %s, was %s", again, serial)
	}
	w.expect("http://auth.test/", http.StatusUnauthorized, "")
	if a := w.do("http://auth.test/", "Authorization", "Basic am9lOnBhc3N3b3Jk"); a.status != http.StatusOK {
		t.Errorf("with the password: status %d", a.status)
	}
	if status := w.readyStatus(); status != http.StatusOK {
		t.Errorf("/readyz: status %d", status)
	}
	w.problem("marathon", "serving apps as saved at 20")
	w.problem("marathon", "marathon cannot be read")
	w.problem("vault", "serving certificates as saved at 20")
	pages := w.pages()
	for _, want := range []string{`relay_state_age_seconds{source="marathon"}`, `relay_state_age_seconds{source="vault"}`, "serving apps as saved at"} {
		if !strings.Contains(pages, want) {
			t.Errorf("the admin endpoint does not show %s", want)
		}
	}
	if strings.Contains(pages, `relay_state_age_seconds{source="marathon"} 0`+"\n") {
		t.Error("the saved state has no age")
	}
	for _, name := range []string{"apps-marathon.state", "certificates-vault.state"} {
		if _, data := w.stateFile(name); bytes.Contains(data, []byte("a.test")) || bytes.Contains(data, []byte("PRIVATE")) {
			t.Errorf("%s can be read", name)
		}
	}
	if n := strings.Count(w.log.String(), "serving its saved state"); n != 2 {
		t.Errorf("the log says %d times that saved state is served, want once for each source", n)
	}

	w.deploy(app("/b", "b.test", 1), app("/a", "moved.test", 2))
	w.marathon.ClearFaults()
	w.expect("http://b.test/", http.StatusOK, "/b")
	w.expect("http://moved.test/", http.StatusOK, "/a")
	w.expect("http://a.test/", http.StatusNotFound, "")
	second, err := vaulttest.RunAt(ctx, strings.TrimPrefix(vault.Addr, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	fill(second)
	w.noProblems()
	if pages := w.pages(); !strings.Contains(pages, `relay_state_age_seconds{source="marathon"} 0`+"\n") {
		t.Error("the age of what is read is not 0")
	}
}

// Without a key no password is saved, and no port that asks for one comes back
// open: it answers 403 until Marathon tells the password again.
func TestStateWithoutKey(t *testing.T) {
	w := newWorld(t)
	w.keepState(false)
	w.issue("a.test")
	w.deploy(app("/a", "a.test", 1), app("/auth", "auth.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.start()
	w.expect("http://auth.test/", http.StatusUnauthorized, "")
	w.expect("https://a.test/", http.StatusOK, "/a")
	w.fresh()
	w.expect("http://auth.test/", http.StatusForbidden, "")
	w.expect("https://a.test/", http.StatusOK, "/a")
	if a := w.do("http://auth.test/", "Authorization", "Basic am9lOnBhc3N3b3Jk"); a.status != http.StatusForbidden {
		t.Errorf("with the password: status %d", a.status)
	}
	w.problem("/auth", "its password was not saved")
	if _, data := w.stateFile("apps-marathon.state"); bytes.Contains(data, []byte(passwordHash[5:])) || !bytes.Contains(data, []byte("auth.test")) {
		t.Error("the password's hash is in the file, or the app is not")
	}
	if files, err := os.ReadDir(w.config.State.Dir); err != nil || len(files) != 1 {
		t.Errorf("the directory has %v, %v; want the apps alone", files, err)
	}
	w.marathon.ClearFaults()
	w.expect("http://auth.test/", http.StatusUnauthorized, "")
	w.noProblems()
}

// A damaged file is not served, and it is said.
func TestDamagedState(t *testing.T) {
	w := newWorld(t)
	w.keepState(false)
	w.issue("a.test")
	w.deploy(app("/a", "a.test", 1))
	w.start()
	w.expect("http://a.test/", http.StatusOK, "/a")
	w.stop()
	path, data := w.stateFile("apps-marathon.state")
	if err := os.WriteFile(path, bytes.Replace(data, []byte("a.test"), []byte("x.test"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	w.fresh()
	w.problem("marathon", path+" is not used: it is damaged: the checksum differs")
	if status := w.readyStatus(); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: status %d", status)
	}
	if revision := w.admin.fleet("external").Revision; revision != 0 {
		t.Errorf("revision %d was published", revision)
	}
	w.marathon.ClearFaults()
	w.expect("http://a.test/", http.StatusOK, "/a")
	w.noProblems()
}

// Saved state is for Envoys that have nothing. One that has something newer keeps it,
// rather than be taken back to what was saved, until Marathon can be read again.
func TestSavedStateTakesNothingNewerAway(t *testing.T) {
	w := newWorld(t)
	w.keepState(false)
	w.deploy(app("/old", "old.test", 1))
	w.start()
	w.expect("http://old.test/", http.StatusOK, "/old")
	w.stop()
	path, saved := w.stateFile("apps-marathon.state")
	w.startRelay()
	w.deploy(app("/new", "new.test", 1))
	w.expect("http://new.test/", http.StatusOK, "/new")
	w.stop()
	if err := os.WriteFile(path, saved, 0o600); err != nil {
		t.Fatal(err)
	}

	w.marathonAway()
	w.startRelay()
	w.eventually("Envoy is not served", func() error {
		if !strings.Contains(w.log.String(), "the Envoy has something newer") {
			return fmt.Errorf("the log does not tell of it")
		}
		return nil
	})
	w.has(`relay_xds_refused_total{reason="outdated"}`)
	w.expect("http://new.test/", http.StatusOK, "/new")
	// One that has nothing is served.
	w.envoy.Stop()
	w.startEnvoy()
	w.expect("http://old.test/", http.StatusOK, "/old")

	w.marathon.ClearFaults()
	w.expect("http://new.test/", http.StatusOK, "/new")
}
