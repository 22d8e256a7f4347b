package labels

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relay/sources"
)

func TestRead(t *testing.T) {
	t.Parallel()
	two := []DeclaredPort{{Name: "http"}, {Name: "my_admin"}}
	external := []string{"external"}
	tests := []struct {
		name     string
		labels   map[string]string
		declared []DeclaredPort
		want     []sources.Port
		problems []string // parts, in order
	}{
		{name: "nothing", declared: two, labels: map[string]string{"traefik.enable": "true"}, want: []sources.Port{{}, {}}},
		{name: "group overrides", declared: two,
			labels: map[string]string{"HAPROXY_GROUP": " external ,internal,,external", "HAPROXY_1_GROUP": ""},
			want:   []sources.Port{{Groups: []string{"external", "internal"}}, {}}},
		{name: "domains", declared: two,
			labels: map[string]string{"HAPROXY_0_VHOST": " A.test,b.test\t*.c.test.,a.test ", "MARATHON_ACME_0_DOMAIN": "a.test"},
			want:   []sources.Port{{Domains: []string{"a.test", "b.test", "*.c.test"}, ACMEDomains: []string{"a.test"}}, {}}},
		{name: "a bad domain costs itself", declared: two,
			labels:   map[string]string{"HAPROXY_0_VHOST": "HTTP://a.test,http://c.test,b.test,a.*.test,*"},
			want:     []sources.Port{{Domains: []string{"a.test", "c.test", "b.test"}}, {}},
			problems: []string{"HAPROXY_0_VHOST|taken as a.test", "HAPROXY_0_VHOST|taken as c.test", "HAPROXY_0_VHOST|whole first label", "HAPROXY_0_VHOST|is no domain, as no app may have all"}},
		{name: "booleans", declared: two,
			labels:   map[string]string{"HAPROXY_0_VHOST": "a.test", "HAPROXY_0_REDIRECT_TO_HTTPS": " T ", "HAPROXY_1_VHOST": "b.test", "HAPROXY_1_REDIRECT_TO_HTTPS": "on"},
			want:     []sources.Port{{Domains: []string{"a.test"}, RedirectToHTTPS: true}, {Domains: []string{"b.test"}}},
			problems: []string{"HAPROXY_1_REDIRECT_TO_HTTPS|write true or false"}},
		{name: "redirect of nothing", declared: two, labels: map[string]string{"HAPROXY_1_REDIRECT_TO_HTTPS": "1"},
			want: []sources.Port{{}, {RedirectToHTTPS: true}}, problems: []string{"HAPROXY_1_REDIRECT_TO_HTTPS|HAPROXY_1_VHOST"}},
		{name: "port names", declared: two, labels: map[string]string{"HAPROXY_my_admin_VHOST": "a.test", "HAPROXY_1_VHOST": "b.test"},
			want: []sources.Port{{}, {Domains: []string{"b.test"}}}, problems: []string{"HAPROXY_my_admin_VHOST|HAPROXY_1_VHOST says it already"}},
		{name: "typos", declared: two,
			labels: map[string]string{"HAPROXY_0_VHOSTS": "a", "haproxy_1_vhost": "a", "HAPROXY_VHOST": "a", "HAPROXY_GRUOP": "a", "MARATHON_ACME_0_DOMAINS": "a", "HAPROXY_01_VHOST": "a"},
			want:   []sources.Port{{}, {}},
			problems: []string{"HAPROXY_01_VHOST|did you mean HAPROXY_1_VHOST", "HAPROXY_0_VHOSTS|did you mean HAPROXY_0_VHOST", "HAPROXY_GRUOP|did you mean HAPROXY_GROUP",
				"HAPROXY_VHOST|did you mean HAPROXY_0_VHOST", "MARATHON_ACME_0_DOMAINS|did you mean MARATHON_ACME_0_DOMAIN", "haproxy_1_vhost|did you mean HAPROXY_1_VHOST"}},
		{name: "beyond the ports", declared: two, labels: map[string]string{"HAPROXY_2_VHOST": "a.test", "HAPROXY_99999999999999999999_VHOST": "a.test"},
			want: []sources.Port{{}, {}}, problems: []string{"HAPROXY_2_VHOST|declares 2 ports, counted from 0: write an index from 0 to 1 or a port's name (http, my_admin) in place of 2", "HAPROXY_99999999999999999999_VHOST|declares 2"}},
		{name: "no ports", want: []sources.Port{}, labels: map[string]string{"HAPROXY_0_VHOST": "a.test"}, problems: []string{"|declares no port"}},
		{name: "not supported", declared: two,
			labels: map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_1_MODE": "http", "HAPROXY_0_MODE": "http", "HAPROXY_0_SSL_CERT": "/x.pem", "HAPROXY_0_BIND_OPTIONS": "ssl",
				"HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX": "1", "HAPROXY_1_BACKEND_HEAD": "x", "HAPROXY_0_MAP_X": "x", "HAPROXY_0_HTTP_FRONTEND_ACL_WITH_PATH": "x"},
			want: []sources.Port{{Groups: external}, {Groups: external}},
			problems: []string{"HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX|no health checks", "HAPROXY_0_BIND_OPTIONS|not supported", "HAPROXY_0_BIND_OPTIONS|http mode", "HAPROXY_0_MAP_X|not supported",
				"HAPROXY_0_SSL_CERT|certificate store", "HAPROXY_1_BACKEND_HEAD|RELAY_{n}_*"}},
		{name: "settings", declared: two,
			labels:   map[string]string{"HAPROXY_0_VHOST": "a.test", "HAPROXY_http_PATH": "/x", "RELAY_0_TIMEOUT": "5", "RELAY_my_admin_HTTP2": "true", "HAPROXY_my_admin_BALANCE": "best"},
			want:     []sources.Port{{Domains: []string{"a.test"}, HTTP: &sources.HTTP{Order: 1, Paths: []sources.Path{{Prefix: "/x"}}}}, {Upstream: &sources.Upstream{HTTP2: true}}},
			problems: []string{"HAPROXY_my_admin_BALANCE|algorithm", "RELAY_0_TIMEOUT|duration"}},
		{name: "settings under the wrong prefix", declared: two, labels: map[string]string{"HAPROXY_0_TIMEOUT": "5s", "RELAY_0_BALANCE": "source", "RELAY_0_TIMOUT": "5s"}, want: []sources.Port{{}, {}},
			problems: []string{"HAPROXY_0_TIMEOUT|did you mean", "RELAY_0_BALANCE|did you mean", "RELAY_0_TIMOUT|did you mean RELAY_0_TIMEOUT"}},
		{name: "beginnings of labels", declared: two, labels: map[string]string{"RELAY_0_CORS": "*", "RELAY_0_JWT": "x", "RELAY_0_OIDC": "x", "RELAY_0_RATE": "1/s"}, want: []sources.Port{{}, {}},
			problems: []string{"RELAY_0_CORS|did you mean RELAY_0_CORS_ORIGINS", "RELAY_0_JWT|did you mean RELAY_0_JWT_ISSUER", "RELAY_0_OIDC|did you mean RELAY_0_OIDC_CLIENT_ID", "RELAY_0_RATE|did you mean RELAY_0_RATE_LIMIT"}},
		{name: "path without domain", declared: two, labels: map[string]string{"HAPROXY_0_PATH": "/x"}, want: []sources.Port{{HTTP: &sources.HTTP{Order: 1, Paths: []sources.Path{{Prefix: "/x"}}}}, {}},
			problems: []string{"HAPROXY_0_PATH|HAPROXY_0_VHOST"}},
		{name: "protected ports are not opened", declared: two,
			labels:   map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test", "HAPROXY_0_AUTH": "r:u:secret", "HAPROXY_1_VHOST": "b.test", "HAPROXY_1_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/99"},
			want:     []sources.Port{{Groups: external, Domains: []string{"a.test"}, HTTP: &sources.HTTP{Closed: true}}, {Groups: external, Domains: []string{"b.test"}, HTTP: &sources.HTTP{Closed: true}}},
			problems: []string{"HAPROXY_0_AUTH|answered 403", "HAPROXY_1_BACKEND_NETWORK_ALLOWED_ACL|answered 403"}},
		{name: "disabled", declared: two, labels: map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_ENABLED": "no", "HAPROXY_1_ENABLED": ""},
			want: []sources.Port{{}, {Groups: external}}},
		{name: "udp", declared: []DeclaredPort{{UDPOnly: true}, {UDPOnly: false}},
			labels: map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test", "HAPROXY_1_VHOST": "b.test"},
			want:   []sources.Port{{}, {Groups: external, Domains: []string{"b.test"}}}, problems: []string{"|UDP"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Read(tt.labels, tt.declared)
			for i := range got.Ports {
				if got.Ports[i].Name != tt.declared[i].Name {
					t.Errorf("port %d is called %q", i, got.Ports[i].Name)
				}
				got.Ports[i].Name = ""
			}
			if diff := cmp.Diff(tt.want, got.Ports); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if len(got.Problems) != len(tt.problems) {
				t.Fatalf("problems: %q, want %d", got.Problems, len(tt.problems))
			}
			for i, p := range got.Problems {
				subject, part, _ := strings.Cut(tt.problems[i], "|")
				if p.Subject != subject || !strings.Contains(p.Reason, part) {
					t.Errorf("problem %q, want %q", p, tt.problems[i])
				}
				if strings.Contains(p.Reason, "secret") {
					t.Errorf("problem %q shows a secret", p)
				}
			}
		})
	}
}

