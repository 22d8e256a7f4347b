package file

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
	"relay/sources/labels"
)

// Each label that has a field says the same there.
func TestFieldsOfLabels(t *testing.T) {
	t.Parallel()
	typed := map[string]bool{}
	for _, specs := range []struct {
		prefix string
		spec   any
	}{{"", portSpec{}}, {"", appSpec{}}, {"deployment.", deploymentSpec{}}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(specs.spec)) {
			typed[specs.prefix+field.Tag.Get("yaml")] = true
		}
	}
	for _, l := range labels.All() {
		if _, setting := settingFields[l.Field]; l.Field != "" && setting == typed[l.Field] {
			t.Errorf("%s: the field %q is a setting: %t; is in a struct: %t", l.Key, l.Field, setting, typed[l.Field])
		}
	}
	for _, l := range labels.AllSettings() {
		fields := fmt.Sprintf("%s: %q", l.Field, l.Example())
		if l.Field != "tls" {
			fields += ", tls: true" // without it some have no effect
		}
		apps, err := Parse("f.yaml", []byte("apps: [{id: /a, ports: [{groups: [], domains: [a.test], "+fields+"}]}]"))
		if err != nil {
			t.Error(l.Key, err)
			continue
		}
		said := labels.Read(map[string]string{"HAPROXY_0_VHOST": "a.test", "RELAY_0_TLS": "true", l.For("0"): l.Example()}, []labels.DeclaredPort{{}})
		got, want := apps[0].Ports[0], said.Ports[0]
		if !reflect.DeepEqual(got.Queue, want.Queue) {
			t.Errorf("%s: %q gives %+v, and in a file %+v", l.Key, l.Example(), want.Queue, got.Queue)
		}
		if !got.HTTP.Equal(want.HTTP) || !got.Upstream.Equal(want.Upstream) || !got.TCP.Equal(want.TCP) {
			t.Errorf("%s: %q gives %+v %+v %+v, and in a file %+v %+v %+v", l.Key, l.Example(), want.HTTP, want.Upstream, want.TCP, got.HTTP, got.Upstream, got.TCP)
		}
		if len(apps[0].Problems) != len(said.Problems) {
			t.Errorf("%s: problems %q, and in a file %q", l.Key, said.Problems, apps[0].Problems)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	apps, err := Parse("f.yaml", []byte(`
apps:
- id: /web
  deployment: {group: web, startedAt: 2026-05-01T14:00:00+02:00, targetInstances: 2}
  ports:
  - domains: [a.test]
    paths: [-i, /api, /v2]
    order: 7
    sticky: true
    auth: "r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
    allowedNetworks: [10.0.0.0/8, "::1"]
    balance: leastconn
    timeout: 30s
    maxRequests: 9
    tls: true
    tlsVerify: false
    requestHeadersToAdd: {X-A: 1, X-B: "%"}
    retryOn: [5xx, reset]
    endpoints: [{address: "10.0.0.1:80"}, {address: "10.0.0.2:80"}]
`))
	if err != nil {
		t.Fatal(err)
	}
	app := apps[0]
	if len(app.Problems) > 0 {
		t.Errorf("problems %q", app.Problems)
	}
	timeout := 30 * time.Second
	want := &sources.HTTP{
		Paths: []sources.Path{{Prefix: "/api", IgnoreCase: true}, {Prefix: "/v2", IgnoreCase: true}}, Order: 7, Sticky: true,
		BasicAuth:       &sources.BasicAuth{Realm: "r", User: "joe", Hash: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Timeout:         &timeout, RetryOn: []string{"5xx", "reset"},
		RequestHeaders: sources.HeaderEdits{Add: []sources.Header{{Name: "x-a", Value: "1"}, {Name: "x-b", Value: "%"}}},
	}
	if !app.Ports[0].HTTP.Equal(want) {
		t.Errorf("HTTP is %+v, want %+v", app.Ports[0].HTTP, want)
	}
	upstream := &sources.Upstream{Balance: sources.BalanceLeastRequest, MaxRequests: 9, TLS: &sources.UpstreamTLS{}}
	if diff := cmp.Diff(upstream, app.Ports[0].Upstream); diff != "" {
		t.Errorf("upstream (-want +got):\n%s", diff)
	}
	deployment := &sources.Deployment{Group: "web", StartedAt: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), TargetInstances: 2, Instances: 2}
	if diff := cmp.Diff(deployment, app.Deployment); diff != "" {
		t.Errorf("deployment (-want +got):\n%s", diff)
	}
}

func TestTCPServices(t *testing.T) {
	t.Parallel()
	apps, err := Parse("f.yaml", []byte(`
apps:
- id: /db
  ports:
  - {servicePort: 5432, bindAddress: 10.0.0.5, bindOptions: accept-proxy}
  - {tlsPassthrough: true, domains: [a.test]}
  - {}
`))
	if err != nil || len(apps[0].Problems) > 0 {
		t.Fatal(err, apps)
	}
	for i, want := range []*sources.TCP{{Port: 5432, Address: netip.MustParseAddr("10.0.0.5"), AcceptProxy: true}, {Passthrough: true}, nil} {
		if diff := cmp.Diff(want, apps[0].Ports[i].TCP, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("port %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestSettingProblems(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, port, want string }{
		{"a bad value", "timeout: 30", "ports[0].timeout f.yaml:4: \"30\" is ignored"},
		{"a password that cannot be checked", "auth: 'r:u:$6$topsecret'", "ports[0].auth f.yaml:4: has a password hash"},
		{"no password", "auth:", "ports[0].auth f.yaml: is not realm:user:hash"},
		{"nobody is let in", "auth: 'r:u:password'", "because the port would be open to everyone otherwise failing"},
		{"TLS settings without TLS", "tlsSNI: a.test", "ports[0].tlsSNI f.yaml:4: has no effect"},
		{"a domain of a TCP service", "{mode: tcp, servicePort: 5432, domains: [a.test]}", "ports[0].domains f.yaml: have no effect in tcp mode"},
		{"TLS passed through for nothing", "tlsPassthrough: true", "ports[0].tlsPassthrough f.yaml: has no effect without domains"},
		{"a TCP service without port", "mode: tcp", "ports[0].mode f.yaml:4: has no effect: the app has no service port"},
		{"an unknown field", "timeuot: 30s", `f.yaml:4: unknown field "timeuot"`},
		{"too deep", "paths: [[/a]]", "f.yaml:4: want a single value, or a list or mapping of single values here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			apps, err := Parse("f.yaml", []byte("apps:\n- id: /a\n  ports:\n  - "+tt.port+"\n"))
			var got string
			if err != nil {
				got = err.Error()
			}
			for _, app := range apps {
				for _, p := range app.Problems {
					got += p.Subject + " " + p.Reason + " " + string(p.Complete().Severity)
				}
			}
			if !strings.Contains(got, tt.want) || strings.Contains(got, "topsecret") {
				t.Errorf("problems %q, want %q", got, tt.want)
			}
		})
	}
	apps, err := Parse("f.yaml", []byte("apps:\n- id: /a\n  deployment: {group: my app}\n"))
	if err != nil || len(apps[0].Problems) != 1 || apps[0].Deployment != nil {
		t.Errorf("a bad group: %+v, %v", apps, err)
	}
}

// The version tells every difference, that of a secret too.
func TestVersionOfSecrets(t *testing.T) {
	t.Parallel()
	versions := make(map[string]bool)
	for _, hash := range []string{"W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "W6ph5Mm5Pz8GgiULbPgzG37mj9h="} {
		apps, err := Parse("f.yaml", []byte("apps:\n- id: /a\n  ports:\n  - auth: 'r:u:{SHA}"+hash+"'\n"))
		if err != nil {
			t.Fatal(err)
		}
		versions[apps[0].Version] = true
	}
	if len(versions) != 2 {
		t.Errorf("versions are %v", versions)
	}
}
