package discover

import (
	"cmp"
	"net"
	"strconv"

	"relay/admin/api"
	"relay/probe"
)

// device returns the target of a virtual device through an Envoy. What Relay says of the service at its port fills in
// what the settings leave open; an app that may sleep is not asked, since a connection keeps it awake.
func (k known) device(f *fleet, d probe.DeviceSettings, l listener) probe.Target {
	t := d.Target(f.Name, l.id, l.host)
	if l.https != 0 {
		t.HTTPSAddress, t.HTTPSProxyProtocol = net.JoinHostPort(l.host, strconv.Itoa(int(l.https))), f.ProxyProtocol
	}
	for key, s := range k.services {
		if key.fleet != f.Name || cmp.Or(s.ServicePort, l.https) != d.Port || !serves(s, d) {
			continue
		}
		if s.ServicePort == 0 {
			t.ProxyProtocol = t.ProxyProtocol || f.ProxyProtocol
		} else if t.ProxyProtocol = t.ProxyProtocol || s.ProxyProtocol; s.Address != "" {
			t.Address = net.JoinHostPort(s.Address, strconv.Itoa(int(d.Port)))
		}
		if t.App == "" {
			t.App = s.App
		}
		if t.App == s.App {
			t.Port, t.Owner = s.Port, cmp.Or(t.Owner, s.Owner)
		}
		t.Skip = cmp.Or(t.Skip, s.Skip)
	}
	return t
}

// serves reports whether the service at the port of a device is the one that the device asks: several may share a port
// by the names that clients ask for, of which one is said.
func serves(s *api.ProbeService, d probe.DeviceSettings) bool {
	if d.App != "" {
		return d.App == s.App
	}
	return s.ServerName == "" || s.ServerName == d.ServerName
}
