package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/internal/secret"
)

// vault runs a real Vault and makes it the only certificate store. Its mount is
// written to as marathon-acme does.
func (w *world) vault() *vaulttest.Mount {
	w.t.Helper()
	server := vaulttest.Start(w.t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	mount, err := server.Mount(ctx, "secret")
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := mount.ReaderToken(ctx, time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	w.config.CertsDir = nil
	w.config.VaultAddr, w.config.VaultMount, w.config.VaultToken = []string{server.Addr}, "secret", secret.String(token)
	return mount
}

func (w *world) publish(m *vaulttest.Mount, names ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := m.Publish(ctx, names[0], w.ca.TestIssue(w.t, names, certstest.Options{})); err != nil {
		w.t.Fatal(err)
	}
}

// renewed waits until the certificate of a URL is another one than before.
func (w *world) renewed(url, before string) string {
	w.t.Helper()
	var serial string
	client := w.client(false)
	w.eventually("a renewed certificate", func() error {
		a, err := w.get(client, url, "")
		if err != nil {
			return err
		}
		if serial = a.serial; serial == before {
			return fmt.Errorf("still the old one")
		}
		return nil
	})
	return serial
}

// A renewed certificate is served within two seconds of the hook, and without
// it of the next poll; no listener is touched, and no connection closed.
func TestRenewal(t *testing.T) {
	for _, store := range []string{"dir", "vault"} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t)
			w.deploy(app("/a", "a.test", 1))
			renew := w.issueUnnoticed
			if store == "vault" {
				mount := w.vault()
				renew = func() { w.publish(mount, "a.test") }
			}
			renew()
			w.start()
			serial := w.expect("https://a.test/", http.StatusOK, "/a").serial
			open := w.openAll("a.test")
			w.settled()
			before := w.listeners()

			for _, hook := range []string{"usr1", "hup"} {
				renew()
				start := time.Now()
				if status := w.hook(hook); status != http.StatusNoContent {
					t.Fatalf("hook %s: status %d", hook, status)
				}
				serial = w.renewed("https://a.test/", serial)
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("the hook %s took %s to have effect", hook, took)
				}
			}
			w.stop()

			// Polled: a Relay that nobody tells, after its first read.
			w.config.CertsPollInterval = 200 * time.Millisecond
			w.startRelay()
			w.streams(1)
			w.eventually("the first read", func() error {
				if !w.relay.collator.CertificatesSynced() {
					return errors.New("not yet")
				}
				return nil
			})
			renew()
			start := time.Now()
			w.renewed("https://a.test/", serial)
			// A poll is up to a fifth late.
			if took := time.Since(start); took > w.config.CertsPollInterval*12/10+2*time.Second {
				t.Errorf("the poll took %s to have effect", took)
			}
			w.settled()
			if after := w.listeners(); after != before {
				t.Errorf("Envoy's listeners were %s, and are %s", before, after)
			}
			if n := w.draining(); n != 0 {
				t.Errorf("%d filter chains drain", n)
			}
			w.open(open...)
		})
	}
}

// issueUnnoticed writes a certificate for a.test where the file system reports
// nothing to who watches the directory: behind a link.
func (w *world) issueUnnoticed() {
	w.t.Helper()
	target := filepath.Join(filepath.Dir(w.certs), "elsewhere", "a.test.pem")
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(target+".new", w.ca.TestIssue(w.t, []string{"a.test"}, certstest.Options{}).Bundle(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(target+".new", target); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(w.certs, "a.test.pem")); err != nil && !errors.Is(err, fs.ErrExist) {
		w.t.Fatal(err)
	}
}

// listeners says how often Envoy took listeners in, and which.
func (w *world) listeners() string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dump, err := w.envoy.Get(ctx, "/config_dump?resource=dynamic_listeners&mask=active_state.version_info,active_state.last_updated")
	if err != nil || !strings.Contains(dump, "version_info") {
		w.t.Fatalf("Envoy's listeners: %v; %s", err, dump)
	}
	return fmt.Sprintf("%d updates, %s", w.stat(`^listener_manager\.lds\.update_success$`), strings.Join(strings.Fields(dump), " "))
}

// Relay started while Vault is down: plain HTTP waits for the grace and no
// longer; an Envoy that has certificates keeps them; /readyz says why; when
// Vault comes, all is well.
func TestVaultDownAtStart(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	mount := w.vault()
	w.publish(mount, "a.test")
	w.start()
	w.expect("https://a.test/", http.StatusOK, "/a")
	w.settled()
	w.stop()

	up := w.config.VaultAddr
	w.config.VaultAddr = []string{"http://127.0.0.1:1"}
	w.config.CertsGrace = 300 * time.Millisecond
	w.startRelay()
	load := w.load(100, ok, "http://a.test/", "https://a.test/")
	w.notReady("certificates cannot be read from vault")
	w.deploy(app("/b", "b.test", 1))
	w.expect("http://b.test/", http.StatusOK, "/b")

	// A new Envoy gets plain HTTP.
	old := w.envoy
	old.Kill()
	load.stop()
	w.startEnvoy()
	w.ready()
	w.expect("http://a.test/", http.StatusOK, "/a")
	if _, err := w.get(w.client(false), "https://a.test/", ""); err == nil {
		t.Error("HTTPS is served without certificates")
	}
	w.stop()

	w.config.VaultAddr = up
	w.startRelay()
	w.expect("https://a.test/", http.StatusOK, "/a")
}

