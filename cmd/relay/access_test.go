package main

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

// pair writes a certificate and its key and returns their paths.
func pair(t *testing.T, dir string, issued *certstest.Issued) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, data := range map[string][]byte{cert: certstest.Join(issued.Leaf, issued.Chain), key: issued.Key} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// secure makes the world's Relay serve xDS by mutual TLS, for clients named
// under edge.test. It returns what an Envoy needs to get in.
func (w *world) secure() deploy.ClientTLS {
	w.t.Helper()
	dir := w.t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, w.ca.RootPEM(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.config.XDSCert, w.config.XDSKey = pair(w.t, w.t.TempDir(), w.ca.TestIssue(w.t, []string{"relay.test"}, certstest.Options{}))
	w.config.XDSClientCA, w.config.XDSClients = ca, []string{"*.edge.test"}
	client := deploy.ClientTLS{CA: ca, ServerName: "relay.test"}
	client.Cert, client.Key = pair(w.t, dir, w.ca.TestIssue(w.t, []string{"one.edge.test"}, certstest.Options{}))
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
	w.envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.config.XDS}, TLS: client})
	w.ready()
	w.expect("https://a.test/", http.StatusOK, "/a")
	since := w.streams(1)[0].Since

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
	if got := w.streams(1)[0].Since; !got.Equal(since) {
		t.Error("Envoy's stream was cut")
	}
}

// firstAnswer asks for clusters and returns how that ended.
func (w *world) firstAnswer(creds credentials.TransportCredentials, fleet string) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := grpc.NewClient(w.config.XDS, grpc.WithTransportCredentials(creds))
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
	w.config.AdminCert, w.config.AdminKey = pair(t, dir, w.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}))
	w.startRelay()
	serial := func() string {
		config := w.ca.ClientTLS()
		config.ServerName = "relay.test"
		conn, err := tls.Dial("tcp", w.relay.adminListener.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	if err := os.WriteFile(w.config.AdminKey, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != first {
		t.Errorf("with a broken key the certificate is %s, want %s", got, first)
	}
	pair(t, dir, w.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}))
	w.eventually("the new certificate", func() error {
		if got := serial(); got == first {
			return fmt.Errorf("still the old one")
		}
		return nil
	})
}

// Ports that would be open to more than this machine by mistake are refused.
func TestPortsBeyondLoopback(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--xds", "0.0.0.0:18000"}, "--xds-insecure-plaintext-beyond-loopback"},
		{[]string{"--xds", "0.0.0.0:18000", "--xds-cert", "c", "--xds-key", "k"}, "--xds-client-ca"},
		{[]string{"--xds", "0.0.0.0:18000", "--xds-cert", "c", "--xds-key", "k", "--xds-client-ca", "a"}, ""},
		{[]string{"--xds", "0.0.0.0:18000", "--xds-insecure-plaintext-beyond-loopback"}, ""},
		{[]string{"--xds-cert", "c"}, "--xds-cert and --xds-key go together"},
		{[]string{"--xds-client-ca", "a"}, "--xds-client-ca needs"},
		{[]string{"--xds-clients", "a"}, "only --xds-client-ca can tell apart"},
		{[]string{"--admin", ":9090"}, "--admin-insecure-open-beyond-loopback"},
		{[]string{"--admin", ":9090", "--admin-token-file", "t"}, "--admin-cert"},
		{[]string{"--admin", ":9090", "--admin-token-file", "t", "--admin-cert", "c", "--admin-key", "k"}, ""},
		{[]string{"--admin", ":9090", "--admin-insecure-open-beyond-loopback"}, ""},
		{[]string{"--admin", "localhost:9090", "--xds", "[::1]:1"}, ""},
	}
	for _, tt := range tests {
		_, err := parse(t, "", append([]string{"--marathon", "http://m"}, tt.args...)...)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: error %v, want %q", tt.args, err, tt.want)
		}
	}
}

// Only an endpoint that is for this machine, and asks for nothing, minds by which
// name it is asked.
func TestNamesOfThisMachine(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{nil, true},
		{[]string{"--admin", "localhost:9090", "--signal-networks", "10.0.0.0/8"}, true},
		{[]string{"--admin-token-file", token}, false},
		{[]string{"--admin-cert", "c", "--admin-key", "k", "--admin-client-ca", "a"}, false},
		{[]string{"--admin", ":9090", "--admin-insecure-open-beyond-loopback"}, false},
	} {
		c, err := parse(t, "", append([]string{"--marathon", "http://m"}, tt.args...)...)
		if err != nil {
			t.Fatal(err)
		}
		access, err := c.adminAccess()
		if err != nil || access.ThisMachine != tt.want {
			t.Errorf("%q: ThisMachine %v, want %v; error %v", tt.args, access.ThisMachine, tt.want, err)
		}
	}
}

func TestMatchName(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.test", "A.test", true}, {"*.test", "a.test", true}, {"*.test", "a.b.test", false}, {"*.test", "test", false},
		{"a.test", "b.test", false}, {"spiffe://a/b", "spiffe://a/b", true},
	} {
		if got := matchName(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matchName(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}
