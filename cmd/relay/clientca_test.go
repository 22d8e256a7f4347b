package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/internal/files"
)

// clientOf returns what a client needs that shows a certificate of an authority.
func (w *world) clientOf(ca *certstest.CA, o certstest.Options) *tls.Config {
	w.t.Helper()
	issued := ca.TestIssue(w.t, []string{"one.edge.test"}, o)
	own, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	config := w.ca.ClientTLS()
	config.ServerName, config.Certificates, config.NextProtos = "relay.test", []tls.Certificate{own}, []string{"h2"}
	return config
}

// Who has a certificate of an authority that was taken out gets in no more, with
// a TLS session of before neither.
func TestXDSClientCAIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.secure()
	w.startRelay()
	next := certstest.TestCA(t)
	old, renewed := w.clientOf(w.ca, certstest.Options{}), w.clientOf(next, certstest.Options{})
	old.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	enters := func(config *tls.Config) codes.Code {
		return status.Code(w.firstAnswer(credentials.NewTLS(config), "external"))
	}
	if got := enters(old); got != codes.OK {
		t.Fatalf("a client of the authority: %s", got)
	}
	conn, err := tls.Dial("tcp", w.config.XDS, old)
	if err != nil || !conn.ConnectionState().DidResume {
		t.Fatalf("no session is resumed (%v): the test shows nothing", err)
	}
	_ = conn.Close()
	if got := enters(renewed); got != codes.Unavailable {
		t.Fatalf("a client of another authority: %s, want Unavailable", got)
	}
	replace(t, w.config.XDSClientCA, next.RootPEM())
	w.eventually("the other authority counts", func() error {
		if got := enters(renewed); got != codes.OK {
			return fmt.Errorf("its client: %s", got)
		}
		return nil
	})
	if got := enters(old); got != codes.Unavailable {
		t.Errorf("a client of the authority that was taken out: %s, want Unavailable", got)
	}
}

// What let an Envoy in is asked again for as long as it stays: whether its
// certificate is in date, and of an authority that still counts.
func TestCertificateOfAnEnvoyThatStays(t *testing.T) {
	t.Parallel()
	ca, other := certstest.TestCA(t), certstest.TestCA(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca.RootPEM())
	secured := &serverTLS{clientCA: file}
	secured.cert, secured.key = pair(t, dir, ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}))
	if _, err := secured.listen(); err != nil {
		t.Fatal(err)
	}
	rules := clientRules{tls: secured, names: map[string][]string{"external": {"*.edge.test"}, "open": nil}}
	shows := func(o certstest.Options) *peer.Peer {
		t.Helper()
		issued := ca.TestIssue(t, []string{"one.edge.test"}, o)
		var chain []*x509.Certificate
		for _, text := range [][]byte{issued.Leaf, ca.RootPEM()} {
			path := filepath.Join(t.TempDir(), "c.pem")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			parsed, err := files.Authorities(path)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, parsed...)
		}
		return &peer.Peer{AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain}}}}
	}
	good := shows(certstest.Options{})
	expired := shows(certstest.Options{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Second)})
	stays := func(p *peer.Peer, want string) {
		t.Helper()
		for _, fleet := range []string{"external", "open"} {
			if err := rules.authorize(p, fleet); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("fleet %s: %v, want %q", fleet, err, want)
			}
		}
	}
	next := func(data []byte) {
		t.Helper()
		write(data)
		secured.checked = time.Time{} // a second later
	}
	stays(good, "")
	stays(expired, "has expired since it connected")
	next([]byte("broken"))
	stays(good, "")
	next(certstest.Join(other.RootPEM(), ca.RootPEM()))
	stays(good, "")
	next(other.RootPEM())
	stays(good, "was taken out of "+file)
}

// The admin endpoint asks so at each request of a connection that stays open.
func TestAdminClientCAIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.secure()
	w.config.AdminCert, w.config.AdminKey, w.config.AdminClientCA = w.config.XDSCert, w.config.XDSKey, w.config.XDSClientCA
	w.startRelay()
	config := w.clientOf(w.ca, certstest.Options{})
	config.NextProtos = nil
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	get := func() int {
		t.Helper()
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + w.relay.adminListener.Addr().String() + "/api/v1/sources")
		if err != nil {
			t.Fatal(err) // as it would be on a new connection
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if got := get(); got != http.StatusOK {
		t.Fatalf("with a certificate: status %d", got)
	}
	replace(t, w.config.AdminClientCA, certstest.TestCA(t).RootPEM())
	w.eventually("the certificate opens nothing", func() error {
		if got := get(); got != http.StatusForbidden {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
}
