package marathon

import (
	"encoding/json"
	"testing"

	"relay/sources/labels/traefik"
)

// Labels of Traefik name a port by its number: that in the container, that of the service, or on a bridge that of the
// host, if the definition has it.
func TestPortsOfTraefik(t *testing.T) {
	t.Parallel()
	const ports = `"portMappings": [{"containerPort": 8080, "servicePort": 10001}, {"containerPort": 9090, "servicePort": 10002, "hostPort": 31090}, {"containerPort": 7070, "hostPort": 0}]`
	bridge, host := `"container": {`+ports+`}, "networks": [{"mode": "container/bridge"}]`, `"portDefinitions": [{"port": 10001}, {"port": 10002}], "requirePorts": true`
	own := `"container": {` + ports + `}, "networks": [{"mode": "container", "name": "n"}]`
	for _, tt := range []struct {
		networks, number string
		want             int // -1 is none
	}{
		{bridge, "8080", 0}, {bridge, "9090", 1}, {bridge, "10002", 1}, {bridge, "31090", 1}, {bridge, "7070", 2}, {bridge, "0", -1}, {bridge, "1", -1},
		{host, "10002", 1}, {host, "31090", -1},
		{own, "9090", 1}, {own, "31090", -1},
	} {
		for label, all := range map[string]string{
			"traefik.port": `"traefik.frontend.rule": "Host:a.test", "traefik.port": "` + tt.number + `"`,
			"server.port":  `"traefik.http.routers.r.rule": "Host(` + "`a.test`" + `)", "traefik.http.services.s.loadbalancer.server.port": "` + tt.number + `"`,
		} {
			var app appJSON
			if err := json.Unmarshal([]byte(`{"id": "/a", `+tt.networks+`, "labels": {`+all+`}}`), &app); err != nil {
				t.Fatal(err)
			}
			m := testMapping()
			m.traefik = &traefik.Options{EntryPoints: traefik.UsualEntryPoints("external"), ExposedByDefault: true}
			got := -1
			for i, port := range convertApp(&app, nil, m).app.Ports {
				if len(port.Domains) > 0 {
					got = i
				}
			}
			if got != tt.want {
				t.Errorf("%s=%s with %.20s: port %d, want %d", label, tt.number, tt.networks, got, tt.want)
			}
		}
	}
}
