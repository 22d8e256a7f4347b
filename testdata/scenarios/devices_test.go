package scenarios

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/probe"
	"relay/probe/device"
	"relay/testdata/scenarios/agents"
	"relay/testdata/scenarios/imp"
	"relay/testdata/scenarios/scenario"
	"relay/xds/envoytest"
)

// tell runs a scenario with another story.
func tell(t *testing.T, s *scenario.Scenario, story func(r *scenario.Run)) {
	t.Helper()
	envoy, err := envoytest.Find()
	if err != nil {
		t.Fatal(err)
	}
	s.Story = story
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := scenario.Tell(ctx, s, scenario.Settings{RelayBinary: binary, EnvoyBinary: envoy, Out: io.Discard}); err != nil {
		t.Fatal(err)
	}
}

// asks has an engine ask as the devices of the settings through the Envoy of a scenario, once.
func asks(r *scenario.Run, settings, devices string) []probe.State {
	s, err := probe.Parse([]byte(settings))
	r.Must(err)
	prober := device.New(device.Options{
		Devices: s.Devices, Callback: s.Callback, Place: "here", Log: slog.New(slog.DiscardHandler),
		Roots: func() (*x509.CertPool, error) { return r.CA.ClientTLS().RootCAs, nil },
	})
	engine := probe.New(probe.Options{Settings: s, Probers: map[probe.Kind]probe.Prober{probe.Device: prober}})
	var targets []probe.Target
	for _, d := range s.Devices {
		to := netip.MustParseAddrPort(devices)
		d.Port = to.Port()
		target := d.Target("external", "envoy", to.Addr().String())
		target.HTTPSAddress = r.HTTPS()
		targets = append(targets, target)
	}
	engine.SetTargets(targets)
	return engine.Once(r.Context())
}

// A virtual device asks connection servers that speak in frames of bytes, and their agents by HTTP.
func TestVirtualDeviceOfImp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, issue := imp.NewWith()
	tell(t, s, func(r *scenario.Run) {
		certificate, key, err := issue("probe-1")
		r.Must(err)
		r.Must(os.WriteFile(filepath.Join(dir, "device.pem"), certificate, 0o600))
		r.Must(os.WriteFile(filepath.Join(dir, "device.key"), key, 0o600))
		r.Must(os.WriteFile(filepath.Join(dir, "ca.pem"), r.CA.RootPEM(), 0o600))
		settings := strings.NewReplacer("DIR", dir).Replace(`
devices:
- name: acme-probe
  port: 8883
  server-name: devices.imp.test
  certificate: DIR/device.pem
  key: DIR/device.key
  ca: DIR/ca.pem
  id: probe-1
  hello: {send: "{x01}{length16}{id}", expect: '^\x02'}
  message-to-agent: {send: "{x03}{length16}{nonce}", expect: '\x04\x00\x10{nonce}'}
  message-from-agent: {send: "{x05}{length16}all is well", expect: '\x06\x00\x01[0-9]'}
  http-to-agent: {method: POST, url: "https://agents.imp.test/agents/{id}", body: "by HTTP", expect: "^[0-9]+$"}
`)
		for _, state := range asks(r, settings, r.Port("devices")) {
			r.Check(state.OK && len(state.Steps) == 6, "%+v", state)
		}
		// Another device's certificate: the server lets it not pass for this one.
		certificate, key, err = issue("probe-2")
		r.Must(err)
		r.Must(os.WriteFile(filepath.Join(dir, "device.pem"), certificate, 0o600))
		r.Must(os.WriteFile(filepath.Join(dir, "device.key"), key, 0o600))
		for _, state := range asks(r, settings, r.Port("devices")) {
			r.Check(!state.OK && state.Reason == "hello: the connection was closed", "%+v", state)
		}
	})
}

// A virtual device without a connection of its own talks to agents by HTTP, and tells who is away.
func TestVirtualDeviceOfAgents(t *testing.T) {
	t.Parallel()
	tell(t, agents.New(), func(r *scenario.Run) {
		_, port, _ := net.SplitHostPort(r.HTTPS())
		settings := strings.NewReplacer("PORT", port).Replace(`
devices:
- name: by-path
  port: PORT
  server-name: agents.test
  id: probe-1
  http-to-agent: {method: POST, url: "https://agents.test/agents/{id}/messages", body: hello, expect: '"Turns":1}'}
- name: by-host
  port: PORT
  server-name: probe-1.agents.test
  id: probe-1
  http-to-agent: {method: POST, url: "https://{id}.agents.test/messages", body: hello, expect: '"Turns":1}'}
- name: nobody
  port: PORT
  server-name: nobody.agents.test
  http-to-agent: {url: "https://nobody.agents.test/nothing"}
`)
		for _, state := range asks(r, settings, r.HTTPS()) {
			name := state.Target.Name
			r.Check(state.OK == (name != "nobody"), "%s: %+v", name, state)
			r.Check(state.OK || state.Reason == "http to the agent: the agent answers 404", "%s: %s", name, state.Reason)
		}
	})
}
