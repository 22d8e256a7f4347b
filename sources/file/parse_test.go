package file

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example returns the YAML of the documentation.
func example(t testing.TB) []byte {
	t.Helper()
	doc, err := os.ReadFile("../../docs/file-source.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```yaml\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("docs/file-source.md has no YAML example")
	}
	return []byte(block)
}

func TestDocumentedExample(t *testing.T) {
	t.Parallel()
	apps, err := Parse("example.yaml", example(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(apps, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "example.json")
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("the documented example (-want +got):\n%s", diff)
	}
}

func TestParseRefusesFile(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"unknown fields", "apps:\n- id: /a\n  foo: 1\n  ports:\n  - nme: x\n", "f.yaml:3: unknown field \"foo\"\nf.yaml:5: unknown field \"nme\""},
		{"unknown top field", "app: []\n", `f.yaml:1: unknown field "app"`},
		{"list as id", "apps:\n- id: [1]\n", "f.yaml:2: want a single value here"},
		{"two mistakes", "apps:\n- id: {a: b}\n  ports: 3\n", "f.yaml:2: want a single value here\nf.yaml:3: a value of type int `3` does not belong here"},
		{"not a boolean", "apps:\n- id: /a\n  ports:\n  - redirectToHTTPS: maybe\n", "f.yaml:4: a value of type str `maybe` does not belong here"},
		{"domains not a list", "apps:\n- id: /a\n  ports:\n  - domains: a.test\n", "f.yaml:4: a value of type str `a.test` does not belong here"},
		{"wildcard without quotes", "apps:\n- id: /a\n  ports:\n  - domains: [*.a.test]\n", "need quotes"},
		{"IPv6 without quotes", "apps:\n- id: /a\n  ports:\n  - endpoints:\n    - address: [::1]:80\n", "need quotes"},
		{"field given twice", "apps:\n- id: /a\n  id: /b\n", `f.yaml:3: mapping key "id" already defined at line 2`},
		{"empty", "", "f.yaml: has no apps"},
		{"comment only", "# nothing\n", "f.yaml: has no apps"},
		{"list cut off", "apps:\n", "f.yaml: has no apps"},
		{"empty item", "apps:\n- id: /a\n-\n", "f.yaml:3: empty list item"},
		{"empty nested item", "apps:\n- id: /a\n  ports:\n  - domains: [~]\n", "f.yaml:4: empty list item"},
		{"no id", "apps:\n- id: /a\n- ports: []\n", "f.yaml:3: app without an id"},
		{"bad ids", "apps:\n- id: a\n- id: /A\n- id: /a/\n", "f.yaml:2: app id \"a\" is not an absolute path"},
		{"not a mapping", "- a\n", "f.yaml:1: a value of type seq does not belong here"},
		{"second document", "apps: []\n---\nx: 1\n", `f.yaml:3: unknown field "x"`},
		{"tab", "\t", "f.yaml: found character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			apps, err := Parse("f.yaml", []byte(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, %v; want an error with %q", apps, err, tt.want)
			}
		})
	}
}

