package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
)

// A renewed certificate is served within two seconds of the hook, and without
// it of the next poll; no listener is touched, and no connection closed.
func TestRenewal(t *testing.T) {
	for _, store := range []string{"dir", "vault"} {
		t.Run(store, func(t *testing.T) {
			w := newWorldAlone(t)
			w.marathon.deploy(app("/a", "a.test", 1))
			renew := w.certs.issueUnnoticed
			if store == "vault" {
				mount := w.relay.useVault()
				renew = func() { w.certs.publish(mount, "a.test") }
			}
			renew()
			w.start()
			serial := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial
			open := w.conns.openAll("a.test")
			w.admin.settled()
			before := w.envoy.listeners()

			for _, hook := range []string{"usr1", "hup"} {
				renew()
				start := time.Now()
				if status := w.admin.hook(hook); status != http.StatusNoContent {
					t.Fatalf("hook %s: status %d", hook, status)
				}
				serial = w.clients.renewed("https://a.test/", serial)
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("the hook %s took %s to have effect", hook, took)
				}
			}
			w.relay.stop()

			// Polled: a Relay that nobody tells, after its first read.
			const poll = 200 * time.Millisecond
			w.relay.pollCertificates(poll)
			w.relay.start()
			w.admin.streams(1)
			w.admin.awaitReady()
			renew()
			start := time.Now()
			w.clients.renewed("https://a.test/", serial)
			// A poll is up to a fifth late.
			if took := time.Since(start); took > poll*12/10+2*time.Second {
				t.Errorf("the poll took %s to have effect", took)
			}
			w.admin.settled()
			if after := w.envoy.listeners(); after != before {
				t.Errorf("Envoy's listeners were %s, and are %s", before, after)
			}
			if n := w.envoy.draining(); n != 0 {
				t.Errorf("%d filter chains drain", n)
			}
			w.conns.open(open...)
		})
	}
}

// Relay started while Vault is down: plain HTTP waits for the grace and no
// longer; an Envoy that has certificates keeps them; /readyz says why; when
// Vault comes, all is well.
func TestVaultDownAtStart(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	mount := w.relay.useVault()
	w.certs.publish(mount, "a.test")
	w.start()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	w.admin.settled()
	w.relay.stop()

	up := w.relay.config.Certificates.Vault.Addresses
	w.relay.config.Certificates.Vault.Addresses = []string{"http://127.0.0.1:1"}
	w.relay.config.Certificates.Grace = 300 * time.Millisecond
	w.relay.start()
	load := w.clients.load(100, ok, "http://a.test/", "https://a.test/")
	w.admin.awaitNotReady("certificates cannot be read from vault")
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")

	// A new Envoy gets plain HTTP.
	old := w.envoy
	old.Kill()
	load.stop()
	w.envoy.start()
	w.envoy.ready()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	if _, err := w.clients.get(w.clients.client(false), "https://a.test/", ""); err == nil {
		t.Error("HTTPS is served without certificates")
	}
	w.relay.stop()

	w.relay.config.Certificates.Vault.Addresses = up
	w.relay.start()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
}

// An Envoy that has an https listener keeps it, and serves, while Vault is down.
func TestEnvoyKeepsCertificates(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	w.certs.publish(w.relay.useVault(), "a.test")
	w.start()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	w.admin.settled()
	w.relay.stop()
	w.relay.config.Certificates.Vault.Addresses, w.relay.config.Certificates.Grace = []string{"http://127.0.0.1:1"}, time.Millisecond
	load := w.clients.load(100, ok, "https://a.test/")
	w.relay.start()
	w.admin.streams(1)
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	w.admin.settledTypes("clusters", "endpoints", "scopes", "listeners")
	w.clients.noFailure(load, 20)
}

