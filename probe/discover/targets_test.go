package discover

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/probe"
)

func settings(t *testing.T, yaml string) probe.Settings {
	t.Helper()
	s, err := probe.Parse([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func external(envoys ...api.ProbeEnvoy) api.ProbeFleet {
	return api.ProbeFleet{Name: "external", HTTP: 80, HTTPS: 443, Envoys: envoys}
}

func envoy(id, address string) api.ProbeEnvoy { return api.ProbeEnvoy{ID: id, Address: address} }

// brief says of each target its id, kind, address, and why it is not asked.
func brief(targets []probe.Target) (all []string) {
	for _, t := range targets {
		text := t.ID + " " + string(t.Kind) + " " + t.Address
		if t.TLS {
			text += " tls:" + t.ServerName
		}
		if t.Skip != "" {
			text += " skip: " + t.Skip
		}
		all = append(all, text)
	}
	return all
}

func wantTargets(t *testing.T, got []probe.Target, want ...string) {
	t.Helper()
	if b := brief(got); !reflect.DeepEqual(b, want) {
		t.Errorf("targets:\n%s\nwant:\n%s", strings.Join(b, "\n"), strings.Join(want, "\n"))
	}
}

func domain(name, label string) api.ProbeDomain {
	return api.ProbeDomain{Name: name, Fleets: []string{"external"}, App: "/shop", Owner: "team", HTTPS: true, Probe: label}
}

func TestTargetsOfDomains(t *testing.T) {
	t.Parallel()
	said := api.ProbeTargets{
		Fleets: []api.ProbeFleet{external(envoy("edge-1", "10.0.0.1"), envoy("edge-2", "fd00::2"), envoy("by-socket", "@"))},
		Domains: []api.ProbeDomain{
			domain("shop.test", "/health 200 within 500ms"), domain("shop.test", ""),
			domain("two.test", "/a"), domain("two.test", "grpc carts"), domain("chosen.test", ""), domain("newer.test", "ping"), domain("off.test", "off"),
			{Name: "plain.test", Fleets: []string{"external", "elsewhere"}, Probe: "websocket /s"}, domain("sleepy.test", "/"),
			domain("odd.test", "module none"), domain("m.test", "module web"),
		},
	}
	said.Domains[8].Skip = "the app sleeps"
	got := Targets(settings(t, "modules: {web: {prober: http}}"), Answer{ProbeTargets: said})
	var first []probe.Target
	for _, one := range got {
		if one.Envoy == "edge-1" {
			first = append(first, one)
		}
	}
	wantTargets(t, first,
		"external/edge-1/chosen.test http 10.0.0.1:443 tls:chosen.test",
		"external/edge-1/m.test http 10.0.0.1:443 tls:m.test",
		"external/edge-1/odd.test http 10.0.0.1:443 tls:odd.test skip: the settings of probes have no module none",
		"external/edge-1/plain.test websocket 10.0.0.1:80",
		"external/edge-1/shop.test http 10.0.0.1:443 tls:shop.test",
		"external/edge-1/sleepy.test http 10.0.0.1:443 tls:sleepy.test skip: the app sleeps",
		"external/edge-1/two.test /a http 10.0.0.1:443 tls:two.test",
		"external/edge-1/two.test grpc carts grpc 10.0.0.1:443 tls:two.test")
	if len(got) != 16 || got[8].Address != "[fd00::2]:443" {
		t.Errorf("%q", brief(got))
	}
	if want := (probe.Ask{Path: "/health", Status: []int{200}, Within: 500 * time.Millisecond}); !reflect.DeepEqual(first[4].Ask, want) || first[4].Sampled || first[4].Owner != "team" {
		t.Errorf("asked as %+v", first[4])
	}
	if !first[0].Sampled || first[6].Ask.StatusClass != 2 || first[7].Ask.Path != "carts" || first[1].Ask.Module != "web" {
		t.Errorf("%+v", first)
	}
}

func TestTargetsOfServicesAndDevices(t *testing.T) {
	t.Parallel()
	service := func(port uint16, label string) api.ProbeService {
		return api.ProbeService{App: "/db", Port: int(port), ServicePort: port, Fleets: []string{"external"}, Probe: label}
	}
	passed := api.ProbeService{App: "/passed", Fleets: []string{"external"}, TLS: true, ServerName: "passed.test", Probe: "tcp"}
	bound, sleepy := service(5433, "tcp"), service(5434, "module smtp")
	bound.Address, bound.ProxyProtocol, sleepy.Skip = "10.5.5.5", true, "the app may sleep"
	fleet := external(envoy("edge-1", "10.0.0.1"))
	fleet.ProxyProtocol = true
	said := api.ProbeTargets{Fleets: []api.ProbeFleet{fleet}, Services: []api.ProbeService{service(5432, "tcp within 1s"), bound, sleepy, passed}}
	got := Targets(settings(t, `
modules: {smtp: {prober: tcp}, names: {prober: dns, dns: {query_name: a.test}}}
targets: [{name: resolver, module: names, address: "10.0.0.53:53"}]
`), Answer{ProbeTargets: said})
	wantTargets(t, got, "//resolver dns 10.0.0.53:53",
		"external/edge-1//db:5432 tcp 10.0.0.1:5432", "external/edge-1//db:5433 tcp 10.5.5.5:5433",
		"external/edge-1//db:5434 tcp 10.0.0.1:5434 skip: the app may sleep", "external/edge-1//passed:0 tcp 10.0.0.1:443 tls:passed.test")
	for i, want := range []bool{false, false, true, false, true} {
		if got[i].ProxyProtocol != want {
			t.Errorf("%s: the PROXY protocol is %t", got[i].ID, got[i].ProxyProtocol)
		}
	}
	s := settings(t, "")
	s.Devices = []probe.DeviceSettings{{Name: "a", Port: 8883, ServerName: "devices.test"}, {Name: "b", Fleets: []string{"other"}, Port: 8884}}
	wantTargets(t, Targets(s, Answer{ProbeTargets: api.ProbeTargets{Fleets: []api.ProbeFleet{fleet}}}), "external/edge-1/device/a device 10.0.0.1:8883 tls:devices.test")
}

// The settings say where Envoys are, and which fleets are asked.
func TestSettingsOfTargets(t *testing.T) {
	t.Parallel()
	said := api.ProbeTargets{
		Fleets:  []api.ProbeFleet{external(envoy("edge-1", "172.17.0.2")), {Name: "internal", HTTP: 80, Envoys: []api.ProbeEnvoy{envoy("in-1", "10.0.0.9")}}},
		Domains: []api.ProbeDomain{domain("shop.test", "/"), {Name: "in.test", Fleets: []string{"internal"}, Probe: "/"}},
	}
	got := Targets(settings(t, "fleets: [external]\nenvoys: {external: [{address: edge.test, https: 8443}, {id: second, address: 192.0.2.7}]}"), Answer{ProbeTargets: said})
	wantTargets(t, got, "external/edge.test/shop.test http edge.test:8443 tls:shop.test", "external/second/shop.test http 192.0.2.7:443 tls:shop.test")

	bound := external(envoy("edge-1", "172.17.0.2"))
	bound.Address, bound.ClientCertificates = "192.0.2.1", true
	said.Fleets[0] = bound
	got = Targets(settings(t, "fleets: [external]"), Answer{ProbeTargets: said})
	wantTargets(t, got, "external/edge-1/shop.test http 192.0.2.1:443 tls:shop.test skip: the fleet wants a certificate of clients, and probes have none")
}

// What several Relays say is one: an Envoy that left one of them may be connected to another.
func TestSeveralRelays(t *testing.T) {
	t.Parallel()
	left := envoy("edge-2", "10.0.0.2")
	left.Disconnected = time.Unix(100, 0)
	sleepy := domain("shop.test", "/")
	sleepy.Skip = "the app sleeps"
	one := api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoy("edge-1", "10.0.0.1"), left)}, Domains: []api.ProbeDomain{domain("shop.test", "/")}}
	two := api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoy("edge-2", "10.0.0.22"))}, Domains: []api.ProbeDomain{sleepy}}
	gone := api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoy("edge-3", "10.0.0.3")), {Name: "far", HTTP: 80, Envoys: []api.ProbeEnvoy{envoy("far-1", "10.1.0.1")}}},
		Domains: []api.ProbeDomain{domain("former.test", "/"), {Name: "far.test", Fleets: []string{"far"}, Probe: "/"}}}
	wantTargets(t, Targets(settings(t, ""), Answer{ProbeTargets: gone, Stale: true}, Answer{ProbeTargets: one}, Answer{ProbeTargets: two}),
		"external/edge-1/shop.test http 10.0.0.1:443 tls:shop.test skip: the app sleeps",
		"external/edge-2/shop.test http 10.0.0.22:443 tls:shop.test skip: the app sleeps",
		"external/edge-3/shop.test http 10.0.0.3:443 tls:shop.test skip: the app sleeps",
		"far/far-1/far.test http 10.1.0.1:80")
	wantTargets(t, Targets(settings(t, ""), Answer{ProbeTargets: one, Stale: true}),
		"external/edge-1/shop.test http 10.0.0.1:443 tls:shop.test", "external/edge-2/shop.test http 10.0.0.2:443 tls:shop.test")
}

