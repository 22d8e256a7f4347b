package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/certs/certstest"
	"relay/collator"
	"relay/internal/relay"
)

// clientAs is a client that shows a certificate.
func (w *world) clientAs(ca *certstest.CA, name string) *http.Client {
	w.t.Helper()
	issued := ca.TestIssue(w.t, []string{name}, certstest.Options{})
	pair, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	client := w.client(false)
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	return client
}

// turnedAway returns nil if Envoy breaks off connections of a client because of what
// it shows. The client only listens: what it sends might cut the answer off.
func (w *world) turnedAway(client *http.Client) error {
	config := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "a.test"
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.https, config)
	if err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "remote error: tls") {
		return fmt.Errorf("%v, want it to be refused", err)
	}
	return nil
}

// replace puts a file in the place of another.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// The authorities of clients come from a file, and other ones count as soon as
// they are in it: no listener is touched. What cannot be used replaces nothing.
func TestClientCAFile(t *testing.T) {
	for _, certificates := range []string{"all", onDemand} {
		t.Run("certificates "+certificates, func(t *testing.T) { testClientCAFile(t, certificates) })
	}
}

func testClientCAFile(t *testing.T, certificates string) {
	w := newWorld(t)
	w.fleet.CertificatesOnDemand = certificates == onDemand
	w.deploy(app("/a", "a.test", 1))
	w.issue("a.test", "seed.test")
	first, second := certstest.TestCA(t), certstest.TestCA(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	replace(t, file, first.RootPEM())
	w.fleet.ClientCAFile, w.fleet.TLS.ClientCertificates = file, collator.ClientCertificatesRequired
	w.start()
	old, young, nobody := w.clientAs(first, "old.test"), w.clientAs(second, "young.test"), w.client(false)
	served := func(client *http.Client) error {
		a, err := w.get(client, "https://a.test/", "")
		if err == nil {
			err = ok(a)
		}
		return err
	}
	w.eventually("a client of the first authority", func() error { return served(old) })
	for _, client := range []*http.Client{young, nobody} {
		if err := w.turnedAway(client); err != nil {
			t.Error(err)
		}
	}
	if a, err := w.get(nobody, "http://a.test/", ""); err != nil || a.status != http.StatusMovedPermanently {
		t.Errorf("plain HTTP: status %d, %v; want a redirect", a.status, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "wss://a.test/ws", &websocket.DialOptions{HTTPClient: old})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	w.says(ws, "hello")
	w.settled()
	listeners := w.stat(`^listener_manager\.lds\.update_success$`)

	for content, words := range map[string]string{"": "no certificate", string(first.RootPEM()[:100]): "broken"} {
		replace(t, file, []byte(content))
		w.problem("client-ca of fleet external", words)
		if err := served(old); err != nil {
			t.Errorf("with the file %q: %v", content, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.problem("client-ca of fleet external", "no such file")
	replace(t, file, second.RootPEM())
	w.eventually("a client of the second authority", func() error { return served(young) })
	if err := w.turnedAway(old); err != nil {
		t.Errorf("a client of the first authority: %v", err)
	}
	if problems := w.admin.problems(); len(problems) > 0 {
		t.Errorf("problems are left: %+v", problems)
	}
	w.settled()
	if n := w.stat(`^listener_manager\.lds\.update_success$`); n != listeners {
		t.Errorf("Envoy took in listeners %d times, want %d", n, listeners)
	}
	w.says(ws, "still here")
}

// A file that cannot be used at the start is said at once.
func TestEdgeFilesAtStart(t *testing.T) {
	w := newWorld(t)
	w.fleet.ClientCAFile, w.fleet.TLS.ClientCertificates = filepath.Join(t.TempDir(), "none.pem"), collator.ClientCertificatesRequired
	_, err := relay.New(w.config, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "client-ca of fleet external") || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("error %v, want one that names the file", err)
	}
}
