package e2e

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/certs/dir"
	"relay/collator/routing"
	"relay/deploy"
	"relay/internal/relay"
	"relay/xds/envoytest"
)

// benchProxy is a proxy in front of the backend.
type benchProxy struct {
	procfs
	name        string
	http, https string
}

// benchProxies starts proxies with one thread for requests each.
type benchProxies struct {
	b              *testing.B
	backend, certs string
	bundle         string // the file with the certificate and its key
}

// bareEnvoy forwards everything to the backend, and has no option that is not needed for that.
func (p benchProxies) bareEnvoy() *benchProxy {
	p.b.Helper()
	made := &benchProxy{name: "Envoy alone", http: freeAddress(p.b), https: freeAddress(p.b)}
	chain := `{filters: [{name: http, typed_config: {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      stat_prefix: http, route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app}}]}]},
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}]`
	tls := `, transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
      common_tls_context: {tls_certificates: [{certificate_chain: {filename: ` + p.bundle + `}, private_key: {filename: ` + p.bundle + `}}]}}}`
	bootstrap := fmt.Sprintf(`admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - {name: http, address: %s, filter_chains: [%s}]}
  - {name: https, address: %s, filter_chains: [%s%s}]}
  clusters: [{name: app, load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {address: %s}}]}]}}]
`, socketAddress(made.http), chain, socketAddress(made.https), chain, tls, socketAddress(p.backend))
	return p.envoy(made, envoytest.Options{Bootstrap: []byte(bootstrap), Workers: 1})
}

// relayedEnvoy has all from Relay, which has so many apps besides the one that is asked.
func (p benchProxies) relayedEnvoy(name string, others int) *benchProxy {
	p.b.Helper()
	made := &benchProxy{name: name, http: freeAddress(p.b), https: freeAddress(p.b)}
	var apps strings.Builder
	apps.WriteString("apps:\n")
	app := func(id, domain, endpoint string) {
		fmt.Fprintf(&apps, "- {id: %s, ports: [{domains: [%s], endpoints: [{address: %q}]}]}\n", id, domain, endpoint)
	}
	app("/asked", benchDomain, p.backend)
	for i := range others {
		app(fmt.Sprintf("/other-%d", i), fmt.Sprintf("other-%d.test", i), fmt.Sprintf("10.0.%d.%d:31000", i/250, i%250+1))
	}
	file := filepath.Join(p.b.TempDir(), "apps.yaml")
	if err := os.WriteFile(file, []byte(apps.String()), 0o600); err != nil {
		p.b.Fatal(err)
	}
	config := relay.Config{
		Apps: relay.Apps{File: file},
		Fleets: []relay.Fleet{{Fleet: routing.Fleet{
			Name: "external", HTTP: netip.MustParseAddrPort(made.http), HTTPS: netip.MustParseAddrPort(made.https), Options: routing.DefaultOptions(),
		}}},
		Certificates: relay.Certificates{Dir: dir.Config{Paths: []string{p.certs}, PollInterval: time.Hour}, Grace: time.Hour},
		XDS:          relay.XDSPort{Address: freeAddress(p.b)},
		Admin:        relay.AdminPort{Address: "127.0.0.1:0"},
	}
	if err := config.Validate(); err != nil {
		p.b.Fatal(err)
	}
	r, err := relay.New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		p.b.Fatal(err)
	}
	serve(p.b, r)
	limits, err := deploy.LimitsOfMachine()
	if err != nil {
		p.b.Fatal(err)
	}
	return p.envoy(made, envoytest.Options{XDS: []string{config.XDS.Address}, Workers: 1, Limits: limits})
}

func (p benchProxies) envoy(made *benchProxy, o envoytest.Options) *benchProxy {
	p.b.Helper()
	e := envoytest.Start(p.b, o)
	made.procfs = procfs{p.b, e.Pid()}
	return made
}

// haproxy is configured like one of marathon-lb, and returns nil if none is installed. Where
// keep is set it keeps connections to the app, which marathon-lb's does not.
func (p benchProxies) haproxy(name string, keep bool) *benchProxy {
	p.b.Helper()
	path, err := exec.LookPath("haproxy")
	if err != nil {
		return nil
	}
	made := &benchProxy{name: name, http: freeAddress(p.b), https: freeAddress(p.b)}
	mode := "http-server-close"
	if keep {
		mode = "http-keep-alive"
	}
	config := fmt.Sprintf(`global
  maxconn 1000
  nbthread 1
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  retries 3
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  timeout tunnel 3600s
  timeout http-request 15s
  timeout queue 30s
  option dontlognull
  option redispatch
  option %s
frontend http
  bind %s
  use_backend app if { hdr(host) -i %s }
frontend https
  bind %s ssl crt %s
  use_backend app if { ssl_fc_sni %s }
backend app
  balance roundrobin
  option forwardfor
  http-request set-header X-Forwarded-Port %%[dst_port]
  http-request add-header X-Forwarded-Proto https if { ssl_fc }
  server task %s
`, mode, made.http, benchDomain, made.https, p.bundle, benchDomain, p.backend)
	file := filepath.Join(p.b.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		p.b.Fatal(err)
	}
	cmd := exec.Command(path, "-db", "-f", file)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.b.Fatal(err)
	}
	p.b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	made.procfs = procfs{p.b, cmd.Process.Pid}
	return made
}

// socketAddress is HOST:PORT as Envoy wants it.
func socketAddress(address string) string {
	a := netip.MustParseAddrPort(address)
	return fmt.Sprintf("{socket_address: {address: %s, port_value: %d}}", a.Addr(), a.Port())
}
