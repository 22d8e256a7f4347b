package traefik_test

import (
	"fmt"
	"strings"
	"testing"

	"relay/sources"
)

// Routers that name a service, or a backend of Traefik 1, share requests with those of other apps.
func TestServicesOfSeveralApps(t *testing.T) {
	t.Parallel()
	const v2, v1 = "traefik.http.routers.r.rule=Host(`a.test`)\n", "traefik.frontend.rule=Host:a.test\n"
	long := strings.Repeat("x", sources.MaxNameBytes+1)
	for _, tt := range []struct{ name, labels, want, problem string }{
		{"named", v2 + "traefik.http.services.Web.loadbalancer.server.port=8080", "web 1", ""},
		{"not named", v2, "none", ""},
		{"long name", v2 + "traefik.http.services." + long + ".loadbalancer.server.port=8080", "none", ""},
		{"Relay's weight", v2 + "traefik.http.services.web.loadbalancer.server.port=8080\nRELAY_0_CLUSTER_WEIGHT=7", " 7", ""},
		{"no labels of Traefik 2 for weights", v2 + "traefik.backend=web\ntraefik.weight=5", "none", "Traefik 1 beside"},
		{"backend", v1 + "traefik.backend=Web", "Web 1", ""},
		{"backend and weight", v1 + "traefik.backend=web\ntraefik.weight=10", "web 10", ""},
		{"weight 0", v1 + "traefik.backend=web\ntraefik.weight=0", "web 1", ""},
		{"no weight", v1 + "traefik.backend=web\ntraefik.weight=-1", "web 1", "whole number"},
		{"large weight", v1 + "traefik.backend=web\ntraefik.weight=101", "web 100", "counts as 100"},
		{"weight without a backend", v1 + "traefik.weight=10", "none", "same traefik.backend"},
		{"empty backend", v1 + "traefik.backend=", "none", ""},
		{"long backend", v1 + "traefik.backend=" + long, "none", ""},
		{"no backend", v1 + "traefik.port=8080", "none", ""},
		{"segment", "traefik.x.frontend.rule=Host:a.test\ntraefik.x.backend=web\ntraefik.x.weight=3", "web 3", ""},
		{"of all segments", "traefik.x.frontend.rule=Host:a.test\ntraefik.backend=web", "web 1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app, _ := read(options(t), parse(tt.labels))
			got := "none"
			if h := app.Ports[0].HTTP; h.ClusterWeight != nil {
				got = fmt.Sprint(h.Service, " ", *h.ClusterWeight)
			}
			if got != tt.want {
				t.Errorf("shares by %q, want %q", got, tt.want)
			}
			if tt.problem == "" != (len(app.Problems) == 0) || tt.problem != "" && !strings.Contains(app.Problems[0].Reason, tt.problem) {
				t.Errorf("problems %v, want %q", app.Problems, tt.problem)
			}
		})
	}
}

func TestHostOfInstance(t *testing.T) {
	t.Parallel()
	const v2, v1 = "traefik.http.routers.r.rule=Host(`a.test`)\ntraefik.http.services.s.loadbalancer.passhostheader=", "traefik.frontend.rule=Host:a.test\ntraefik.frontend.passHostHeader="
	for _, start := range []string{v2, v1} {
		for value, want := range map[string]bool{"false": true, "true": false, "x": false, "FALSE": true, "0": true} {
			app, _ := read(options(t), parse(start+value))
			h := app.Ports[0].HTTP
			if got := h.Shaping != nil && h.Shaping.HostOfInstance; got != want || (len(app.Problems) > 0) != (value == "x") {
				t.Errorf("%s%s: %v, problems %v", start, value, got, app.Problems)
			}
		}
	}
	// What else is changed stays.
	app, _ := read(options(t), parse(v2+"false\nRELAY_0_HOST_REWRITE=x.test"))
	if s := app.Ports[0].HTTP.Shaping; s.Host != "x.test" || !s.HostOfInstance {
		t.Errorf("%+v", s)
	}
}
