package e2e

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
)

// Of two certificates for a name one is served, the one that lasts longer; when
// it goes, the other one takes over, and gives the name back when it returns.
func TestTwoCertificatesForOneName(t *testing.T) {
	w := newWorld(t)
	w.certs.put("short.pem", []string{"a.test", "b.test"}, certstest.Options{Serial: 1, NotAfter: time.Now().AddDate(0, 0, 30)})
	w.certs.put("long.pem", []string{"a.test", "c.test"}, certstest.Options{Serial: 2, NotAfter: time.Now().AddDate(0, 0, 60)})
	w.marathon.deploy(app("/a", "a.test,b.test,c.test", 1))
	w.start()
	for range 2 {
		w.tls.presents("a.test", 2)
		w.tls.presents("b.test", 1)
		w.tls.presents("c.test", 2)
		w.clients.expect("https://a.test/", http.StatusOK, "/a")
		w.certs.remove("long.pem")
		w.tls.presents("a.test", 1)
		w.tls.presents("b.test", 1)
		w.tls.presents("c.test", 0)
		w.clients.expect("https://a.test/", http.StatusOK, "/a")
		w.certs.put("long.pem", []string{"a.test", "c.test"}, certstest.Options{Serial: 2, NotAfter: time.Now().AddDate(0, 0, 60)})
	}
	w.tls.presents("a.test", 2)
	w.envoy.nothingRejected()
}

// Of two that last equally long Vault's is served, and the directory's when it
// is gone. --vault-default answers those who ask for no other.
func TestVaultBesideADirectory(t *testing.T) {
	w := newWorld(t)
	mount := w.relay.useVault()
	w.relay.config.Certificates.Dir.Paths, w.relay.config.Certificates.Vault.Default = []string{w.certs.dir}, "fallback"
	ends := time.Now().AddDate(0, 0, 60)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	publish := func(name string, names []string, options certstest.Options) *certstest.Issued {
		t.Helper()
		issued := w.certs.ca.TestIssue(t, names, options)
		if _, err := mount.Publish(ctx, name, issued); err != nil {
			t.Fatal(err)
		}
		return issued
	}
	vault := publish("a.test", []string{"a.test"}, certstest.Options{Serial: 2, NotAfter: ends})
	publish("fallback", []string{"fallback.test"}, certstest.Options{Serial: 3})
	publish("star", nil, certstest.Options{Serial: 4, NoSAN: true, CommonName: "*", SelfSigned: true, NotAfter: time.Now().AddDate(10, 0, 0)})
	// The fingerprint, which would decide next, is for the directory's.
	own := w.certs.ca.TestIssue(t, []string{"a.test"}, certstest.Options{Serial: 1, NotAfter: ends})
	for own.Fingerprint >= vault.Fingerprint {
		own = w.certs.ca.TestIssue(t, []string{"a.test"}, certstest.Options{Serial: 1, NotAfter: ends})
	}
	w.certs.write("a.pem", own.Bundle())
	w.start()
	w.tls.presents("a.test", 2)
	w.tls.presents("fallback.test", 3)
	w.tls.presents("unknown.test", 3)
	w.tls.presents("", 3)

	if err := mount.SetLive(ctx, "a.test", nil); err != nil {
		t.Fatal(err)
	}
	for _, serial := range []int64{2, 1} { // one read may be of a node that is behind
		if status := w.admin.hook("usr1"); status != http.StatusNoContent {
			t.Errorf("hook: status %d", status)
		}
		w.admin.settled()
		w.tls.presents("a.test", serial)
	}
	w.envoy.nothingRejected()
}

// An expired certificate is served only where nothing else covers the name, and
// said to be. One that is not valid yet waits.
func TestDatesOfCertificates(t *testing.T) {
	w := newWorld(t)
	day := func(n int) time.Time { return time.Now().AddDate(0, 0, n) }
	w.certs.put("expired.pem", []string{"a.test", "b.test"}, certstest.Options{Serial: 1, NotBefore: day(-90), NotAfter: day(-1)})
	w.certs.put("valid.pem", []string{"b.test"}, certstest.Options{Serial: 2, NotAfter: day(1)})
	w.certs.put("early.pem", []string{"b.test", "a.test"}, certstest.Options{Serial: 3, NotBefore: day(1), NotAfter: day(99)})
	w.marathon.deploy(app("/a", "a.test,b.test", 1))
	w.start()
	w.tls.presents("a.test", 1)
	w.tls.presents("b.test", 2)
	w.clients.expect("https://b.test/", http.StatusOK, "/a")
	if _, err := w.clients.get(w.clients.client(false), "https://a.test/", ""); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a client of the expired certificate: %v", err)
	}
	w.admin.problem("expired.pem", "nothing else covers a.test")
	w.admin.expires(filepath.Join(w.certs.dir, "expired.pem"), day(-1))
	w.certs.remove("valid.pem")
	w.tls.presents("b.test", 1)
	w.admin.problem("expired.pem", "nothing else covers a.test, b.test")

	// A good one takes over, and is not replaced by a worse one in its file.
	w.certs.put("good.pem", []string{"a.test", "b.test"}, certstest.Options{Serial: 4})
	w.tls.presents("a.test", 4)
	w.tls.presents("b.test", 4)
	w.certs.put("good.pem", []string{"a.test", "b.test"}, certstest.Options{Serial: 5, NotBefore: day(-90), NotAfter: day(-1)})
	w.admin.problem("good.pem", "the old one stays")
	w.tls.presents("a.test", 4)
	w.certs.put("good.pem", []string{"a.test", "b.test"}, certstest.Options{Serial: 6, NotBefore: day(1)})
	w.admin.problem("good.pem", "the old one is served until then")
	w.tls.presents("a.test", 4)
	w.envoy.nothingRejected()
}

