package marathon

import (
	"bufio"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLabels(t *testing.T) {
	t.Parallel()
	two := []declaration{{name: "http", protocol: "tcp"}, {name: "my_admin", protocol: "tcp"}}
	external := []string{"external"}
	tests := []struct {
		name     string
		labels   map[string]string
		declared []declaration
		want     []portLabels
		problems []string // parts, in order
	}{
		{name: "nothing", declared: two, labels: map[string]string{"traefik.enable": "true"}, want: []portLabels{{}, {}}},
		{name: "group overrides", declared: two,
			labels: map[string]string{"HAPROXY_GROUP": " external ,internal,,external", "HAPROXY_1_GROUP": ""},
			want:   []portLabels{{groups: []string{"external", "internal"}}, {}}},
		{name: "domains", declared: two,
			labels: map[string]string{"HAPROXY_0_VHOST": " A.test,b.test\t*.c.test.,a.test ", "MARATHON_ACME_0_DOMAIN": "a.test"},
			want:   []portLabels{{domains: []string{"a.test", "b.test", "*.c.test"}, acmeDomains: []string{"a.test"}}, {}}},
		{name: "a bad domain costs itself", declared: two,
			labels:   map[string]string{"HAPROXY_0_VHOST": "http://a.test,b.test,a.*.test,*"},
			want:     []portLabels{{domains: []string{"b.test"}}, {}},
			problems: []string{"HAPROXY_0_VHOST|scheme", "HAPROXY_0_VHOST|whole first label", "HAPROXY_0_VHOST|whole first label"}},
		{name: "booleans", declared: two,
			labels:   map[string]string{"HAPROXY_0_VHOST": "a.test", "HAPROXY_0_REDIRECT_TO_HTTPS": " T ", "HAPROXY_1_VHOST": "b.test", "HAPROXY_1_REDIRECT_TO_HTTPS": "on"},
			want:     []portLabels{{domains: []string{"a.test"}, redirect: true}, {domains: []string{"b.test"}}},
			problems: []string{"HAPROXY_1_REDIRECT_TO_HTTPS|write true or false"}},
		{name: "redirect of nothing", declared: two, labels: map[string]string{"HAPROXY_1_REDIRECT_TO_HTTPS": "1"},
			want: []portLabels{{}, {redirect: true}}, problems: []string{"HAPROXY_1_REDIRECT_TO_HTTPS|HAPROXY_1_VHOST"}},
		{name: "port names", declared: two, labels: map[string]string{"HAPROXY_my_admin_VHOST": "a.test", "HAPROXY_1_VHOST": "b.test"},
			want: []portLabels{{}, {domains: []string{"b.test"}}}, problems: []string{"HAPROXY_my_admin_VHOST|HAPROXY_1_VHOST says it already"}},
		{name: "typos", declared: two,
			labels: map[string]string{"HAPROXY_0_VHOSTS": "a", "haproxy_1_vhost": "a", "HAPROXY_VHOST": "a", "HAPROXY_GRUOP": "a", "MARATHON_ACME_0_DOMAINS": "a", "HAPROXY_01_VHOST": "a"},
			want:   []portLabels{{}, {}},
			problems: []string{"HAPROXY_01_VHOST|did you mean HAPROXY_1_VHOST", "HAPROXY_0_VHOSTS|did you mean HAPROXY_0_VHOST", "HAPROXY_GRUOP|did you mean HAPROXY_GROUP",
				"HAPROXY_VHOST|did you mean HAPROXY_0_VHOST", "MARATHON_ACME_0_DOMAINS|did you mean MARATHON_ACME_0_DOMAIN", "haproxy_1_vhost|did you mean HAPROXY_1_VHOST"}},
		{name: "beyond the ports", declared: two, labels: map[string]string{"HAPROXY_2_VHOST": "a.test", "HAPROXY_99999999999999999999_VHOST": "a.test"},
			want: []portLabels{{}, {}}, problems: []string{"HAPROXY_2_VHOST|declares 2 (0 to 1)", "HAPROXY_99999999999999999999_VHOST|declares 2"}},
		{name: "no ports", labels: map[string]string{"HAPROXY_0_VHOST": "a.test"}, problems: []string{"|declares no port"}},
		{name: "not supported", declared: two,
			labels:   map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_BALANCE": "leastconn", "HAPROXY_1_BACKEND_HEAD": "x", "HAPROXY_0_MAP_X": "x", "HAPROXY_DEPLOYMENT_GROUP": "g", "HAPROXY_0_HTTP_FRONTEND_ACL_WITH_PATH": "x"},
			want:     []portLabels{{groups: external}, {groups: external}},
			problems: []string{"HAPROXY_0_BALANCE|not supported", "HAPROXY_0_MAP_X|not supported", "HAPROXY_1_BACKEND_HEAD|not supported", "HAPROXY_DEPLOYMENT_GROUP|not supported"}},
		{name: "protected ports are not opened", declared: two,
			labels:   map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test", "HAPROXY_0_AUTH": "r:u:secret", "HAPROXY_1_VHOST": "b.test", "HAPROXY_1_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8"},
			want:     []portLabels{{}, {}},
			problems: []string{"HAPROXY_0_AUTH|not routed at all", "HAPROXY_1_BACKEND_NETWORK_ALLOWED_ACL|not routed at all"}},
		{name: "disabled", declared: two, labels: map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_ENABLED": "no", "HAPROXY_1_ENABLED": ""},
			want: []portLabels{{}, {groups: external}}},
		{name: "udp", declared: []declaration{{protocol: "udp"}, {protocol: "udp,tcp"}},
			labels: map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test", "HAPROXY_1_VHOST": "b.test"},
			want:   []portLabels{{}, {groups: external, domains: []string{"b.test"}}}, problems: []string{"|UDP"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, problems := parseLabels(tt.labels, tt.declared)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(portLabels{})); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if len(problems) != len(tt.problems) {
				t.Fatalf("problems: %q, want %d", problems, len(tt.problems))
			}
			for i, p := range problems {
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

func TestPortLabelNamesAreSorted(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(portLabelNames) {
		t.Error("portLabelNames is searched by bisection and must be sorted")
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("HAPROXY_GROUP=external\nHAPROXY_0_VHOST=a.test,b.test\nHAPROXY_http_AUTH=x", "http", "tcp")
	f.Add("HAPROXY_0_ENABLED=\nMARATHON_ACME_00_DOMAIN=*.x\nHAPROXY__VHOST=a", "", "udp")
	f.Add("HAPROXY_", "_", "udp,tcp")
	f.Fuzz(func(t *testing.T, text, name, protocol string) {
		labels := map[string]string{}
		for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), "=")
			labels[key] = value
		}
		declared := []declaration{{name: name, protocol: protocol}, {name: "b"}}
		got, problems := parseLabels(labels, declared)
		if len(got) != len(declared) {
			t.Errorf("%d results for %d ports", len(got), len(declared))
		}
		for _, p := range problems {
			if p.Reason == "" || len(p.Subject)+len(p.Reason) > 1000 {
				t.Errorf("problem %q", p)
			}
		}
		if _, problems := parseLabels(labels, nil); len(labels) == 0 && len(problems) > 0 {
			t.Errorf("problems without labels: %q", problems)
		}
	})
}
