package labels

import "testing"

func TestInEnvoy(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"HAPROXY_0_STICKY":          "`stateful_session` of the route, `override_host_status`",
		"HAPROXY_web_port_STICKY":   "`stateful_session` of the route, `override_host_status`",
		"HAPROXY_other_STICKY":      "",
		"HAPROXY_0_STICKIER":        "",
		"HAPROXY_GROUP":             "which fleet's resources",
		"HAPROXY_0_SSL_CERT":        "",
		"traefik.enable":            "",
		"RELAY_10_MAX_REQUESTS":     "`circuit_breakers`",
		"HAPROXY_0_BACKEND_HEAD":    "",
		"MARATHON_ACME_0_DOMAIN":    "route for `/.well-known/acme-challenge/`",
		"HAPROXY_01_BACKEND_WEIGHT": "",
	} {
		if got := InEnvoy(key, []string{"web_port"}); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}