// A wildcard answers for all names below it, though clients accept it for one
// label only; an exact name wins.
func TestWildcardCertificate(t *testing.T) {
	w := newWorld(t)
	w.certs.put("wild.pem", []string{"*.example.test"}, certstest.Options{Serial: 1})
	w.certs.put("exact.pem", []string{"x.example.test"}, certstest.Options{Serial: 2, NotAfter: time.Now().AddDate(0, 0, 1)})
	w.marathon.deploy(app("/a", "*.example.test", 1))
	w.start()
	w.tls.presents("a.example.test", 1)
	for name, serial := range map[string]int64{
		"a.example.test": 1, "A.Example.Test": 1, "a.b.example.test": 1, "a.x.example.test": 1,
		"x.example.test": 2, "X.EXAMPLE.test": 2, "example.test": 0, "aexample.test": 0,
	} {
		w.tls.presents(name, serial)
	}
	w.clients.expect("https://a.example.test/", http.StatusOK, "/a")
	w.clients.expect("https://x.example.test/", http.StatusOK, "/a")
	_, err := w.clients.get(w.clients.client(false), "https://a.b.example.test/", "")
	if err == nil || !strings.Contains(err.Error(), "valid for *.example.test, not a.b.example.test") {
		t.Errorf("a client two labels below the wildcard: %v", err)
	}
	w.certs.remove("exact.pem")
	w.tls.presents("x.example.test", 1)
	w.envoy.nothingRejected()
}

// The default certificate is for clients that ask for no name or an unknown
// one, and for nobody else. The directory is laid out as by marathon-acme.
func TestDefaultCertificate(t *testing.T) {
	w := newWorld(t)
	for _, folder := range []string{"certs", "unmanaged-certs"} {
		if err := os.Mkdir(filepath.Join(w.certs.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	star := certstest.Options{Serial: 1, NoSAN: true, CommonName: "*", SelfSigned: true, NotAfter: time.Now().AddDate(10, 0, 0)}
	w.certs.put("client.key", nil, star)
	w.certs.put("certs/a.test.pem", []string{"a.test"}, certstest.Options{Serial: 2, KeyType: certstest.RSA2048, KeyForm: certstest.PKCS1})
	w.certs.put("unmanaged-certs/own.pem", []string{"own.test"}, certstest.Options{Serial: 3})
	w.marathon.deploy(app("/a", "a.test,own.test", 1))
	w.start()
	without := func() {
		t.Helper()
		w.tls.presents("", 0)
		w.tls.presents("unknown.test", 0)
		w.tls.presents("a.test", 2)
		w.tls.presents("own.test", 3)
	}
	w.tls.presents("a.test", 2)
	without()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	open := w.conns.openAll("a.test")

	w.certs.put("default.pem", nil, star)
	w.tls.presents("", 1)
	w.tls.presents("unknown.test", 1)
	w.tls.presents("127.0.0.1", 1) // an address is not sent as a name
	w.tls.presents("sub.a.test", 1)
	w.tls.presents("a.test", 2)
	w.tls.presents("own.test", 3)
	client := w.clients.client(false)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	if a, err := w.clients.get(client, "https://unknown.test/", ""); err != nil || a.status != http.StatusNotFound {
		t.Errorf("a host that no app has: status %d, %v; want 404", a.status, err)
	}

	w.certs.remove("default.pem")
	w.tls.presents("", 0)
	without()
	if n := w.envoy.draining(); n > 1 {
		t.Errorf("%d filter chains drain, want the default one at most", n)
	}
	w.conns.open(open...)
	w.envoy.nothingRejected()
}

// Envoy takes every kind of key that Relay lets through, and is not sent what
// it would refuse.
func TestKindsOfKeys(t *testing.T) {
	w := newWorld(t)
	good := map[string]certstest.Options{
		"p256":  {KeyForm: certstest.SEC1},
		"p384":  {KeyType: certstest.P384},
		"p521":  {KeyType: certstest.P521, KeyForm: certstest.SEC1},
		"rsa":   {KeyType: certstest.RSA2048, KeyForm: certstest.PKCS1},
		"rsa-8": {KeyType: certstest.RSA2048},
	}
	bad := map[string]certstest.Options{
		"p224": {KeyType: certstest.P224}, "rsa-1024": {KeyType: certstest.RSA1024}, "ed25519": {KeyType: certstest.Ed25519},
	}
	domains := make([]string, 0, len(good))
	for name, options := range good {
		w.certs.put(name+".pem", []string{name + ".test"}, options)
		domains = append(domains, name+".test")
	}
	for name, options := range bad {
		w.certs.put(name+".pem", []string{name + ".test"}, options)
	}
	w.marathon.deploy(app("/a", strings.Join(domains, ","), 1))
	w.start()
	for _, domain := range domains {
		w.clients.expect("https://"+domain+"/", http.StatusOK, "/a")
	}
	for name := range bad {
		w.admin.problem(name+".pem", "key")
		w.tls.presents(name+".test", 0)
	}
	w.envoy.nothingRejected()
}
