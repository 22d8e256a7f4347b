package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
)

// Who has a certificate of an authority that was taken out gets in no more, with
// a TLS session of before neither.
func TestXDSClientCAIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.relay.secure()
	w.relay.start()
	next := certstest.TestCA(t)
	old, renewed := w.certs.clientOf(w.certs.ca, certstest.Options{}), w.certs.clientOf(next, certstest.Options{})
	old.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	enters := func(config *tls.Config) codes.Code {
		return status.Code(w.relay.firstAnswer(credentials.NewTLS(config), "external"))
	}
	if got := enters(old); got != codes.OK {
		t.Fatalf("a client of the authority: %s", got)
	}
	conn, err := tls.Dial("tcp", w.relay.config.XDS.Address, old)
	if err != nil || !conn.ConnectionState().DidResume {
		t.Fatalf("no session is resumed (%v): the test shows nothing", err)
	}
	_ = conn.Close()
	if got := enters(renewed); got != codes.Unavailable {
		t.Fatalf("a client of another authority: %s, want Unavailable", got)
	}
	replace(t, w.relay.config.XDS.TLS.ClientCAFile, next.RootPEM())
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

// The admin endpoint asks so at each request of a connection that stays open.
func TestAdminClientCAIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.relay.secure()
	w.relay.config.Admin.TLS.CertFile, w.relay.config.Admin.TLS.KeyFile, w.relay.config.Admin.TLS.ClientCAFile = w.relay.config.XDS.TLS.CertFile, w.relay.config.XDS.TLS.KeyFile, w.relay.config.XDS.TLS.ClientCAFile
	w.relay.start()
	config := w.certs.clientOf(w.certs.ca, certstest.Options{})
	config.NextProtos = nil
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	get := func() int {
		t.Helper()
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get(w.admin.url + "/api/v1/sources")
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
	replace(t, w.relay.config.Admin.TLS.ClientCAFile, certstest.TestCA(t).RootPEM())
	w.eventually("the certificate opens nothing", func() error {
		if got := get(); got != http.StatusForbidden {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
}