func TestTCPLabels(t *testing.T) {
	t.Parallel()
	const group, mode, port, vhost, pass = "HAPROXY_GROUP", "HAPROXY_0_MODE", "HAPROXY_0_PORT", "HAPROXY_0_VHOST", "RELAY_0_TLS_PASSTHROUGH"
	tests := []struct {
		name     string
		labels   map[string]string
		declared DeclaredPort
		want     *sources.TCP
		problems []string
	}{
		{"no group", map[string]string{"X": ""}, DeclaredPort{ServicePort: 10001}, nil, nil},
		{"nothing said", map[string]string{group: "a"}, DeclaredPort{ServicePort: 10001}, &sources.TCP{Port: 10001, Implicit: true}, nil},
		{"no service port", map[string]string{group: "a"}, DeclaredPort{}, nil, nil},
		{"checked by HTTP", map[string]string{group: "a"}, DeclaredPort{ServicePort: 10001, SpeaksHTTP: true}, nil, nil},
		{"a domain", map[string]string{group: "a", vhost: "a.test"}, DeclaredPort{ServicePort: 10001}, nil, nil},
		{"the label wins", map[string]string{group: "a", mode: "TCP"}, DeclaredPort{ServicePort: 10001, SpeaksHTTP: true}, &sources.TCP{Port: 10001}, nil},
		{"another port", map[string]string{group: "a", port: "5432"}, DeclaredPort{ServicePort: 10001}, &sources.TCP{Port: 5432}, nil},
		{"a domain for nothing", map[string]string{group: "a", mode: "tcp", vhost: "a.test", "HAPROXY_0_REDIRECT_TO_HTTPS": "true", "HAPROXY_0_PATH": "/x"}, DeclaredPort{ServicePort: 10001},
			&sources.TCP{Port: 10001}, []string{"HAPROXY_0_PATH|tcp mode", "HAPROXY_0_REDIRECT_TO_HTTPS|tcp mode", "HAPROXY_0_VHOST|RELAY_0_TLS_PASSTHROUGH"}},
		{"passthrough", map[string]string{group: "a", mode: "tcp", vhost: "a.test", pass: "true"}, DeclaredPort{ServicePort: 10001}, &sources.TCP{Passthrough: true}, nil},
		{"passthrough of nothing", map[string]string{group: "a", pass: "true"}, DeclaredPort{}, &sources.TCP{Passthrough: true}, []string{pass + "|HAPROXY_0_VHOST"}},
		{"UDP", map[string]string{group: "a", mode: "tcp"}, DeclaredPort{UDPOnly: true, ServicePort: 10001}, nil, nil},
		{"disabled", map[string]string{group: "a", mode: "tcp", "HAPROXY_0_ENABLED": "false"}, DeclaredPort{ServicePort: 10001}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Read(tt.labels, []DeclaredPort{tt.declared})
			if diff := cmp.Diff(tt.want, got.Ports[0].TCP, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("TCP (-want +got):\n%s", diff)
			}
			if len(got.Problems) != len(tt.problems) {
				t.Fatalf("problems %q, want %d", got.Problems, len(tt.problems))
			}
			for i, p := range got.Problems {
				if subject, reason, _ := strings.Cut(tt.problems[i], "|"); p.Subject != subject || !strings.Contains(p.Reason, reason) {
					t.Errorf("problem %q, want %q", p, tt.problems[i])
				}
			}
		})
	}
}

