package e2e

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/relay"
)

// The authorities of clients come from a file, and other ones count as soon as
// they are in it: no listener is touched. What cannot be used replaces nothing.
func TestClientCAFile(t *testing.T) {
	t.Parallel()
	for _, certificates := range []string{"all", onDemand} {
		t.Run("certificates "+certificates, func(t *testing.T) { testClientCAFile(t, certificates) })
	}
}

func testClientCAFile(t *testing.T, certificates string) {
	w := newWorld(t)
	w.relay.fleet.CertificatesOnDemand = certificates == onDemand
	w.marathon.deploy(app("/a", "a.test", 1))
	w.certs.issue("a.test", "seed.test")
	first, second := certstest.TestCA(t), certstest.TestCA(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	replace(t, file, first.RootPEM())
	w.relay.fleet.ClientCAFile, w.relay.fleet.TLS.ClientCertificates = file, routing.ClientCertificatesRequired
	w.start()
	old, young, nobody := w.tls.clientAs(first, "old.test"), w.tls.clientAs(second, "young.test"), w.clients.client(false)
	served := func(client *http.Client) error {
		a, err := w.clients.get(client, "https://a.test/", "")
		if err == nil {
			err = ok(a)
		}
		return err
	}
	w.eventually("a client of the first authority", func() error { return served(old) })
	for _, client := range []*http.Client{young, nobody} {
		if err := w.tls.turnedAway(client); err != nil {
			t.Error(err)
		}
	}
	if a, err := w.clients.get(nobody, "http://a.test/", ""); err != nil || a.status != http.StatusMovedPermanently {
		t.Errorf("plain HTTP: status %d, %v; want a redirect", a.status, err)
	}
	ws := w.clients.echoBy(old, "wss://a.test/ws")
	w.admin.settled()
	listeners := w.envoy.stat(`^listener_manager\.lds\.update_success$`)

	for content, words := range map[string]string{"": "no certificate", string(first.RootPEM()[:100]): "broken"} {
		replace(t, file, []byte(content))
		w.admin.problem("client-ca of fleet external", words)
		if err := served(old); err != nil {
			t.Errorf("with the file %q: %v", content, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.admin.problem("client-ca of fleet external", "no such file")
	replace(t, file, second.RootPEM())
	w.eventually("a client of the second authority", func() error { return served(young) })
	// Each of Envoy's threads learns of it by itself.
	w.eventually("a client of the first authority is refused", func() error { return w.tls.turnedAway(old) })
	w.admin.noProblems()
	w.admin.settled()
	if n := w.envoy.stat(`^listener_manager\.lds\.update_success$`); n != listeners {
		t.Errorf("Envoy took in listeners %d times, want %d", n, listeners)
	}
	w.clients.says(ws, "still here")
}

// A file that cannot be used at the start is said at once.
func TestDownstreamFilesAtStart(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.ClientCAFile, w.relay.fleet.TLS.ClientCertificates = filepath.Join(t.TempDir(), "none.pem"), routing.ClientCertificatesRequired
	_, err := relay.New(w.relay.config, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "client-ca of fleet external") || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("error %v, want one that names the file", err)
	}
}
