package device

import (
	"os"
	"strings"
	"testing"

	"relay/probe"
)

// The example of the documents is read, and does what it says.
func TestExampleOfTheDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, err := os.ReadFile("testdata/devices.yaml")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := probe.Parse([]byte(strings.NewReplacer(
		"127.0.0.1:9465", w.callback.Listen, "https://probe.example.com/callback", w.callback.URL,
		"/etc/relay/probe/acme-1.pem", w.path("device.pem"), "/etc/relay/probe/acme-1.key", w.path("device.key"),
		"/etc/relay/probe/devices-ca.pem", w.path("ca.pem"), "/etc/relay/probe/acme-1.secret", w.path("secret"),
		"agents.example.com", "agents.test", "devices.example.com", "devices.test",
	).Replace(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	w.device, w.callback = settings.Devices[0], settings.Callback
	w.start()
	r := w.probe()
	if !r.OK || len(r.Steps) != 7 {
		t.Errorf("%+v", r)
	}
	if example, err := probe.Parse(text); err != nil || example.Devices[0].Longest() != w.device.Longest() {
		t.Error(err)
	}
}