// What may sleep is not asked by what cannot say that it is a probe: it would keep the app awake.
func TestModulesWakeNothing(t *testing.T) {
	t.Parallel()
	said := api.ProbeTargets{
		Fleets:  []api.ProbeFleet{external(envoy("e", "10.0.0.1"))},
		Domains: []api.ProbeDomain{domain("1.test", "module calls"), domain("2.test", "module calls"), domain("3.test", "module lines"), domain("4.test", "module web"), domain("5.test", "grpc")},
	}
	for i := range said.Domains {
		said.Domains[i].Sleeps = i > 0
	}
	// Another Relay is older.
	older := api.ProbeTargets{Domains: []api.ProbeDomain{domain("2.test", "module calls")}}
	s := settings(t, "modules: {web: {prober: http}, calls: {prober: grpc}, lines: {prober: tcp}}")
	for _, answers := range [][]Answer{{{ProbeTargets: said}, {ProbeTargets: older}}, {{ProbeTargets: older}, {ProbeTargets: said}}} {
		wantTargets(t, Targets(s, answers...),
			"external/e/1.test grpc 10.0.0.1:443 tls:1.test",
			"external/e/2.test grpc 10.0.0.1:443 tls:2.test skip: the app may sleep, and a module of grpc cannot say that it is a probe",
			"external/e/3.test tcp 10.0.0.1:443 tls:3.test skip: the app may sleep, and a module of tcp cannot say that it is a probe",
			"external/e/4.test http 10.0.0.1:443 tls:4.test",
			"external/e/5.test grpc 10.0.0.1:443 tls:5.test")
	}
}