// A bad certificate costs only itself, replaces no good one, and says why.
func TestBadCertificates(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1), app("/late", "late.test", 1))
	w.certs.issue("a.test")
	other := w.certs.ca.TestIssue(t, []string{"b.test"}, certstest.Options{})
	mismatch := certstest.Join(w.certs.ca.TestIssue(t, []string{"c.test"}, certstest.Options{}).Key, other.Leaf)
	garbage := []byte("-----BEGIN CERTIFICATE-----\n!!\n")
	late := w.certs.ca.TestIssue(t, []string{"late.test"}, certstest.Options{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	w.certs.write("nokey.pem", other.Leaf)
	w.certs.write("mismatch.pem", mismatch)
	w.certs.write("expired.pem", late.Bundle())
	w.certs.write("garbage.pem", garbage)
	w.start()
	serial := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial
	for file, words := range map[string]string{
		"nokey.pem": "key", "mismatch.pem": "belongs to none", "expired.pem": "expired", "garbage.pem": "PEM",
	} {
		w.admin.problem(file, words)
	}
	for words, bad := range map[string][]byte{"no readable private key": other.Leaf, "belongs to none of the certificates": mismatch, "1 of 1 PEM blocks cannot be decoded: cut short, indented, or not base64": garbage} {
		w.certs.write("a.test.pem", bad)
		if status := w.admin.hook("usr1"); status != http.StatusNoContent {
			t.Errorf("hook: status %d", status)
		}
		w.admin.problem("a.test.pem", words+"; its last good content stays in use")
		w.admin.settled()
		if got := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial; got != serial {
			t.Errorf("%s: another certificate is served", words)
		}
	}
	for _, secret := range []string{"BEGIN RSA", "BEGIN EC", "PRIVATE KEY", string(other.Key[40:80])} {
		if strings.Contains(w.relay.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	w.envoy.nothingRejected()
}

// A live entry that is no JSON costs only itself.
func TestBadLiveEntry(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	mount := w.relay.useVault()
	w.certs.publish(mount, "a.test")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := mount.SetLive(ctx, "broken.test", "{not json"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	w.admin.problem("broken.test", "JSON")
}

// A directory that cannot be read is a failure, not "no certificates".
func TestLostDirectory(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	w.certs.issue("a.test")
	w.start()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(w.certs.dir, away); err != nil {
		t.Fatal(err)
	}
	if status := w.admin.hook("usr1"); status != http.StatusInternalServerError {
		t.Errorf("hook without a directory: status %d, want 500", status)
	}
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	if err := os.Rename(away, w.certs.dir); err != nil {
		t.Fatal(err)
	}
	if status := w.admin.hook("usr1"); status != http.StatusNoContent {
		t.Errorf("hook: status %d, want 204", status)
	}
}

// The hook answers with what it was asked for, and before marathon-acme gives
// up, however many certificates there are.
func TestHookOfManyCertificates(t *testing.T) {
	w := newWorld(t)
	key := w.certs.ca.TestIssue(t, []string{"key.test"}, certstest.Options{}).Signer
	for i := range 5000 {
		name := fmt.Sprintf("n%d.test", i)
		w.certs.write(name+".pem", w.certs.ca.TestIssue(t, []string{name}, certstest.Options{Key: key}).Bundle())
	}
	w.relay.start()
	if status := w.admin.hook("usr1"); status/100 != 2 {
		t.Fatalf("the first hook: status %d", status)
	}
	eventuallyWithin(t, 5*patience, "the first read", func() error {
		if n := len(w.admin.certificates()); n != 5000 {
			return fmt.Errorf("%d certificates", n)
		}
		return nil
	})
	renewed := w.certs.ca.TestIssue(t, []string{"n4321.test"}, certstest.Options{Key: key})
	w.certs.write("n4321.test.pem", renewed.Bundle())
	start := time.Now()
	status := w.admin.hook("usr1")
	// Relay answers after 4 s at the latest, and marathon-acme waits for 5. A busy machine may stand still in between.
	if took := time.Since(start); took > 10*time.Second || status/100 != 2 {
		t.Fatalf("the hook answered %d after %s", status, took)
	}
	taken := func() error {
		for _, c := range w.admin.certificates() {
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
