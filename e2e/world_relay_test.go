package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/deploy"
	"relay/internal/logtest"
	"relay/internal/relay"
	"relay/internal/secret"
)

// runningRelay is Relay in the process of the test.
type runningRelay struct {
	t     *testing.T
	certs *certificates
	admin *adminClient
	// config is what it is started with; fleet is the first one in it.
	config relay.Config
	fleet  *relay.Fleet
	// log is that of all starts.
	log  *logtest.Buffer
	stop func()
	// running is the last one that was started.
	running *relay.Relay
}

// start starts Relay; it ends with the test or with stop.
func (r *runningRelay) start() {
	r.t.Helper()
	if err := r.config.Validate(); err != nil {
		r.t.Fatal(err)
	}
	running, err := relay.New(r.config, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		r.t.Fatal(err)
	}
	r.running = running
	r.t.Cleanup(func() {
		for line := range strings.Lines(r.log.String()) {
			if !strings.Contains(line, " event=") {
				r.t.Errorf("a line of the log has no event: %s", line)
			}
		}
	})
	r.admin.use(running.AdminURL(), r.config.Admin)
	r.stop = serve(r.t, running)
}

// serve runs a Relay until stop is called, or the test ends.
func serve(t testing.TB, r *relay.Relay) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("relay serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// useVault runs a real Vault and makes it the only certificate store. Its mount is
// written to as marathon-acme does.
func (r *runningRelay) useVault() *vaulttest.Mount {
	r.t.Helper()
	server := vaulttest.Start(r.t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	mount, err := server.Mount(ctx, "secret")
	if err != nil {
		r.t.Fatal(err)
	}
	token, err := mount.ReaderToken(ctx, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	r.config.Certificates.Dir.Paths = nil
	v := &r.config.Certificates.Vault
	v.Addresses, v.Mount, v.Token = []string{server.Addr}, "secret", secret.String(token)
	return mount
}

// readVault makes a Vault the only certificate store, which is polled often.
func (r *runningRelay) readVault(server *vaulttest.Server, tokenFile string) {
	r.config.Certificates.Dir.Paths = nil
	v := &r.config.Certificates.Vault
	v.Addresses, v.Mount, v.TokenFile = []string{server.Addr}, "secret", tokenFile
	r.pollCertificates(200 * time.Millisecond)
}

// secure makes the world's Relay serve xDS by mutual TLS, for clients named
// under edge.test. It returns what an Envoy needs to get in.
func (r *runningRelay) secure() deploy.ClientTLS {
	r.t.Helper()
	dir := r.t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, r.certs.ca.RootPEM(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.config.XDS.TLS.CertFile, r.config.XDS.TLS.KeyFile = r.certs.ca.TestIssue(r.t, []string{"relay.test"}, certstest.Options{}).TestPair(r.t, r.t.TempDir())
	r.config.XDS.TLS.ClientCAFile, r.fleet.Clients = ca, []string{"*.edge.test"}
	client := deploy.ClientTLS{CA: ca, ServerName: "relay.test"}
	client.Cert, client.Key = r.certs.ca.TestIssue(r.t, []string{"one.edge.test"}, certstest.Options{}).TestPair(r.t, dir)
	return client
}

// pollCertificates sets the time between two looks at the certificates.
func (r *runningRelay) pollCertificates(every time.Duration) {
	r.config.Certificates.Dir.PollInterval, r.config.Certificates.Vault.PollInterval = every, every
}

// keepState has Relay save what it serves, encrypted if encrypt is set.
func (r *runningRelay) keepState(encrypt bool) {
	r.t.Helper()
	r.config.State.Dir, r.config.State.Grace = filepath.Join(r.t.TempDir(), "state"), 500*time.Millisecond
	if encrypt {
		r.config.State.Certificates, r.config.State.KeyFile = true, filepath.Join(r.t.TempDir(), "key")
		if err := os.WriteFile(r.config.State.KeyFile, bytes.Repeat([]byte("7f"), 32), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// stateFile returns a file of the state directory.
func (r *runningRelay) stateFile(name string) (path string, data []byte) {
	r.t.Helper()
	path = filepath.Join(r.config.State.Dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	return path, data
}

// appsFile has Relay read apps from a file, and returns what replaces them.
func (r *runningRelay) appsFile() (write func(apps string)) {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "apps.yaml")
	r.config.Apps.Marathon.URLs, r.config.Apps.File = nil, path
	return func(apps string) {
		r.t.Helper()
		replace(r.t, path, []byte("apps:\n"+apps))
	}
}

// firstAnswer asks for clusters and returns how that ended.
func (r *runningRelay) firstAnswer(creds credentials.TransportCredentials, fleet string) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := grpc.NewClient(r.config.XDS.Address, grpc.WithTransportCredentials(creds))
	if err != nil {
		r.t.Fatal(err)
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
