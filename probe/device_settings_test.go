package probe

import (
	"strings"
	"testing"
	"time"
)

const goodDevice = `
callback: {listen: "127.0.0.1:9465", url: "https://probe.example.com/callback"}
devices:
- name: acme-1
  fleets: [edge]
  port: 8883
  server-name: devices.example.com
  proxy-protocol: true
  certificate: /etc/relay/device.pem
  key: /etc/relay/device.key
  id: serial-1
  secret-file: /etc/relay/token
  hello: {send: "HELLO {id} {secret}\n", expect: "^WELCOME {id} [0-9]{3}$"}
  message-to-agent: {send: "{x01}{length16}{nonce}"}
  message-from-agent: {expect: "{nonce}"}
  http-to-agent: {url: "https://agents.example.com/{id}", status: [200], headers: {Authorization: "Bearer {secret}"}}
  http-from-agent: {request: {method: POST, url: "https://agents.example.com/{id}/call", body: "{\"url\": \"{callback}\"}"}}
  limits: {message-to-agent: 1s}
`

func TestDeviceSettings(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte(goodDevice))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Devices[0]
	if got := d.Longest(); got != 17*time.Second {
		t.Errorf("Longest: %s", got)
	}
	target := d.Target("edge", "envoy-1", "2001:db8::1")
	if target.ID != "edge/envoy-1/device/acme-1" || target.Address != "[2001:db8::1]:8883" || target.Ask.Within != 17*time.Second || !target.TLS || !target.ProxyProtocol || target.ServerName != d.ServerName || target.Kind != Device {
		t.Errorf("%+v", target)
	}
}

// What is wrong with a device is said, with its name.
func TestBadDeviceSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, to, want string }{
		{"name: acme-1", "name: acme 1", "device number 1: its name must have"},
		{"name: acme-1", "name: acme-1\n  nmae: x", `line 5: there is no setting "nmae" here`},
		{"devices:", "devices:\n- {name: acme-1, port: 1, server-name: x, hello: {send: x}}", "device acme-1: another one has this name"},
		{"port: 8883", "port: 0", "device acme-1: port is missing"},
		{"server-name: devices.example.com", "", "server-name is missing"},
		{"key: /etc/relay/device.key", "", "certificate and key belong together"},
		{"id: serial-1", "", "{id} is used, but id or secret-file is not set"},
		{"secret-file: /etc/relay/token", "", "{secret} is used, but id or secret-file is not set"},
		{"{nonce}\"}\n  message-from", "{nonsense}\"}\n  message-from", "{nonsense} is nothing here"},
		{"https://agents.example.com/{id}\"", "https://agents.example.com/{callback}\"", "http-to-agent: {callback} is nothing here"},
		{"[0-9]{3}", "[0-9", "hello: expect: error parsing regexp"},
		{"message-from-agent: {expect: \"{nonce}\"}", "message-from-agent: {send: x}", "message-from-agent has no expect"},
		{"message-to-agent: {send: \"{x01}{length16}{nonce}\"}", "message-to-agent: {}", "message-to-agent has neither send"},
		{"\\\"{callback}\\\"", "", "http-from-agent has no {callback}"},
		{"callback: {", "#", "http-from-agent needs callback"},
		{"\"127.0.0.1:9465\"", "localhost", "callback: listen must be HOST:PORT"},
		{"/callback\"", "/callback?x=1\"", "callback: url must be"},
		{"\"https://agents.example.com/{id}\"", "\"ftp://agents.example.com/{id}\"", "http-to-agent: url must be"},
		{"\"https://agents.example.com/{id}\"", "\"https://u:p@agents.example.com/{id}\"", "http-to-agent: url must be"},
		{"method: POST", "method: \"PO ST\"", "http-from-agent: method is not valid"},
		{"Authorization:", "\"Bad Name\":", "the header \"Bad Name\" is not valid"},
		{"status: [200]", "status: [20]", "20 is no status"},
		{"message-to-agent: 1s", "message-to-agent: -1s", "less than nothing"},
		{"message-to-agent: 1s", "message-to-agent: 1m", "all steps together may take 1m16s"},
		{"hello: {send: \"HELLO", "hello: {send: \"" + strings.Repeat("x", 5000), "hello: a text has more than 4096 bytes"},
	} {
		if !strings.Contains(goodDevice, tt.from) {
			t.Fatalf("%q is not there", tt.from)
		}
		_, err := Parse([]byte(strings.Replace(goodDevice, tt.from, tt.to, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q to %q: %v, want %s", tt.from, tt.to, err, tt.want)
		}
	}
}

// A device that does nothing is a mistake, and so are very many.
func TestTooFewAndTooManyDevices(t *testing.T) {
	t.Parallel()
	if err := checkDevices([]DeviceSettings{{Name: "a", Port: 1, ServerName: "x"}}, CallbackSettings{}); err == nil || !strings.Contains(err.Error(), "no step but to connect") {
		t.Error(err)
	}
	if err := checkDevices(make([]DeviceSettings, MaxDevices+1), CallbackSettings{}); err == nil || !strings.Contains(err.Error(), "1001 are more than 1000") {
		t.Error(err)
	}
}
