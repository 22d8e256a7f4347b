package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/deploy"
	"relay/xds/envoytest"
)

// secure makes the world's Relay serve xDS by mutual TLS, for clients named
// under edge.test. It returns what an Envoy needs to get in.
func (w *world) secure() deploy.ClientTLS {
	w.t.Helper()
	dir := w.t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, w.ca.RootPEM(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.config.XDS.TLS.CertFile, w.config.XDS.TLS.KeyFile = w.ca.TestIssue(w.t, []string{"relay.test"}, certstest.Options{}).TestPair(w.t, w.t.TempDir())
	w.config.XDS.TLS.ClientCAFile, w.fleet.Clients = ca, []string{"*.edge.test"}
	client := deploy.ClientTLS{CA: ca, ServerName: "relay.test"}
	client.Cert, client.Key = w.ca.TestIssue(w.t, []string{"one.edge.test"}, certstest.Options{}).TestPair(w.t, dir)
	return client
}

// The xDS port hands out private keys: only who may gets in, and whoever is
// refused disturbs nobody.
func TestXDSMutualTLS(t *testing.T) {
	w := newWorld(t)
	w.issue("a.test")
	w.deploy(app("/a", "a.test", 1))
	client := w.secure()
	w.startRelay()
	w.envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.config.XDS.Address}, TLS: client})
	w.ready()
	w.expect("https://a.test/", http.StatusOK, "/a")
	since := w.streams(1)[0].Connected

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
		{"expired", w.ca.TestIssue(t, []string{"one.edge.test"}, certstest.Options{
			NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		}), false, "external", codes.Unavailable, "its certificate is out of date: renew it"},
		{"another name", w.ca.TestIssue(t, []string{"one.other.test"}, certstest.Options{}), false, "external", codes.PermissionDenied, "not for a client named"},
		{"no such fleet", w.ca.TestIssue(t, []string{"one.edge.test"}, certstest.Options{}), false, "internal", codes.InvalidArgument, "node.cluster must be one of"},
		{"the right one", w.ca.TestIssue(t, []string{"two.edge.test"}, certstest.Options{}), false, "external", codes.OK, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			creds := insecure.NewCredentials()
			if !tt.plain {
				config := w.ca.ClientTLS()
				config.ServerName = "relay.test"
				if tt.client != nil {
					own, err := tls.X509KeyPair(certstest.Join(tt.client.Leaf, tt.client.Chain), tt.client.Key)
					if err != nil {
						t.Fatal(err)
					}
					config.Certificates = []tls.Certificate{own}
				}
				creds = credentials.NewTLS(config)
			}
			for range 3 {
				if got := w.firstAnswer(creds, tt.fleet); status.Code(got) != tt.want {
					t.Errorf("%v, want %s", got, tt.want)
				}
			}
			w.eventually("a line in the log", func() error {
				if !strings.Contains(w.log.String(), tt.log) {
					return fmt.Errorf("it does not say %q", tt.log)
				}
				return nil
			})
			if n := strings.Count(w.log.String(), tt.log); tt.log != "" && n != 1 {
				t.Errorf("the log says %d times %q, want once", n, tt.log)
			}
		})
	}
	w.deploy(app("/b", "b.test", 1))
	w.expect("http://b.test/", http.StatusOK, "/b")
	if got := w.streams(1)[0].Connected; !got.Equal(since) {
		t.Error("Envoy's stream was cut")
	}
}

// firstAnswer asks for clusters and returns how that ended.
func (w *world) firstAnswer(creds credentials.TransportCredentials, fleet string) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := grpc.NewClient(w.config.XDS.Address, grpc.WithTransportCredentials(creds))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: "intruder", Cluster: fleet}, TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
	})
	_, err = stream.Recv()
	return err
}

// Certificates of Relay's own ports are read again without a restart; broken
// ones change nothing.
func TestServerCertificateReload(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.config.Admin.TLS.CertFile, w.config.Admin.TLS.KeyFile = w.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, dir)
	w.startRelay()
	serial := func() string {
		config := w.ca.ClientTLS()
		config.ServerName = "relay.test"
		conn, err := tls.Dial("tcp", w.admin.address(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	if err := os.WriteFile(w.config.Admin.TLS.KeyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != first {
		t.Errorf("with a broken key the certificate is %s, want %s", got, first)
	}
	w.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, dir)
	w.eventually("the new certificate", func() error {
		if got := serial(); got == first {
			return fmt.Errorf("still the old one")
		}
		return nil
	})
}
