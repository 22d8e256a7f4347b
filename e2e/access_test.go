package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/xds/envoytest"
)

// The xDS port hands out private keys: only who may gets in, and whoever is
// refused disturbs nobody.
func TestXDSMutualTLS(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.marathon.deploy(app("/a", "a.test", 1))
	client := w.relay.secure()
	w.relay.start()
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, TLS: client})
	w.envoy.ready()
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	since := w.admin.streams(1)[0].Since

	stranger := certstest.TestCA(t)
	tests := []struct {
		name   string
		client *certstest.Issued
		plain  bool
		fleet  string
		want   codes.Code
		log    string
	}{
		{"plain text", nil, true, "external", codes.Unavailable, "it speaks plain text, this port takes TLS: for an Envoy, see relay bootstrap --xds-ca"},
		{"no certificate", nil, false, "external", codes.Unavailable, "it shows no client certificate: give it one of the authorities in --xds-client-ca"},
		{"wrong authority", stranger.TestIssue(t, []string{"one.edge.test"}, certstest.Options{}), false, "external", codes.Unavailable,
			"its certificate is of none of the authorities in --xds-client-ca: give it another"},
		{"expired", w.certs.ca.TestIssue(t, []string{"one.edge.test"}, certstest.Options{
			NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		}), false, "external", codes.Unavailable, "its certificate is out of date: renew it"},
		{"another name", w.certs.ca.TestIssue(t, []string{"one.other.test"}, certstest.Options{}), false, "external", codes.PermissionDenied, "not for a client named"},
		{"no such fleet", w.certs.ca.TestIssue(t, []string{"one.edge.test"}, certstest.Options{}), false, "internal", codes.InvalidArgument, "node.cluster must be one of"},
		{"the right one", w.certs.ca.TestIssue(t, []string{"two.edge.test"}, certstest.Options{}), false, "external", codes.OK, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			creds := insecure.NewCredentials()
			if !tt.plain {
				creds = showing(t, w.certs.ca, tt.client)
			}
			for range 3 {
				if got := w.relay.firstAnswer(creds, tt.fleet); status.Code(got) != tt.want {
					t.Errorf("%v, want %s", got, tt.want)
				}
			}
			w.eventually("a line in the log", func() error {
				if !strings.Contains(w.relay.log.String(), tt.log) {
					return fmt.Errorf("it does not say %q", tt.log)
				}
				return nil
			})
			if n := strings.Count(w.relay.log.String(), tt.log); tt.log != "" && n != 1 {
				t.Errorf("the log says %d times %q, want once", n, tt.log)
			}
		})
	}
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	if got := w.admin.streams(1)[0].Since; !got.Equal(since) {
		t.Error("Envoy's stream was cut")
	}
}

// showing are credentials of a client that shows a certificate; nil for none.
func showing(t *testing.T, ca *certstest.CA, client *certstest.Issued) credentials.TransportCredentials {
	t.Helper()
	config := ca.ClientTLS()
	config.ServerName = "relay.test"
	if client != nil {
		own, err := tls.X509KeyPair(certstest.Join(client.Leaf, client.Chain), client.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(config)
}

// Certificates of Relay's own ports are read again without a restart; broken
// ones change nothing.
func TestServerCertificateReload(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.relay.config.Admin.TLS.CertFile, w.relay.config.Admin.TLS.KeyFile = w.certs.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, dir)
	w.relay.start()
	serial := func() string {
		config := w.certs.ca.ClientTLS()
		config.ServerName = "relay.test"
		conn, err := tls.Dial("tcp", w.admin.address(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	if err := os.WriteFile(w.relay.config.Admin.TLS.KeyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != first {
		t.Errorf("with a broken key the certificate is %s, want %s", got, first)
	}
	w.certs.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, dir)
	w.eventually("the new certificate", func() error {
		if got := serial(); got == first {
			return fmt.Errorf("still the old one")
		}
		return nil
	})
}