func TestDeploymentLabels(t *testing.T) {
	t.Parallel()
	const group, started, target = "HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT_STARTED_AT", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		labels   map[string]string
		want     *sources.Deployment
		problems int
	}{
		{labels: map[string]string{group: "web", started: "2026-05-01T14:00:00+02:00", target: "3"}, want: &sources.Deployment{Group: "web", StartedAt: noon, TargetInstances: 3}},
		{labels: map[string]string{group: "/shop/web", started: "2026-05-01T12:00:00.000", "HAPROXY_DEPLOYMENT_COLOUR": "blue", "HAPROXY_DEPLOYMENT_ALT_PORT": "1", "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "1"},
			want: &sources.Deployment{Group: "/shop/web", StartedAt: noon}},
		{labels: map[string]string{group: "web", started: "noon", target: "-1"}, want: &sources.Deployment{Group: "web"}, problems: 2},
		{labels: map[string]string{group: "my web"}, problems: 1},
		{labels: map[string]string{group: " "}},
		{labels: map[string]string{started: "2026-05-01T12:00:00Z"}},
	}
	for _, tt := range tests {
		got := Read(tt.labels, []DeclaredPort{{Name: "http"}})
		if diff := cmp.Diff(tt.want, got.Deployment); diff != "" || len(got.Problems) != tt.problems {
			t.Errorf("%v: problems %q, deployment (-want +got):\n%s", tt.labels, got.Problems, diff)
		}
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("HAPROXY_GROUP=external\nHAPROXY_0_VHOST=a.test,b.test\nHAPROXY_http_AUTH=x", "http", false)
	f.Add("HAPROXY_0_ENABLED=\nMARATHON_ACME_00_DOMAIN=*.x\nHAPROXY__VHOST=a", "", true)
	f.Add("HAPROXY_", "_", false)
	f.Add(" HAPROXY_GROUP=external\nHAPOXY_0_VHOST=a.test\nHAPROXY-http-VHOST=a\nHAPROXY_DEPLOYMENT_GRUOP=a\nНАРRОХУ_0=x\nrelay.0.tls=1", "http", false)
	f.Add("RELAY_0_TIMEOUT=5s\nHAPROXY_0_PATH=-i /a\nHAPROXY_DEPLOYMENT_GROUP=g\nHAPROXY_DEPLOYMENT_STARTED_AT=x", "x", false)
	f.Fuzz(func(t *testing.T, text, name string, udp bool) {
		labels := map[string]string{}
		for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), "=")
			labels[key] = value
		}
		declared := []DeclaredPort{{Name: name, UDPOnly: udp}, {Name: "b"}}
		got := Read(labels, declared)
		if len(got.Ports) != len(declared) {
			t.Errorf("%d results for %d ports", len(got.Ports), len(declared))
		}
		for _, p := range got.Problems {
			if p.Reason == "" || len(p.Subject)+len(p.Reason) > 1000 {
				t.Errorf("problem %q", p)
			}
		}
		if none := Read(labels, nil).Problems; len(labels) == 0 && len(none) > 0 {
			t.Errorf("problems without labels: %q", none)
		}
	})
}

// BenchmarkRead reads the labels of an app as most have them, which is done at each change of it.
func BenchmarkRead(b *testing.B) {
	labels := map[string]string{
		"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "app.example.com,www.app.example.com", "HAPROXY_0_REDIRECT_TO_HTTPS": "true",
		"MARATHON_ACME_0_DOMAIN": "app.example.com", "HAPROXY_0_PATH": "/api /v2", "RELAY_0_TIMEOUT": "30s", "HAPROXY_1_MODE": "tcp",
		"HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8", "RELAY_0_RETRY_ON": "reset", "RELAY_0_MAX_REQUESTS": "100", "owner": "team",
	}
	declared := []DeclaredPort{{Name: "http", ServicePort: 10000}, {Name: "db", ServicePort: 10001}}
	b.ReportAllocs()
	for b.Loop() {
		Read(labels, declared)
	}
}
