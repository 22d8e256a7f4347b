package discover

import (
	"testing"

	"relay/admin/api"
	"relay/probe"
)

// What Relay says of the service that a device asks is used: whose it is, how it is reached, and that it may sleep.
func TestDevicesAndTheirServices(t *testing.T) {
	t.Parallel()
	fleet := external(envoy("edge-1", "10.0.0.1"))
	fleet.HTTPS, fleet.ProxyProtocol = 8443, true
	service := func(app string, port uint16, name, skip, probe string) api.ProbeService {
		return api.ProbeService{App: app, Port: 1, Owner: "o" + app, ServicePort: port, ServerName: name, Fleets: []string{"external"}, Skip: skip, Probe: probe}
	}
	bound := service("/bound", 8884, "", "", "tcp")
	bound.Address, bound.ProxyProtocol = "10.5.5.5", true
	said := api.ProbeTargets{Fleets: []api.ProbeFleet{fleet}, Services: []api.ProbeService{
		service("/asleep", 8883, "", "the app sleeps", ""), bound, service("/a", 8885, "a.test", "the app may sleep", ""), service("/b", 8885, "b.test", "", "tcp"),
		service("/passed", 0, "passed.test", "", "off"),
	}}
	device := func(name, app string, port uint16, serverName string) probe.DeviceSettings {
		return probe.DeviceSettings{Name: name, App: app, Port: port, ServerName: serverName}
	}
	s := settings(t, "")
	s.Devices = []probe.DeviceSettings{
		device("asleep", "", 8883, "devices.test"), device("bound", "", 8884, "devices.test"), device("a", "", 8885, "a.test"), device("b", "", 8885, "b.test"),
		device("b2", "/b", 8885, "other.test"), device("passed", "", 8443, "passed.test"), device("unknown", "/x", 9999, "x.test"),
	}
	var got []probe.Target
	for _, one := range Targets(s, Answer{ProbeTargets: said}) {
		if one.Kind == probe.Device {
			got = append(got, one)
		}
	}
	wantTargets(t, got,
		"external/edge-1/device/a device 10.0.0.1:8885 tls:a.test skip: the app may sleep",
		"external/edge-1/device/asleep device 10.0.0.1:8883 tls:devices.test skip: the app sleeps",
		"external/edge-1/device/b device 10.0.0.1:8885 tls:b.test", "external/edge-1/device/b2 device 10.0.0.1:8885 tls:other.test",
		"external/edge-1/device/bound device 10.5.5.5:8884 tls:devices.test", "external/edge-1/device/passed device 10.0.0.1:8443 tls:passed.test",
		"external/edge-1/device/unknown device 10.0.0.1:9999 tls:x.test")
	for _, one := range got {
		wantsProxy := one.Name == "bound" || one.Name == "passed"
		if one.HTTPSAddress != "10.0.0.1:8443" || !one.HTTPSProxyProtocol || one.ProxyProtocol != wantsProxy {
			t.Errorf("%+v", one)
		}
		if known := one.Name != "unknown"; known != (one.Owner != "") || known && one.Owner != "o"+one.App {
			t.Errorf("%s is of %q, whose owner is %q", one.Name, one.App, one.Owner)
		}
	}
}
