package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/relay"
	"relay/sources/marathon/marathontest"
)

// parse reads a command line for relay serve, as main does.
func parse(t *testing.T, file string, args ...string) (*Flags, error) {
	t.Helper()
	var c cli
	if file != "" {
		path := filepath.Join(t.TempDir(), "relay.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	parser, err := newParser(&c, kong.Exit(func(int) { t.Error("the parser wants to exit") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return &c.Serve.Flags, err
}

// A flag beats the environment, which beats the file.
func TestPrecedence(t *testing.T) {
	t.Setenv("RELAY_HTTP", "127.0.0.2:80")
	t.Setenv("RELAY_RETRIES", "7")
	c, err := parse(t, "marathon: [http://file:1, http://file:2]\nhttp: 127.0.0.1:80\nretries: 5\nconnect-timeout: 9s\npprof: true\n", "--retries", "8")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Marathon, []string{"http://file:1", "http://file:2"}) || c.ConnectTimeout != 9*time.Second || !c.Pprof {
		t.Errorf("from the file: %q, %s, %v", c.Marathon, c.ConnectTimeout, c.Pprof)
	}
	if c.HTTP != netip.MustParseAddrPort("127.0.0.2:80") {
		t.Errorf("http is %s, want that of the environment", c.HTTP)
	}
	if c.Retries != 8 {
		t.Errorf("retries is %d, want that of the flag", c.Retries)
	}
}

func TestFleets(t *testing.T) {
	c, err := parse(t, "marathon: http://m\ncerts-dir: /c\nfleets:\n- name: external\n  http: 0.0.0.0:80\n  https: 0.0.0.0:443\n  certificates: on-demand\n  server-names: ['*.Example.com', Shop.test]\n  tls-min-version: 1.3\n  client-ca: /ca.pem\n  client-certificates: required\n- name: internal\n  http: 10.0.0.1:8080\n  tcp: all\n")
	if err != nil {
		t.Fatal(err)
	}
	fleets := c.config().Fleets
	if len(fleets) != 2 || fleets[0].Name != "external" || fleets[0].HTTPS.Port() != 443 || fleets[1].HTTP.Port() != 8080 || fleets[1].HTTPS.IsValid() {
		t.Errorf("fleets %+v", fleets)
	}
	if got, want := fleets[0].TLS, (routing.DownstreamTLS{MinVersion: routing.TLS13, ClientCertificates: routing.ClientCertificatesRequired}); got != want {
		t.Errorf("TLS %+v, want %+v", got, want)
	}
	if fleets[0].ClientCAFile != "/ca.pem" {
		t.Errorf("authorities of clients in %q", fleets[0].ClientCAFile)
	}
	if want := []string{"*.Example.com", "Shop.test"}; !fleets[0].CertificatesOnDemand || !slices.Equal(fleets[0].ServerNames, want) || fleets[1].CertificatesOnDemand {
		t.Errorf("certificates on demand %v and %v, server names %q", fleets[0].CertificatesOnDemand, fleets[1].CertificatesOnDemand, fleets[0].ServerNames)
	}
	if want := []uint16{80, 443, 9901}; fleets[0].TCP != "" || fleets[1].TCP != routing.TCPAll || !slices.Equal(fleets[1].ReservedPorts, want) {
		t.Errorf("TCP services of fleets: %q, %q, without %d", fleets[0].TCP, fleets[1].TCP, fleets[1].ReservedPorts)
	}
}

// What is in front of a fleet can be said by flags, and for each fleet of the file.
func TestProxyFlags(t *testing.T) {
	want := relay.Fleet{Fleet: routing.Fleet{
		Proxies: routing.Proxies{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, Protocol: routing.ProxyProtocolRequired},
		Health:  netip.MustParseAddrPort("10.0.0.7:9091"), HTTPSPublicPort: 443,
	}}
	byFlags, err := parse(t, "", "--marathon", "http://m", "--trusted-proxies", "10.0.0.0/8,fd00::/8", "--proxy-protocol", "required",
		"--health", "10.0.0.7:9091", "--https-public-port", "443")
	if err != nil {
		t.Fatal(err)
	}
	byFile, err := parse(t, "marathon: http://m\nfleets:\n- name: a\n  http: 0.0.0.0:80\n  trusted-proxies: [10.0.0.0/8, 'fd00::/8']\n  proxy-protocol: required\n  health: 10.0.0.7:9091\n  https-public-port: 443\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Flags{byFlags, byFile} {
		if f := c.config().Fleets[0]; !reflect.DeepEqual(f.Proxies, want.Proxies) || f.Health != want.Health || f.HTTPSPublicPort != want.HTTPSPublicPort {
			t.Errorf("fleet %+v", f)
		}
	}
}

// What the flags of the admin endpoint say of access arrives where it is decided.
func TestAdminFlags(t *testing.T) {
	c, err := parse(t, "", "--marathon", "http://m")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.config().Admin; !reflect.DeepEqual(got, relay.AdminPort{Address: "127.0.0.1:9090"}) {
		t.Errorf("without flags the admin endpoint is %+v", got)
	}
	c, err = parse(t, "", "--marathon", "http://m", "--admin-cert", "c", "--admin-key", "k", "--admin-client-ca", "a",
		"--admin-token-file", "t", "--signal-networks", "10.0.0.0/8", "--signal-any-method", "--pprof")
	if err != nil {
		t.Fatal(err)
	}
	want := relay.AdminPort{
		Address: "127.0.0.1:9090", TLS: relay.PortTLS{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}, TokenFile: "t",
		HookNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, AnyMethod: true, Pprof: true,
	}
	if got := c.config().Admin; !reflect.DeepEqual(got, want) {
		t.Errorf("with flags the admin endpoint is %+v, want %+v", got, want)
	}
}

// What is wrong is said in words that lead to the place.
func TestWrongConfiguration(t *testing.T) {
	tests := []struct {
		name, file string
		args       []string
		want       string
	}{
		{"nothing", "", nil, "no source of apps"},
		{"syslog to nowhere", "", []string{"--marathon", "http://m", "--log-syslog", "logs.test:514"}, "--log-syslog is no"},
		{"syslog of the kernel", "", []string{"--marathon", "http://m", "--log-syslog", "udp://logs.test:514", "--log-syslog-facility", "kern"}, "--log-syslog-facility kern is none"},
		{"syslog with half a pair", "", []string{"--marathon", "http://m", "--log-syslog", "tls://logs.test:6514", "--log-syslog-cert", "c"}, "--log-syslog-cert and --log-syslog-key need each other"},
		{"Graphite without port", "", []string{"--marathon", "http://m", "--graphite", "carbon.test"}, "--graphite carbon.test is not HOST:PORT"},
		{"Graphite's prefix", "", []string{"--marathon", "http://m", "--graphite", "carbon.test:2003", "--graphite-prefix", "a b"}, "--graphite-prefix a b: write letters"},
		{"Graphite all the time", "", []string{"--marathon", "http://m", "--graphite", "carbon.test:2003", "--graphite-interval", "10ms"}, "--graphite-interval must be at least 1s"},
		{"two sources", "", []string{"--marathon", "http://m", "--source-file", "f"}, "not both"},
		{"unknown setting", "marathon: http://m\nmarathn: x\n", nil, `relay.yaml:2: there is no setting "marathn"`},
		{"setting twice", "http: 1.2.3.4:80\nhttp: 1.2.3.4:81\n", nil, "relay.yaml"},
		{"not YAML", "a: [", nil, "relay.yaml"},
		{"a list", "- a\n", nil, "relay.yaml:1: want settings"},
		{"a mapping", "http: {a: b}\n", nil, "relay.yaml:1: http: want a plain value or a list"},
		{"unknown fleet key", "fleets:\n- name: a\n  htp: x\n", nil, `relay.yaml:3: a fleet has no "htp"`},
		{"fleet address", "fleets:\n- name: a\n  http: x\n", nil, "relay.yaml:3: http"},
		{"unknown choice of TCP services", "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', tcp: some}\n", nil, `fleet "a" has tcp: some`},
		{"TLS 1.1", "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', tls-min-version: 1.1}\n", nil, `fleet "a" has tls-min-version: 1.1`},
		{"TLS 1.3 without https", "", []string{"--marathon", "http://m", "--tls-min-version", "1.3"}, "does not listen for HTTPS"},
		{"client certificates without an authority", "", []string{"--marathon", "http://m", "--https", "1.1.1.1:443", "--certs-dir", "/c", "--client-certificates", "required"}, "certificates of nobody"},
		{"an authority for nothing", "", []string{"--marathon", "http://m", "--https", "1.1.1.1:443", "--certs-dir", "/c", "--client-ca", "/ca.pem"}, "asks clients for no certificates"},
		{"client certificates without https", "", []string{"--marathon", "http://m", "--client-ca", "/ca.pem", "--client-certificates", "optional"}, "does not listen for HTTPS"},
		{"session tickets without https", "", []string{"--marathon", "http://m", "--session-ticket-key-file", "/k"}, "--session-ticket-key-file has no effect"},
		{"session tickets with client certificates", "", []string{"--marathon", "http://m", "--https", "1.1.1.1:443", "--certs-dir", "/c", "--session-ticket-key-file", "/k",
			"--client-ca", "/ca.pem", "--client-certificates", "optional"}, "--session-ticket-key-file has no effect"},
		{"unknown choice of client certificates", "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', client-certificates: some}\n", nil, `fleet "a" has client-certificates: some`},
		{"server names without https", "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', server-names: [a.test]}\n", nil, `fleet "a" has server-names, but does not listen for HTTPS`},
		{"server names that are none", "marathon: http://m\ncerts-dir: /c\nfleets:\n- {name: a, http: '1.1.1.1:80', https: '1.1.1.1:443', server-names: [a.test, 'https://b.test']}\n", nil, "has a scheme"},
		{"server names that clients do not send", "marathon: http://m\ncerts-dir: /c\nfleets:\n- {name: a, http: '1.1.1.1:80', https: '1.1.1.1:443', server-names: [10.0.0.1]}\n", nil, "10.0.0.1 is an IP address"},
		{"unknown choice of certificates", "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', certificates: some}\n", nil, `fleet "a" has certificates: some`},
		{"fleets not a list", "fleets: a\n", nil, "want a list of fleets"},
		{"https without certificates", "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', https: '1.1.1.1:443'}\n", nil, `fleet "a" listens for HTTPS without certificates`},
		{"Vault without login", "", []string{"--marathon", "http://m", "--vault-addr", "http://v"}, "no way to log in to Vault"},
		{"every client trusted", "", []string{"--marathon", "http://m", "--trusted-proxies", "10.0.0.0/8,0.0.0.0/0"}, "every client could claim any address"},
		{"a proxy without prefix length", "", []string{"--marathon", "http://m", "--trusted-proxies", "10.0.0.7"}, "write 10.0.0.7/32 for this address alone"},
		{"a proxy by name", "", []string{"--marathon", "http://m", "--trusted-proxies", "lb.example.com"}, `"lb.example.com" is no network: write an IP address`},
		{"a hook's network that is too long", "marathon: http://m\nsignal-networks: [10.0.0.1/33]\n", nil, `"10.0.0.1/33" is no network`},
		{"PROXY protocol of nobody", "", []string{"--marathon", "http://m", "--proxy-protocol", "required"}, "give trusted-proxies"},
		{"unknown choice of PROXY protocol", "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', trusted-proxies: [10.0.0.0/8], proxy-protocol: v2}\n", nil, `fleet "a" has proxy-protocol: v2`},
		{"a public port of no HTTPS", "", []string{"--marathon", "http://m", "--https-public-port", "443"}, "takes no HTTPS"},
		{"health where clients connect", "", []string{"--marathon", "http://m", "--http", "1.1.1.1:80", "--health", "1.1.1.1:80"}, "for health and for clients"},
		{"bad address", "", []string{"--marathon", "http://m", "--admin", "9090"}, "--admin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parse(t, tt.file, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add([]byte("marathon: [http://m]\nfleets:\n- {name: a, http: 1.2.3.4:80}\n"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := parseConfigFile("f", data, []string{"a", "marathon"}); err == nil && file == nil {
			t.Error("neither a file nor an error")
		}
	})
}

// oneApp is the definition of an app with one port and one domain.
const oneApp = `{"id": "/a", "instances": 1, "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test"},
	"portDefinitions": [{"port": 0, "protocol": "tcp"}]}`

// command runs a command and returns its status and what it printed.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status = run(ctx, args, &out, &err)
	return status, out.String(), err.String()
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"serve", "--help"}, {"check", "--help"}, {"version"}} {
		status, out, err := command(t, args...)
		if status != 0 || !strings.Contains(strings.ToLower(out), "relay") || err != "" {
			t.Errorf("relay %q: status %d, %q, %q", args, status, out, err)
		}
	}
	if status, _, err := command(t, "no-such-command"); status == 0 || err == "" {
		t.Errorf("an unknown command: status %d, %q", status, err)
	}
}

