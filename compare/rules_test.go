package compare_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/collator/routing"
	"relay/compare"
	"relay/compare/marathonlb"
)

const vhost = "HAPROXY_0_VHOST"

// usual are findings that nearly every set of apps has.
var usual = []string{"expected service-port", "expected app-id", "no-https"}

func withHTTPS(f *routing.Fleet) { f.HTTPSPublicPort, f.Proxies = 443, trusting() }

// trusting is a proxy in front that ends TLS, so that the fleet offers HTTPS without a
// listener and certificates of its own.
func trusting() routing.Proxies {
	return routing.Proxies{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func TestRulesThatDiffer(t *testing.T) {
	t.Parallel()
	reason := func(f compare.Finding) string { return f.Reason }
	tests := []struct {
		name string
		set  settings
		apps []app
		want []string // verdict kind subject | part of the reason
	}{
		{"the same", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test,b.test"}}, {id: "/b", port: 10001, labels: map[string]string{vhost: "a.test", "HAPROXY_0_PATH": "/api"}}}, nil},
		{"same redirect", settings{fleet: withHTTPS}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_REDIRECT_TO_HTTPS": "true"}}}, nil},
		{"same network", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "192.0.2.7 10.1.0.0/8"}}}, nil},
		{"same TCP service", settings{}, []app{{id: "/db", labels: map[string]string{"HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": "5432"}}}, nil},
		{"redirect of a domain that has another app on a path", settings{fleet: withHTTPS}, []app{
			{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_REDIRECT_TO_HTTPS": "true"}},
			{id: "/b", port: 10001, labels: map[string]string{vhost: "a.test", "HAPROXY_0_PATH": "/api"}},
		}, []string{"different redirect a.test/api | is for all paths of the domain"}},
		{"redirect without HTTPS", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_REDIRECT_TO_HTTPS": "true"}}},
			[]string{"different redirect a.test/ | offers no HTTPS"}},
		{"a hash that is malformed", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_AUTH": "R:joe:$5$secret"}}},
			[]string{"different closed a.test/ | HAPROXY_0_AUTH has a password hash"}},
		{"a hash that Relay checks", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_AUTH": "R:joe:$5$saltsalt$kmJUCIm73946uXVnGZjCdBUolDZJ3cOBx5hc3E.xjEC"}}}, nil},
		{"a password of another app", settings{}, []app{
			{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_AUTH": "R:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}},
			{id: "/b", port: 10001, labels: map[string]string{vhost: "a.test", "HAPROXY_0_PATH": "/open"}},
		}, []string{"different open a.test/open | on all paths of its domains"}},
		{"a password without a realm", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_AUTH": ":joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}}},
			[]string{"different closed a.test/ | has no realm"}},
		{"a label that stops marathon-lb", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_BACKEND_WEIGHT": "high"}}},
			[]string{"different marathon-lb-stuck /a | is no whole number", "different extra a.test/ | "}},
		{"a network that HAProxy refuses", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8, ::1"}}},
			[]string{"different extra a.test/ | HAProxy refuses"}},
		{"white space in a group", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_GROUP": "x, external"}}},
			[]string{"different extra a.test/ | its groups are"}},
		{"all groups", settings{options: marathonlb.Options{Groups: []string{"*"}}}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_GROUP": "internal"}}},
			[]string{"different missing a.test/ | the fleet is \"external\""}},
		{"strict mode", settings{options: marathonlb.Options{StrictMode: true}}, []app{{id: "/a", labels: map[string]string{vhost: "a.test"}}},
			[]string{"different extra a.test/ | HAPROXY_0_ENABLED=true"}},
		{"1 for true", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_ENABLED": "1"}}},
			[]string{"different extra a.test/ | is not one of true"}},
		{"a wildcard", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "*.a.test"}}},
			[]string{"different service-port tcp/10000 | without a domain", "different extra relay-compare.a.test/ | as they are written"}},
		{"a domain with a port", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test:8080"}}},
			[]string{"different missing a.test:8080/ | taken as a.test: write the domain alone", "different extra a.test/ | as they are written"}},
		{"suspended", settings{}, []app{{id: "/a", stopped: true, labels: map[string]string{vhost: "a.test"}}},
			[]string{"expected extra a.test/ | Suspended apps"}},
		{"suspended, and another app has the domain", settings{}, []app{
			{id: "/a", stopped: true, labels: map[string]string{vhost: "a.test"}}, {id: "/b", port: 10001, labels: map[string]string{vhost: "a.test"}},
		}, []string{"different other-app a.test/ | while no task of the first one runs"}},
		{"the order of ports", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_1_VHOST": "a.test", "HAPROXY_0_PORT": "11000", "HAPROXY_1_PORT": "10900"}, more: map[string]any{
			"portDefinitions": []any{map[string]any{"port": 10000}, map[string]any{"port": 10001}},
			"tasks":           []any{map[string]any{"id": "a.1", "host": "127.0.0.1", "ports": []int{31000, 31001}, "state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z"}},
		}}}, []string{"different other-app a.test/ | "}},
		{"a service port that nothing asks for", settings{}, []app{{id: "/a"}}, []string{"different tcp-port tcp/10000 | what labels ask for"}},
		{"all service ports", settings{fleet: func(f *routing.Fleet) { f.TCP = routing.TCPAll }}, []app{{id: "/a"}}, nil},
		{"an HTTP app without a domain", settings{}, []app{{id: "/a", labels: map[string]string{"HAPROXY_0_MODE": "http"}}}, []string{"different service-port tcp/10000 | serves HTTP by domains"}},
		{"one port for two", settings{}, []app{{id: "/a", labels: map[string]string{"HAPROXY_0_PORT": "5432"}}, {id: "/b", port: 10001, labels: map[string]string{"HAPROXY_0_PORT": "5432"}}},
			[]string{"different tcp-port tcp/5432 | the lowest app id"}},
		{"a bind address", settings{}, []app{{id: "/a", labels: map[string]string{"HAPROXY_0_MODE": "tcp", "HAPROXY_0_BIND_ADDR": "127.0.0.1"}}}, nil},
		{"a reserved port", settings{fleet: func(f *routing.Fleet) { f.ReservedPorts = []uint16{9901} }}, []app{{id: "/a", labels: map[string]string{"HAPROXY_0_PORT": "9901"}}},
			[]string{"different tcp-port tcp/9901 | belongs to Envoy or Relay"}},
		{"health", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test"}, more: map[string]any{
			"healthChecks": []any{map[string]any{"protocol": "HTTP", "portIndex": 0}},
			"tasks": []any{
				map[string]any{"id": "a.1", "host": "127.0.0.1", "ports": []int{31000}, "state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z", "healthCheckResults": []any{map[string]any{"alive": true}}},
				map[string]any{"id": "a.2", "host": "127.0.0.1", "ports": []int{31001}, "state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z", "healthCheckResults": []any{map[string]any{"alive": false}}},
			}}}}, []string{"expected instances /a port 0 | health checks", "expected balance 1 ports with several tasks | fewest requests"}},
		{"no healthy task", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test"}, more: map[string]any{
			"healthChecks": []any{map[string]any{"protocol": "HTTP", "portIndex": 0}},
			"tasks":        []any{map[string]any{"id": "a.2", "host": "127.0.0.1", "ports": []int{31001}, "state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z", "healthCheckResults": []any{map[string]any{"alive": false}}}},
		}}}, []string{"different instances /a port 0 | "}},
		{"no healthy task, with marathon-lb's flag", settings{options: marathonlb.Options{HealthCheck: true}}, []app{{id: "/a", labels: map[string]string{vhost: "a.test"}, more: map[string]any{
			"healthChecks": []any{map[string]any{"protocol": "HTTP", "portIndex": 0}},
			"tasks":        []any{map[string]any{"id": "a.2", "host": "127.0.0.1", "ports": []int{31001}, "state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z", "healthCheckResults": []any{map[string]any{"alive": false}}}},
		}}}, []string{"expected extra a.test/ | "}},
		{"a deployment group", settings{}, []app{
			{id: "/blue", labels: map[string]string{vhost: "a.test", "HAPROXY_DEPLOYMENT_GROUP": "shop", "HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-01T00:00:00"}},
			{id: "/green", labels: map[string]string{vhost: "a.test", "HAPROXY_DEPLOYMENT_GROUP": "shop", "HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-02T00:00:00"}},
		}, []string{"expected balance 1 ports with several tasks | "}},
		{"a redirect of / with several domains", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test,b.test", "HAPROXY_0_HTTP_BACKEND_REDIR": "/app"}}},
			[]string{"different paths /a port 0 | more than one domain"}},
		{"a template", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_BACKEND_HTTP_OPTIONS": "x"}}},
			[]string{"different template /a port 0 | Envoy cannot read"}},
		{"a balance that Envoy has not", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_BALANCE": "first"}}},
			[]string{"different balance /a port 0 | "}},
		{"sticky", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_STICKY": "true"}}}, []string{"expected sticky /a port 0 | another name"}},
		{"sticky with a space", settings{}, []app{{id: "/a", labels: map[string]string{vhost: "a.test", "HAPROXY_0_STICKY": "true "}}}, []string{"different sticky /a port 0 | without spaces"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := compare.NewReport()
			sidesOf(t, test.set, test.apps...).CompareRules(r)
			got := without(brief(r, reason), usual...)
			ok := len(got) == len(test.want)
			for i := range min(len(got), len(test.want)) {
				was, part, _ := strings.Cut(test.want[i], " | ")
				is, all, _ := strings.Cut(got[i], " | ")
				ok = ok && was == is && strings.Contains(all, part)
			}
			if !ok {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			tally := r.Tallies[0]
			if tally.Compared != tally.Same+tally.Different+tally.CannotTell+tally.Expected || tally.Compared == 0 {
				t.Errorf("the numbers do not add up: %+v", *tally)
			}
		})
	}
}

