package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/xds/envoytest"
)

// An Envoy takes over a renewed client certificate, and authorities of Relay,
// without a restart: when Relay takes nothing else any more it comes back by
// itself, and serves all the while. A certificate whose key has not come yet
// changes nothing.
func TestEnvoyRenewsClientCertificate(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	client := w.relay.secure()
	w.relay.start()
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, TLS: client})
	w.envoy.ready()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	load := w.clients.load(50, ok, "http://a.test/")

	old, err := tls.LoadX509KeyPair(client.Cert, client.Key)
	if err != nil {
		t.Fatal(err)
	}
	next := certstest.TestCA(t)
	issued := next.TestIssue(t, []string{"two.edge.test"}, certstest.Options{})
	rises := func(stat string, change func()) {
		before := w.envoy.stat(stat)
		change()
		w.eventually(stat, func() error {
			if n := w.envoy.stat(stat); n <= before {
				return fmt.Errorf("it is %d still", n)
			}
			return nil
		})
	}
	const updated = `^cluster\.relay-xds\.client_ssl_socket_factory\.ssl_context_update_by_sds$`
	rises(`^sds\.relay-client\.key_rotation_failed$`, func() { replace(t, client.Cert, certstest.Join(issued.Leaf, issued.Chain)) })
	w.relay.stop()
	w.relay.start()
	w.admin.streams(1) // by the old pair
	rises(updated, func() { replace(t, client.Key, issued.Key) })
	rises(updated, func() { replace(t, client.CA, next.RootPEM()) })

	w.relay.stop()
	w.certs.ca = next
	w.relay.config.XDS.TLS.ClientCAFile = filepath.Join(t.TempDir(), "ca.pem")
	replace(t, w.relay.config.XDS.TLS.ClientCAFile, next.RootPEM())
	w.relay.config.XDS.TLS.CertFile, w.relay.config.XDS.TLS.KeyFile = next.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, t.TempDir())
	w.relay.start()
	w.admin.streams(1)
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	w.clients.noFailure(load, 50)
	if text := w.relay.log.String(); strings.Contains(text, "client refused") {
		t.Error("Relay refused an Envoy")
	}

	config := next.ClientTLS()
	config.ServerName, config.Certificates = "relay.test", []tls.Certificate{old}
	if err := w.relay.firstAnswer(credentials.NewTLS(config), "external"); status.Code(err) != codes.Unavailable {
		t.Errorf("the old certificate: %v, want it refused", err)
	}
}