func TestBootstrapCommand(t *testing.T) {
	status, out, _ := command(t, "bootstrap", "--fleet", "internal", "--xds", "a:1,b:2", "--envoy-admin", "127.0.0.1:7")
	for _, want := range []string{"cluster: 'internal'", "'a'", "'b'", "port_value: 7", "api_type: DELTA_GRPC", "initial_fetch_timeout: 0s",
		"max_active_downstream_connections: ", "max_heap_size_bytes: "} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d, no %q in:\n%s", status, want, out)
		}
	}
	status, out, _ = command(t, "bootstrap", "--max-connections", "9000", "--max-heap", "2048")
	for _, want := range []string{"max_active_downstream_connections: 9000", "max_heap_size_bytes: 2147483648"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d, no %q in:\n%s", status, want, out)
		}
	}
	if status, out, _ := command(t, "bootstrap", "--max-connections", "0", "--max-heap", "0"); status != 0 || strings.Contains(out, "overload_manager") {
		t.Errorf("without limits: status %d\n%s", status, out)
	}
}

func TestBootstrapOutput(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "envoy")
	secured := []string{"bootstrap", "--xds-ca", "ca.pem", "--xds-server-name", "relay.test", "--xds-cert", "envoy.pem", "--xds-key", "envoy.key"}
	if status, out, err := command(t, secured...); status == 0 || out != "" || !strings.Contains(err, "--output DIR") {
		t.Errorf("TLS without a directory: status %d, %q, %q; want one that says what to do", status, out, err)
	}
	status, out, err := command(t, append(secured, "--output", dir)...)
	if status != 0 || !strings.Contains(out, "envoy --config-path "+filepath.Join(dir, "envoy.yaml")) {
		t.Fatalf("status %d, %q, %q; want how to start Envoy", status, out, err)
	}
	here, _ := os.Getwd()
	for file, want := range map[string]string{
		"envoy.yaml":                         filepath.Join(dir, "tls_certificate_sds_secret.yaml"),
		"tls_certificate_sds_secret.yaml":    filepath.Join(here, "envoy.key"),
		"validation_context_sds_secret.yaml": filepath.Join(here, "ca.pem"),
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, no %q in:\n%s", file, err, want, text)
		}
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", "apps:\n- id: /a\n  ports:\n  - domains: [a.test]\n    endpoints: [{address: 127.0.0.1:1}]\n")
	bad := write("bad.yaml", "apps:\n- id: /a\n  ports:\n  - domains: [a_b.test]\n    nonsense: 1\n")
	clash := write("clash.yaml", "apps:\n- id: /a\n  ports:\n  - domains: [a.test]\n- id: /b\n  ports:\n  - domains: [a.test]\n")
	closed := write("closed.yaml", "apps:\n- id: /shop/web\n  ports:\n  - domains: [a.test]\n    authApp: /shop/sso\n    endpoints: [{address: 127.0.0.1:1}]\n- id: /b\n  ports:\n  - domains: [b.test]\n    endpoints: [{address: 127.0.0.1:1}]\n")
	several := write("several.yaml", "apps:\n- id: /a\n  ports:\n  - domains: [a.test, 'b c.test']\n    timeout: soon\n    endpoints: [{address: '127.0.0.1:1'}]\n")
	pem := write("a.pem", string(certstest.TestCA(t).TestIssue(t, []string{"a.test"}, certstest.Options{}).Bundle()))
	ca := write("ca.pem", string(certstest.TestCA(t).RootPEM()))
	cert, key := certstest.TestCA(t).TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, t.TempDir())
	oldCert, oldKey := certstest.TestCA(t).TestIssue(t, []string{"relay.test"}, certstest.Options{
		NotBefore: time.Now().Add(-60 * 24 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	}).TestPair(t, t.TempDir())
	empty := write("token", "\n")
	m := marathontest.Start(t, marathontest.Options{})
	if err := m.Apply(oneApp); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.WaitIdle(ctx); err != nil { // until its task runs
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"good file", []string{"--source-file", good, "--certs-dir", pem, "--https", "127.0.0.1:2"}, 0, "apps: 1, certificates: 1, to look at: 0"},
		{"bad file", []string{"--source-file", bad}, 1, "bad.yaml:5"},
		{"each mistake of a file counts", []string{"--source-file", several}, 1, "to look at: 2"},
		{"clash", []string{"--source-file", clash}, 1, "app /b"},
		{"a domain is closed", []string{"--source-file", closed}, 1, "closed a.test: fleet external: app /shop/web: port 0, RELAY_0_AUTH_APP: /shop/sso cannot be used: there is no such app; every request is answered 403\n" +
			"apps: 2, certificates: 0, to look at: 1\n1 domain is closed (403)\n"},
		{"Marathon", []string{"--marathon", m.URL()}, 0, "ok     marathon"},
		{"Marathon away", []string{"--marathon", "http://127.0.0.1:1"}, 1, "connection refused"},
		{"Vault away", []string{"--source-file", good, "--vault-addr", "http://127.0.0.1:1", "--vault-token", "s.secret"}, 1, "wrong  vault http://127.0.0.1:1"},
		{"authorities", []string{"--source-file", good, "--certs-dir", pem, "--https", "127.0.0.1:2", "--client-ca", ca, "--client-certificates", "required"}, 0, "ok     files for TLS"},
		{"ticket secret", []string{"--source-file", good, "--certs-dir", pem, "--https", "127.0.0.1:2", "--session-ticket-key-file", good}, 1, "session-ticket-key-file: " + good + ": want 32 random bytes"},
		{"no authorities", []string{"--source-file", good, "--certs-dir", pem, "--https", "127.0.0.1:2", "--client-ca", good, "--client-certificates", "required"}, 1, "good.yaml: no certificate in PEM"},
		{"certificates of the ports", []string{"--source-file", good, "--xds-cert", cert, "--xds-key", key, "--admin-cert", cert, "--admin-key", key}, 0, "ok     xds-cert\nok     admin-cert"},
		{"key of another certificate", []string{"--source-file", good, "--xds-cert", cert, "--xds-key", oldKey}, 1, "wrong  xds-cert: certificate " + cert + " with key " + oldKey},
		{"authority of Envoys", []string{"--source-file", good, "--xds-cert", cert, "--xds-key", key, "--xds-client-ca", good}, 1, "good.yaml: no certificate in it"},
		{"expired certificate of a port", []string{"--source-file", good, "--admin-cert", oldCert, "--admin-key", oldKey}, 1, "wrong  admin-cert: has expired"},
		{"empty token", []string{"--source-file", good, "--admin-token-file", empty}, 1, "wrong  admin-token-file: " + empty + " is empty"},
		{"no directory", []string{"--source-file", good, "--certs-dir", filepath.Join(dir, "none")}, 1, "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, out, err := command(t, append([]string{"check"}, tt.args...)...)
			if status != tt.status || !strings.Contains(out, tt.want) {
				t.Errorf("status %d, want %d with %q:\n%s%s", status, tt.status, tt.want, out, err)
			}
			if strings.Contains(out+err, "s.secret") {
				t.Errorf("the token is shown:\n%s%s", out, err)
			}
		})
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	status, _, err := command(t, "serve", "--marathon", "http://m", "--xds", "127.0.0.1:0", "--admin", fmt.Sprint("256.0.0.1:", 1))
	if status == 0 || !strings.Contains(err, "--admin 256.0.0.1:1") {
		t.Errorf("status %d, %q; want the address that cannot be bound", status, err)
	}
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
