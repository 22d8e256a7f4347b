package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"relay/admin"
	"relay/certs/certstest"
	"relay/sources/marathon/marathontest"
	"relay/xds"
	"relay/xds/envoytest"
)

const securityDocument = "../docs/security.md"

// notRun are the blocks that change the machine, by their first words.
var notRun = map[string]string{
	"useradd --system": "adds a user to the machine and a service to its systemd",
}

// The commands of docs/security.md do what it says, in their order, with a real
// Envoy. Addresses and paths are those of this test.
func TestSecurityDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(securityDocument)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parseCommands(string(text))
	if err != nil {
		t.Fatal(err)
	}
	o := newSecurityOperator(t, string(text))
	ran, left := 0, len(notRun)
	for _, b := range blocks {
		if slices.ContainsFunc(slices.Collect(maps.Keys(notRun)), func(words string) bool { return strings.HasPrefix(b.commands, words) }) {
			left--
			continue
		}
		ran++
		if err := o.run(b); err != nil {
			t.Fatalf("docs/security.md:%d: %v", b.line, err)
		}
	}
	if ran < 15 || left != 0 {
		t.Errorf("%d blocks were run; %d of those that are not run are not there", ran, left)
	}
	o.stillServing(3)
}

func newSecurityOperator(t *testing.T, document string) *operator {
	t.Helper()
	o := newOperator(t, program.path(t))
	address := func() string { return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)) }
	edge, edgeTLS, inner := address(), address(), address()
	o.at(document,
		"/etc/relay", o.dir+"/etc/relay", "/etc/envoy", o.dir+"/etc/envoy", "/var/lib/relay", o.dir+"/var/lib/relay",
		"10.0.0.5:18000", address(), "10.0.0.5:9090", address(), "10.0.0.5", "127.0.0.1",
		"10.0.0.9:443", edgeTLS, "10.0.0.9:8000", inner, "10.0.0.9:80", edge, "0.0.0.0:443", edgeTLS, "0.0.0.0:8000", inner, "0.0.0.0:80", edge,
		"127.0.0.1:9901", address(), "127.0.0.1:9902", address(), "10.0.7.0/24", "127.0.7.0/24", "10.0.7.20", "127.0.7.20",
		"https://marathon.example.com:8443", o.marathon(),
	)
	return o
}

// marathon starts the Marathon of the document, and leaves what it takes to log
// in to it where Relay looks for it.
func (o *operator) marathon() (url string) {
	o.t.Helper()
	ca := certstest.TestCA(o.t)
	config, err := ca.TestIssue(o.t, []string{"127.0.0.1"}, certstest.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}).ServerTLS()
	if err != nil {
		o.t.Fatal(err)
	}
	m := marathontest.Start(o.t, marathontest.Options{TLS: config, Credentials: "relay:s3cret"})
	o.write("etc/relay/marathon-ca.pem", 0o600, string(ca.RootPEM()))
	o.write("etc/relay/marathon-password", 0o600, "s3cret\n")
	for _, definition := range []string{
		app("/shop", "shop.example.com", 1, "HAPROXY_GROUP", "external,internal"),
		app("/office", "office.example.com", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "192.0.2.0/24"),
	} {
		if err := m.Apply(definition); err != nil {
			o.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	if err := m.WaitIdle(ctx); err != nil {
		o.t.Fatal(err)
	}
	return m.URL()
}

// The figures in the document are those of the code.
func TestSecurityDocumentLimits(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(securityDocument)
	if err != nil {
		t.Fatal(err)
	}
	x, a := xds.DefaultLimits(), admin.DefaultLimits()
	for _, row := range []string{
		fmt.Sprintf("| connected Envoys | %d, of one address %d |", x.Streams, x.StreamsPerAddress),
		fmt.Sprintf("| streams of a connection | %d |", x.ConnectionStreams),
		fmt.Sprintf("| connections without an Envoy's stream | %d, of one address %d; then the oldest are closed |", x.Idle, x.IdlePerAddress),
		fmt.Sprintf("| handshakes of TLS and HTTP/2, then the first request | %s, then %s |", x.Handshake, x.FirstRequest),
		fmt.Sprintf("| names of one type that an Envoy subscribes to | %d |", x.Names),
		fmt.Sprintf("| requests an Envoy sends on its own | %g a second, %d ahead |", x.RequestsPerSecond, x.Burst),
		fmt.Sprintf("| a response left unread or unanswered | %s |", x.Stall),
		fmt.Sprintf("| head of the first request, from connecting | %s |", a.Header),
		fmt.Sprintf("| body | %s |", a.Request),
		fmt.Sprintf("| connections without a request | %d, of one address %d; then the oldest are closed |", a.Idle, a.IdlePerAddress),
		fmt.Sprintf("| requests answered at a time, besides hooks and health checks | %d |", a.Requests),
		// How long a stream may outlive what let it in.
		fmt.Sprintf("streams that it opened end within %g s", (x.Stall / 4).Seconds()),
	} {
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/security.md does not say %q", row)
		}
	}
}
