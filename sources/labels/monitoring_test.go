package labels

import (
	"strings"
	"testing"
)

func TestMonitoringLabels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		labels       map[string]string
		probe, owner string
		problem      string // a part of the only one; empty for none
	}{
		{name: "none", labels: map[string]string{}},
		{name: "a path", labels: map[string]string{"RELAY_0_PROBE": " /health  200 "}, probe: "/health 200"},
		{name: "empty", labels: map[string]string{"RELAY_0_PROBE": " ", "RELAY_OWNER": " "}},
		{name: "off", labels: map[string]string{"RELAY_0_PROBE": "off"}, probe: "off"},
		{name: "a kind that does not fit", labels: map[string]string{"RELAY_0_PROBE": "tcp"}, problem: "is an HTTP service"},
		{name: "TCP", labels: map[string]string{"HAPROXY_0_MODE": "tcp", "RELAY_0_PROBE": "tcp within 1s"}, probe: "tcp within 1s"},
		{name: "a path of a TCP service", labels: map[string]string{"HAPROXY_0_MODE": "tcp", "RELAY_0_PROBE": "/health"}, problem: "is a TCP service"},
		{name: "a module of a TCP service", labels: map[string]string{"HAPROXY_0_MODE": "tcp", "RELAY_0_PROBE": "module smtp"}, probe: "module smtp"},
		{name: "a bad value", labels: map[string]string{"RELAY_0_PROBE": "health"}, problem: `"health" is not known: write a path`},
		{name: "a query", labels: map[string]string{"RELAY_0_PROBE": "/health?token=s3cret"}, problem: "has a query"},
		{name: "an owner", labels: map[string]string{"RELAY_OWNER": " team/shop@acme.test "}, owner: "team/shop@acme.test"},
		{name: "a bad owner", labels: map[string]string{"RELAY_OWNER": "the shop team"}, problem: `"the shop team" is ignored`},
		{name: "a long owner", labels: map[string]string{"RELAY_OWNER": strings.Repeat("x", 65)}, problem: "at most 64"},
	} {
		all := map[string]string{"HAPROXY_GROUP": "external"}
		if tt.labels["HAPROXY_0_MODE"] == "" {
			all["HAPROXY_0_VHOST"] = "shop.test"
		}
		plain := Read(all, []DeclaredPort{{ServicePort: 10001}})
		for key, value := range tt.labels {
			all[key] = value
		}
		got := Read(all, []DeclaredPort{{ServicePort: 10001}})
		if got.Ports[0].Probe != tt.probe || got.Owner != tt.owner {
			t.Errorf("%s: %q, %q", tt.name, got.Ports[0].Probe, got.Owner)
		}
		switch {
		case tt.problem == "" && len(got.Problems) > 0, tt.problem != "" && len(got.Problems) != 1:
			t.Errorf("%s: the problems are %q", tt.name, got.Problems)
		case tt.problem != "" && (!strings.Contains(got.Problems[0].Reason, tt.problem) || strings.Contains(got.Problems[0].Reason, "s3cret")):
			t.Errorf("%s: the problem is %q", tt.name, got.Problems[0].Reason)
		}
		if tt.labels["HAPROXY_0_MODE"] == "" && (got.Ports[0].HTTP != plain.Ports[0].HTTP || got.Ports[0].TCP != plain.Ports[0].TCP) {
			t.Errorf("%s: the port is another one: %+v", tt.name, got.Ports[0])
		}
	}
}
