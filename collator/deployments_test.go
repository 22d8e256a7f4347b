package collator

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// While people roll a deployment back, the newest app drains for the one before it, and no other does.
func TestRolledBackDeployment(t *testing.T) {
	t.Parallel()
	next := byte(0)
	member := func(id string, hour, instances, target int, back bool, tasks ...string) *sources.App {
		app := &sources.App{ID: id, Ports: []sources.Port{{Groups: []string{"external"}}}, Deployment: &sources.Deployment{
			Group: "imp", StartedAt: time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC), Instances: instances, TargetInstances: target, Back: back,
		}}
		for _, task := range tasks {
			next++
			app.Ports[0].Endpoints = append(app.Ports[0].Endpoints, sources.Endpoint{Task: task, Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, next}), 1)})
		}
		return app
	}
	for _, tt := range []struct {
		name    string
		members []*sources.App
		want    string // that drain
	}{
		{"on", []*sources.App{member("/a", 1, 2, 2, false, "a1", "a2"), member("/b", 2, 1, 2, false, "b1")}, "a1"},
		{"back", []*sources.App{member("/a", 1, 2, 2, true, "a1", "a2"), member("/b", 2, 1, 2, true, "b1")}, "b1"},
		{"back, the old one is not complete", []*sources.App{member("/a", 1, 1, 2, true, "a1"), member("/b", 2, 1, 2, true, "b1")}, ""},
		{"back, only the new one has a target", []*sources.App{member("/a", 1, 1, 0, true, "a1"), member("/b", 2, 1, 2, true, "b1")}, ""},
		{"back, there is an older one", []*sources.App{member("/a", 1, 1, 1, true, "a1"), member("/b", 2, 1, 1, true, "b1"), member("/c", 3, 1, 1, true, "c1")}, "c1"},
		{"back, of one app", []*sources.App{member("/b", 2, 1, 1, true, "b1")}, ""},
	} {
		merged := merge("deployment-group/imp", slices.Clone(tt.members))
		var drain []string
		for _, e := range merged.Ports[0].Endpoints {
			if e.Health == sources.Draining {
				drain = append(drain, e.Task)
			}
		}
		if got := strings.Join(drain, " "); got != tt.want {
			t.Errorf("%s: %q drain, want %q", tt.name, got, tt.want)
		}
	}
}

// An app that counts on certificates of clients, or on being told who connects, takes nothing while an older
// app of its group asks for neither: whoever connects could send the header itself. Nothing drains for it.
func TestDeploymentThatCountsOnMore(t *testing.T) {
	t.Parallel()
	plain, tls := sources.TCP{Port: 9000}, sources.TCP{Port: 9000, ServiceTLS: &sources.ServiceTLS{}}
	devices, optional := tls, tls
	devices.ServiceTLS = &sources.ServiceTLS{ClientCA: "devices"}
	optional.ServiceTLS = &sources.ServiceTLS{ClientCA: "devices", OptionalCertificate: true}
	for _, tt := range []struct {
		name       string
		old, new   sources.TCP
		told, tell uint8 // by the version of the PROXY protocol
		apart      bool
	}{
		{"plain, then certificates", plain, devices, 0, 0, true},
		{"plain, then told", plain, tls, 2, 2, true},
		{"TLS, then certificates", tls, devices, 2, 2, true},
		{"optional, then required", optional, devices, 2, 2, true},
		{"not told, then told", devices, devices, 0, 2, true},
		{"version 1, then 2", devices, devices, 1, 2, true},
		{"as before", devices, devices, 2, 2, false},
		{"less than before", devices, plain, 2, 0, false},
		{"plain, then TLS", plain, tls, 0, 0, false},
		{"as without TLS", plain, plain, 0, 2, false},
	} {
		c, _ := newTest(t, Config{})
		member := func(id string, hour int, tcp sources.TCP, version uint8, address string) *sources.App {
			app := serviceApp(id, tcp)
			app.Deployment = &sources.Deployment{Group: "imp", StartedAt: time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC), Instances: 1, TargetInstances: 1}
			app.Ports[0].Upstream = &sources.Upstream{ProxyProtocol: version}
			app.Ports[0].Endpoints = []sources.Endpoint{{Task: id, Address: netip.MustParseAddrPort(address)}}
			return app
		}
		syncApps(c, member("/a", 1, tt.old, tt.told, "10.0.0.1:1"), member("/b", 2, tt.new, tt.tell, "10.0.0.2:1"))
		c.round()
		endpoints, problems := c.Routed("deployment-group/imp").Ports[0].Endpoints, c.problems.of("/b")
		apart := len(endpoints) == 1 && endpoints[0].Task == "/a" && endpoints[0].Health == sources.Healthy
		if apart != tt.apart || (len(problems) > 0) != tt.apart {
			t.Errorf("%s: endpoints %+v, problems %q", tt.name, endpoints, problems)
		}
	}
}