// An Envoy that has an https listener keeps it, and serves, while Vault is down.
func TestEnvoyKeepsCertificates(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	w.publish(w.vault(), "a.test")
	w.start()
	w.expect("https://a.test/", http.StatusOK, "/a")
	w.settled()
	w.stop()
	w.config.VaultAddr, w.config.CertsGrace = []string{"http://127.0.0.1:1"}, time.Millisecond
	load := w.load(100, ok, "https://a.test/")
	w.startRelay()
	w.streams(1)
	w.deploy(app("/b", "b.test", 1))
	w.expect("http://b.test/", http.StatusOK, "/b")
	w.settledTypes("clusters", "endpoints", "scopes", "listeners")
	w.noFailure(load, 20)
}

// settledTypes waits until Envoy has acknowledged all there is of these types.
func (w *world) settledTypes(types ...string) {
	w.t.Helper()
	w.eventually("acknowledged", func() error {
		for _, s := range w.relay.xds.Streams() {
			for _, t := range s.Types {
				for _, name := range types {
					if t.Type.String() == name && (t.Behind > 0 || t.InFlight) {
						return fmt.Errorf("%+v", t)
					}
				}
			}
		}
		return nil
	})
}

// A bad certificate costs only itself, replaces no good one, and says why.
func TestBadCertificates(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1), app("/late", "late.test", 1))
	w.issue("a.test")
	other := w.ca.TestIssue(t, []string{"b.test"}, certstest.Options{})
	mismatch := certstest.Join(w.ca.TestIssue(t, []string{"c.test"}, certstest.Options{}).Key, other.Leaf)
	garbage := []byte("-----BEGIN CERTIFICATE-----\n!!\n")
	late := w.ca.TestIssue(t, []string{"late.test"}, certstest.Options{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	w.writePEM("nokey.pem", other.Leaf)
	w.writePEM("mismatch.pem", mismatch)
	w.writePEM("expired.pem", late.Bundle())
	w.writePEM("garbage.pem", garbage)
	w.start()
	serial := w.expect("https://a.test/", http.StatusOK, "/a").serial
	for file, words := range map[string]string{
		"nokey.pem": "key", "mismatch.pem": "belongs to none", "expired.pem": "expired", "garbage.pem": "PEM",
	} {
		w.problem(file, words)
	}
	for words, bad := range map[string][]byte{"no readable private key": other.Leaf, "belongs to none of the certificates": mismatch, "no PEM block found": garbage} {
		w.writePEM("a.test.pem", bad)
		if status := w.hook("usr1"); status != http.StatusNoContent {
			t.Errorf("hook: status %d", status)
		}
		w.problem("a.test.pem", words+"; its last good content stays in use")
		w.settled()
		if got := w.expect("https://a.test/", http.StatusOK, "/a").serial; got != serial {
			t.Errorf("%s: another certificate is served", words)
		}
	}
	for _, secret := range []string{"BEGIN RSA", "BEGIN EC", "PRIVATE KEY", string(other.Key[40:80])} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	w.nothingRejected()
}

// A live entry that is no JSON costs only itself.
func TestBadLiveEntry(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	mount := w.vault()
	w.publish(mount, "a.test")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := mount.SetLive(ctx, "broken.test", "{not json"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.expect("https://a.test/", http.StatusOK, "/a")
	w.problem("broken.test", "JSON")
}

// A directory that cannot be read is a failure, not "no certificates".
func TestLostDirectory(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	w.issue("a.test")
	w.start()
	w.expect("https://a.test/", http.StatusOK, "/a")
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(w.certs, away); err != nil {
		t.Fatal(err)
	}
	if status := w.hook("usr1"); status != http.StatusInternalServerError {
		t.Errorf("hook without a directory: status %d, want 500", status)
	}
	w.expect("https://a.test/", http.StatusOK, "/a")
	if err := os.Rename(away, w.certs); err != nil {
		t.Fatal(err)
	}
	if status := w.hook("usr1"); status != http.StatusNoContent {
		t.Errorf("hook: status %d, want 204", status)
	}
}

// The hook answers with what it was asked for, and before marathon-acme gives
// up, however many certificates there are.
func TestHookOfManyCertificates(t *testing.T) {
	w := newWorld(t)
	key := w.ca.TestIssue(t, []string{"key.test"}, certstest.Options{}).Signer
	for i := range 5000 {
		name := fmt.Sprintf("n%d.test", i)
		w.writePEM(name+".pem", w.ca.TestIssue(t, []string{name}, certstest.Options{Key: key}).Bundle())
	}
	w.startRelay()
	if status := w.hook("usr1"); status/100 != 2 {
		t.Fatalf("the first hook: status %d", status)
	}
	w.eventually("the first read", func() error {
		if n := len(w.relay.collator.Certificates()); n != 5000 {
			return fmt.Errorf("%d certificates", n)
		}
		return nil
	})
	renewed := w.ca.TestIssue(t, []string{"n4321.test"}, certstest.Options{Key: key})
	w.writePEM("n4321.test.pem", renewed.Bundle())
	start := time.Now()
	status := w.hook("usr1")
	if took := time.Since(start); took > 5*time.Second || status/100 != 2 {
		t.Fatalf("the hook answered %d after %s", status, took)
	}
	taken := func() error {
		for _, c := range w.relay.collator.Certificates() {
			if c.ServerNames[0] == "n4321.test" && c.Fingerprint != renewed.Fingerprint {
				return errors.New("the renewed certificate is not taken")
			}
		}
		return nil
	}
	if status == http.StatusAccepted { // on a machine that is busy with other things
		w.eventually("the renewed certificate", taken)
	}
	if err := taken(); err != nil {
		t.Errorf("after the hook answered %d: %v", status, err)
	}
}