func TestParseProblems(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, port, subject, reason string }{
		{"domain", "domains: [a~b.test]", "ports[0].domains[0]", `f.yaml:4: domain ignored: "a~b.test"`},
		{"ACME domain", `acmeDomains: ["[::1]"]`, "ports[0].acmeDomains[0]", "is an IPv6 address"},
		{"group", `groups: [""]`, "ports[0].groups[0]", "empty group"},
		{"host name", "endpoints: [{address: 'web:80'}]", "ports[0].endpoints[0].address", "host names are not looked up"},
		{"no port", "endpoints: [{address: 10.0.0.1}]", "ports[0].endpoints[0].address", "is not IP:port"},
		{"port 0", "endpoints: [{address: '10.0.0.1:0'}]", "ports[0].endpoints[0].address", "has port 0"},
		{"unspecified", "endpoints: [{address: '0.0.0.0:80'}]", "ports[0].endpoints[0].address", "not the address of one machine"},
		{"zone", "endpoints: [{address: '[fe80::1%eth0]:80'}]", "ports[0].endpoints[0].address", "IPv6 zone"},
		{"no address", "endpoints: [{region: eu}]", "ports[0].endpoints[0].address", "it has no address"},
		{"health", "endpoints: [{address: '10.0.0.1:80', health: ill}]", "ports[0].endpoints[0].health", `health "ill" is not one of`},
		{"address twice", "endpoints: [{address: '10.0.0.1:80'}, {address: '[::ffff:10.0.0.1]:80'}]", "ports[0].endpoints[1].address", "in the list already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			apps, err := Parse("f.yaml", []byte("apps:\n- id: /a\n  ports:\n  - "+tt.port+"\n- id: /b\n"))
			if err != nil {
				t.Fatal(err)
			}
			if len(apps) != 2 || len(apps[0].Ports) != 1 || len(apps[0].Problems) != 1 || len(apps[1].Problems) != 0 {
				t.Fatalf("got %+v", apps)
			}
			p := apps[0].Problems[0]
			if p.Subject != tt.subject || !strings.Contains(p.Reason, tt.reason) || !strings.HasPrefix(p.Reason, "f.yaml:") {
				t.Errorf("problem %+v; want %s with %q", p, tt.subject, tt.reason)
			}
		})
	}
}

func TestParseMapsFields(t *testing.T) {
	t.Parallel()
	apps, err := Parse("f.yaml", []byte(`apps:
- id: /a
  ports:
  - {}
  - name: web
    groups: []
    domains: [A.test., a.test]
    endpoints:
    - {address: '10.0.0.2:80', health: degraded}
    - {address: '10.0.0.1:80', zone: 1}
---
apps:
- id: /a
- id: /b
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []*sources.App{
		{
			ID: "/a", Version: apps[0].Version,
			Ports: []sources.Port{
				{Groups: []string{"external"}},
				{
					Name: "web", Domains: []string{"a.test"},
					Endpoints: []sources.Endpoint{
						{Address: netip.MustParseAddrPort("10.0.0.1:80"), Task: "10.0.0.1:80", Zone: "1"},
						{Address: netip.MustParseAddrPort("10.0.0.2:80"), Task: "10.0.0.2:80", Health: sources.Degraded},
					},
				},
			},
			Problems: []problem.Problem{{Subject: "id", Reason: "f.yaml:13: the same id is used again here; this second app is ignored"}},
		},
		{ID: "/b", Version: apps[1].Version},
	}
	if diff := cmp.Diff(want, apps, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	if apps[0].Version == apps[1].Version || apps[0].Version == "" {
		t.Errorf("versions %q and %q must differ", apps[0].Version, apps[1].Version)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example(f))
	for _, s := range []string{"", "apps: []", "apps:\n- id: /a\n---\napps: [{id: /b}]", "apps: &x\n- id: *x", "apps: [{<<: {id: /a}}]", "a: \xff", "%YAML 1.1\n---\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		apps, err := Parse("f.yaml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml") {
				t.Errorf("error without the file: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, app := range apps {
			if checkID(app.ID) != nil || seen[app.ID] {
				t.Errorf("app id %q is invalid or not unique", app.ID)
			}
			seen[app.ID] = true
			for _, p := range app.Ports {
				checkPort(t, p)
			}
		}
	})
}

func checkPort(t *testing.T, p sources.Port) {
	for _, d := range p.Domains {
		if n, err := hostname.Domain(d); err != nil || n != d {
			t.Errorf("domain %q is not normalised", d)
		}
	}
	for _, e := range p.Endpoints {
		if !e.Address.IsValid() || e.Address.Port() == 0 {
			t.Errorf("address %v is not usable", e.Address)
		}
	}
}