// Credentials of a module are told to no app for which they are not meant, whatever its label says.
func TestModulesTellNobody(t *testing.T) {
	t.Parallel()
	said := api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoy("e", "10.0.0.1"))}}
	for i, label := range []string{"module login", "module key", "module open", "module named", "module calls"} {
		for _, app := range []string{"/shop", "/evil"} {
			d := domain(strings.TrimPrefix(label, "module ")+strings.ReplaceAll(app, "/", "."), label)
			d.App, d.HTTPS = app, i < 4
			said.Domains = append(said.Domains, d)
		}
	}
	s := settings(t, `
modules:
  login: {prober: http, http: {basic_auth: {username: u, password: hunter2}}}
  key: {prober: http, http: {headers: {X-Api-Key: topsecret}}}
  open: {prober: http, http: {headers: {Accept: text/html}}}
  named: {prober: http}
  calls: {prober: grpc}
module-apps: {login: [/shop], named: ["/sho*"]}
`)
	const refused = " skip: the settings of probes do not let the app use the module "
	wantTargets(t, Targets(s, Answer{ProbeTargets: said}),
		"external/e/calls.evil grpc 10.0.0.1:80 skip: a module of grpc can say by TLS alone which domain it asks for",
		"external/e/calls.shop grpc 10.0.0.1:80 skip: a module of grpc can say by TLS alone which domain it asks for",
		"external/e/key.evil http 10.0.0.1:443 tls:key.evil"+refused+"key (module-apps)",
		"external/e/key.shop http 10.0.0.1:443 tls:key.shop"+refused+"key (module-apps)",
		"external/e/login.evil http 10.0.0.1:443 tls:login.evil"+refused+"login (module-apps)",
		"external/e/login.shop http 10.0.0.1:443 tls:login.shop",
		"external/e/named.evil http 10.0.0.1:443 tls:named.evil"+refused+"named (module-apps)",
		"external/e/named.shop http 10.0.0.1:443 tls:named.shop",
		"external/e/open.evil http 10.0.0.1:443 tls:open.evil",
		"external/e/open.shop http 10.0.0.1:443 tls:open.shop")
}

// Very many domains and Envoys make no more targets than may be asked, and the app with one domain keeps its own.
func TestTargetsAreBounded(t *testing.T) {
	t.Parallel()
	var envoys []api.ProbeEnvoy
	for i := range 500 {
		envoys = append(envoys, envoy(fmt.Sprint("e", i), "10.0.0.1"))
	}
	said := api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoys...)}}
	for i := range api.MaxProbed - 1 {
		said.Domains = append(said.Domains, domain(fmt.Sprintf("%d.test", i), "/"))
	}
	small, chance := domain("z.test", "/"), domain("a.test", "")
	small.App = "/small"
	said.Domains = append(said.Domains, small, chance)
	got := Targets(settings(t, "max-targets: 5000"), Answer{ProbeTargets: said})
	names := make(map[string]int)
	for _, one := range got {
		names[one.Name]++
	}
	if len(got) < 5000 || len(got) > 12_000 || names["z.test"] != 500 || names["a.test"] > 0 {
		t.Errorf("%d targets, %v", len(got), names)
	}
}