// TestReport holds how a report looks.
func TestReport(t *testing.T) {
	t.Parallel()
	var apps []app
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		apps = append(apps, app{id: "/plain/" + name, port: 10000 + i, labels: map[string]string{"HAPROXY_0_MODE": "http"}})
	}
	apps = append(apps,
		app{id: "/shop/web", port: 11000, labels: map[string]string{vhost: "shop.test,www.shop.test", "HAPROXY_0_REDIRECT_TO_HTTPS": "true"}},
		app{id: "/shop/api", port: 11001, labels: map[string]string{vhost: "shop.test", "HAPROXY_0_PATH": "/api"}},
		app{id: "/wiki", port: 11002, labels: map[string]string{vhost: "wiki.test", "HAPROXY_0_AUTH": "Wiki:joe:$5$neverShown"}},
		app{id: "/off", port: 11003, stopped: true, labels: map[string]string{vhost: "off.test"}},
		app{id: "/sticky", port: 11004, labels: map[string]string{vhost: "sticky.test", "HAPROXY_0_STICKY": "true"}},
	)
	r := compare.NewReport()
	sidesOf(t, settings{fleet: withHTTPS}, apps...).CompareRules(r)
	r.NotDone(compare.Requests, "external", "10.0.0.1:80: the connection is refused")
	r.Sort()
	for name, all := range map[string]bool{"report.txt": false, "report_all.txt": true} {
		var text strings.Builder
		if err := r.WriteText(&text, all); err != nil {
			t.Fatal(err)
		}
		golden(t, name, text.String())
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", string(text)+"\n")
	if strings.Contains(string(text), "neverShown") {
		t.Error("a hash of a password is in the report")
	}
}

// TestWorstFirst holds the order of findings.
func TestWorstFirst(t *testing.T) {
	t.Parallel()
	r := compare.NewReport()
	r.Findings = []compare.Finding{
		{Verdict: compare.Expected, Kind: compare.Closed, Subject: "1"}, {Verdict: compare.CannotTell, Kind: compare.Body, Subject: "2"},
		{Verdict: compare.Different, Kind: compare.Sticky, Subject: "3"}, {Verdict: compare.Different, Kind: compare.Broken, Subject: "4"},
		{Verdict: compare.Different, Kind: compare.Sticky, Subject: "0"},
	}
	var got []string
	for _, line := range brief(r) {
		got = append(got, line[len(line)-1:])
	}
	if want := []string{"4", "0", "3", "2", "1"}; !slices.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}
