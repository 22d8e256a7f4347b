package marathon

import (
	"slices"
	"testing"
)

// Where each shape of an app has its service ports, and which are checked by HTTP.
func TestServicePorts(t *testing.T) {
	t.Parallel()
	zero := 0
	tests := []struct {
		name  string
		app   appJSON
		ports []uint16
		http  []bool
	}{
		{"host", appJSON{PortDefinitions: []portDefinitionJSON{{Port: 10001}, {Port: 0}}, HealthChecks: []*healthCheckJSON{nil, {PortIndex: 1}, {PortIndex: 7}, {PortIndex: -1}}},
			[]uint16{10001, 0}, []bool{false, true}},
		{"legacy", appJSON{Ports: []int{10001, 70000}, HealthChecks: []*healthCheckJSON{{Protocol: "TCP"}, {Protocol: "HTTPS", PortIndex: 1}}},
			[]uint16{10001, 0}, []bool{false, false}},
		{"bridge", appJSON{Networks: []networkJSON{{Mode: "container/bridge"}}, PortDefinitions: []portDefinitionJSON{{Port: 9}},
			Container: &containerJSON{PortMappings: []portMappingJSON{{ServicePort: 10001, HostPort: &zero}}}, HealthChecks: []*healthCheckJSON{{Protocol: "MESOS_HTTP"}}},
			[]uint16{10001}, []bool{true}},
		{"container", appJSON{Networks: []networkJSON{{Mode: "container"}}, Container: &containerJSON{PortMappings: []portMappingJSON{{ContainerPort: 80, ServicePort: 10001}}},
			HealthChecks: []*healthCheckJSON{{Protocol: "HTTP", Port: 8080}}}, []uint16{10001}, []bool{false}},
	}
	for _, tt := range tests {
		var ports []uint16
		var http []bool
		declared, _ := declarations(&tt.app, modeOf(&tt.app))
		for _, d := range declared {
			ports, http = append(ports, d.servicePort), append(http, d.checkedByHTTP)
		}
		if !slices.Equal(ports, tt.ports) || !slices.Equal(http, tt.http) {
			t.Errorf("%s: service ports %d, checked by HTTP %t; want %d, %t", tt.name, ports, http, tt.ports, tt.http)
		}
	}
}

// A port that takes TCP as well as UDP is served; one for UDP alone is not.
func TestProtocols(t *testing.T) {
	t.Parallel()
	a := ported(3, 1, map[string]string{"HAPROXY_0_VHOST": "a.test", "HAPROXY_1_VHOST": "b.test", "HAPROXY_2_VHOST": "c.test"})
	a.PortDefinitions[0].Protocol, a.PortDefinitions[1].Protocol = "udp", "udp,tcp"
	app := convertApp(a, nil, testMapping()).app
	if p := app.Ports; len(p[0].Domains) != 0 || len(p[1].Domains) != 1 || len(p[2].Domains) != 1 || len(app.Problems) != 1 {
		t.Errorf("ports %+v, problems %q", p, app.Problems)
	}
}
