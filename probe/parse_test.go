package probe_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/probe"
)

const whole = `
place: fra1
interval: 20s
timeout: 5s
rate: 500
concurrency: 20
max-targets: 5000
sample: {domains: 50, interval: 5m, change: 1h}
fleets: [external]
ca-file: /etc/relay/ca.pem
envoys:
  external:
    - {id: edge-1, address: 192.0.2.1, https: 8443}
    - {address: edge-2.example.com}
modules:
  login:
    prober: http
    timeout: 3s
    http:
      valid_status_codes: [200]
      follow_redirects: true
      basic_auth: {username: probe, password: hunter2secret}
      body_size_limit: 100MB
  smtp:
    prober: tcp
    tcp:
      query_response:
        - expect: "^220 "
        - send: EHLO probe
        - expect: "^250[- ]STARTTLS"
        - send: STARTTLS
        - expect: "^220"
        - starttls: true
  names:
    prober: dns
    dns: {query_name: shop.example.com, query_type: A}
targets:
  - {name: names, module: names, address: "192.0.2.53:53"}
`

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := probe.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if s.Place != "fra1" || s.Interval != 20*time.Second || s.Sample.Domains != 50 || s.Envoys["external"][0].HTTPS != 8443 || !s.Asks("external") || s.Asks("internal") {
		t.Errorf("got %+v", s)
	}
	login := s.Modules["login"]
	if login.HTTP.HTTPClientConfig.FollowRedirects || login.HTTP.BodySizeLimit > 16<<20 || string(login.HTTP.HTTPClientConfig.BasicAuth.Password) != "hunter2secret" {
		t.Errorf("got %+v", login.HTTP)
	}
	if kind, ok := s.ModuleKind("smtp"); kind != probe.TCP || !ok {
		t.Errorf("smtp is of kind %q", kind)
	}
	if static := s.Static(); len(static) != 1 || static[0].Kind != probe.DNS || static[0].ID != "//names" || static[0].Address != "192.0.2.53:53" {
		t.Errorf("got %+v", static)
	}
	if empty, err := probe.Parse(nil); err != nil || empty.Interval != 30*time.Second || empty.Rate != 1000 {
		t.Errorf("an empty file is %+v, %v", empty, err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"interval: 20s\nintervall: 30s", "line 2: there is no setting \"intervall\" here"},
		{"modules:\n  a:\n    prober: http\n    htttp: {}", "line 4: there is no setting \"htttp\" here"},
		{"modules:\n  a:\n    prober: http\n    http: {methodd: GET}", "line 4: there is no setting \"methodd\" here"},
		{"interval: 30", "line 1: this is no time: write it with its unit, such as 30s"},
		{"sample: 20", "line 1: a value of type int does not belong here"},
		{"interval: 1s", "interval: 1s is not between 5s and 24h0m0s"},
		{"timeout: 2m", "timeout: 2m0s is not between"},
		{"rate: 0", "rate: 0 is not between 1 and"},
		{"place: a b", "place: it has 1 to 64 letters"},
		{"sample: {domains: -1}", "sample: domains: -1"},
		{"modules: {a: {prober: icmp}}", `module "a": prober: it is "icmp", and can be http, tcp, grpc or dns`},
		{"modules: {a: {prober: dns}}", `module "a": dns: query_name is missing`},
		{"modules: {a: {prober: http, timeout: 2h}}", `module "a": timeout`},
		{"targets: [{name: x, module: y, address: 'a:1'}]", `there is no module "y"`},
		{"modules: {y: {prober: tcp}}\ntargets: [{name: x, module: y, address: 'a'}]", `"a" is not HOST:PORT`},
		{"envoys: {f: [{id: a, address: 192.0.2.1}, {id: a, address: 192.0.2.2}]}", `number 2: "a" is there already`},
		{"sample: {domains: 10001}", "sample: domains: 10001 is not between 0 and 10000"},
		{"envoys: {f: [{address: 'a b'}]}", `"a b" is no address and no name of a host`},
		{"rate: 1\n---\nrate: 2", "there is a second document"},
		{"rate: [", "yaml:"},
	}
	for _, tt := range tests {
		if _, err := probe.Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

// Errors quote no value: a password may be in the wrong place.
func TestParseHidesSecrets(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"modules: {a: {prober: http, http: {basic_auth: hunter2secret}}}",
		"modules: {a: {prober: http, http: {valid_status_codes: [hunter2secret]}}}",
		"modules: {a: {prober: http, http: {bearer_token: hunter2secret, basic_auth: {username: a, password: hunter2secret}}}}",
		"modules: {a: {prober: http, http: {headers: hunter2secret}}}",
		"modules: {a: {prober: tcp, tcp: {query_response: [{expect: 'hunter2secret('}]}}}",
		"modules: {a: {prober: tcp, tcp: {query_response: hunter2secret}}}",
		"modules: {a: {prober: http, http: {body: x, body_file: y, headers: {X-Key: {a: hunter2secret}}}}}",
		"modules: {a: {prober: http, http: {fail_if_body_json_matches_cel: 'hunter2secret('}}}",
		"interval: hunter2secret",
	} {
		_, err := probe.Parse([]byte(text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error is %v", text, err)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "probes.yaml")
	if err := os.WriteFile(path, []byte("rate: 0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := probe.Load(path); err == nil || !strings.Contains(err.Error(), path+": rate: 0") {
		t.Errorf("got %v", err)
	}
	if _, err := probe.Load(path + "x"); err == nil {
		t.Error("a file that is not there is no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("modules: {a: {prober: http, http: {fail_if_body_json_matches_cel: 'body.a == 1'}}}")
	f.Add("targets: [{name: x}]\nenvoys: {f: [{}]}")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := probe.Parse([]byte(text))
		if err != nil {
			return
		}
		if s.Interval < 5*time.Second || s.Rate < 1 || s.Concurrency < 1 || s.MaxTargets < 1 || s.Timeout <= 0 {
			t.Errorf("%q is %+v", text, s)
		}
		for name, m := range s.Modules {
			if m.HTTP.HTTPClientConfig.FollowRedirects || m.HTTP.BodySizeLimit <= 0 || m.HTTP.BodySizeLimit > 16<<20 {
				t.Errorf("%q: module %q has no bounds", text, name)
			}
		}
		_ = s.Static()
		_ = s.Epoch(time.Now())
	})
}

// The example of the documents is right.
func TestExample(t *testing.T) {
	t.Parallel()
	s, err := probe.Load("testdata/probes.yaml")
	if err != nil || len(s.Modules) != 3 || len(s.Envoys["external"]) != 2 {
		t.Errorf("got %+v, %v", s, err)
	}
}
