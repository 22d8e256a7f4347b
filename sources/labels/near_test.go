package labels

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"relay/internal/cputest"
	"relay/sources"
)

// TestNearKeys holds that a key that nearly is ours is told, with what was likely meant.
func TestNearKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		" HAPROXY_GROUP": "HAPROXY_GROUP", "HAPROXY_GROUP ": "HAPROXY_GROUP", "\tHAPROXY_0_VHOST\n": "HAPROXY_0_VHOST", "HAPROXY_1 _VHOST": "HAPROXY_1_VHOST",
		"\u00a0HAPROXY_GROUP": "HAPROXY_GROUP", "HAPROXY_GROUP\u200b": "HAPROXY_GROUP", "\ufeffRELAY_1_TIMEOUT": "RELAY_1_TIMEOUT", `"HAPROXY_GROUP"`: "HAPROXY_GROUP",
		"НАРRОХУ_GROUP": "HAPROXY_GROUP", "HAPROXY_1_VHОST": "HAPROXY_1_VHOST", "ＨＡＰＲＯＸＹ_１_PATH": "HAPROXY_1_PATH", "HAPROXY＿GROUP": "HAPROXY_GROUP",
		"haproxy_group": "HAPROXY_GROUP", "Haproxy_1_Vhost": "HAPROXY_1_VHOST", "HAProxy_Group": "HAPROXY_GROUP", "relay_1_timeout": "RELAY_1_TIMEOUT", "HAPROXY_01_VHOST": "HAPROXY_1_VHOST",
		"HAPROXY_DEPLOYMENT_Group": "HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT_GRUOP": "HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT-GROUP": "HAPROXY_DEPLOYMENT_GROUP",
		"HAPROXY_DEPLOYMENT_STARTEDAT": "HAPROXY_DEPLOYMENT_STARTED_AT", " HAPROXY_DEPLOYMENT_GROUP": "HAPROXY_DEPLOYMENT_GROUP",
		"HAPOXY_GROUP": "HAPROXY_GROUP", "HAPROXI_1_VHOST": "HAPROXY_1_VHOST", "HARPOXY_GROUP": "HAPROXY_GROUP", "HAPRXY_1_GROUP": "HAPROXY_1_GROUP", "APROXY_GROUP": "HAPROXY_GROUP",
		"HPOXY_1_VHOST": "HAPROXY_1_VHOST", "HAPOXY_1_VHOSTS": "HAPROXY_1_VHOST", "hapoxy.group": "HAPROXY_GROUP", "HAPR0XY_GROUP": "HAPROXY_GROUP", "HAPROXYS_FOO": "HAPROXY_GROUP",
		"HAPROXY0_VHOST": "HAPROXY_0_VHOST", "HAPROXY1_VHOST": "HAPROXY_1_VHOST", "HAPROXY_1VHOST": "HAPROXY_1_VHOST", "HAPROXY1VHOST": "HAPROXY_1_VHOST", "HAPROXY1_VHOSTS": "HAPROXY_1_VHOST",
		"HAPROXY-1-VHOST": "HAPROXY_1_VHOST", "HAPROXY.1.VHOST": "HAPROXY_1_VHOST", "HAPROXY-1_REDIRECT_TO_HTTPS": "HAPROXY_1_REDIRECT_TO_HTTPS", "HAPROXY/GROUP": "HAPROXY_GROUP",
		"HAPROXY-GROUP": "HAPROXY_GROUP", "HAPROXYGROUP": "HAPROXY_GROUP", "haproxy-group": "HAPROXY_GROUP", "haproxy.1.vhost": "HAPROXY_1_VHOST", "HAPROXY-1-GROUP": "HAPROXY_1_GROUP",
		"HAPROXY 1 VHOST": "HAPROXY_1_VHOST", "HAPROXY-1-VHOSTS": "HAPROXY_1_VHOST", "HAPROXY-web-VHOST": "HAPROXY_web_VHOST", "HAPROXY-my-port-VHOST": "HAPROXY_my-port_VHOST",
		"HA_PROXY_GROUP": "HAPROXY_GROUP", "HA_PROXY_1_VHOST": "HAPROXY_1_VHOST", "HA-PROXY-1-VHOST": "HAPROXY_1_VHOST", "HAPROXY__GROUP": "HAPROXY_GROUP", "HAPROXY__1__VHOST": "HAPROXY_1_VHOST",
		"_HAPROXY_GROUP": "HAPROXY_GROUP", "HAPROXY_1-VHOST": "HAPROXY_1_VHOST", "HAPROXY_VHOST": "HAPROXY_0_VHOST", " HAPROXY_VHOST": "HAPROXY_0_VHOST", " HAPROXY_1_VHOSTS": "HAPROXY_1_VHOST",
		"RELAY1_TIMEOUT": "RELAY_1_TIMEOUT", "RELAY-1-TIMEOUT": "RELAY_1_TIMEOUT", "RELY_1_TIMEOUT": "RELAY_1_TIMEOUT", "RELAYS_1_TLS": "RELAY_1_TLS", "RELAY_TIMEOUT": "RELAY_0_TIMEOUT", "RELAY1_TIMOUT": "RELAY_1_TIMEOUT",
		"MARATHON-ACME_1_DOMAIN": "MARATHON_ACME_1_DOMAIN", "MARATHONACME_1_DOMAIN": "MARATHON_ACME_1_DOMAIN", "MARATHON_ACME1_DOMAIN": "MARATHON_ACME_1_DOMAIN", "MARATHON_AMCE_1_DOMAIN": "MARATHON_ACME_1_DOMAIN",
		"marathon-acme.1.domain": "MARATHON_ACME_1_DOMAIN", "MARATHON_ACME_DOMAIN": "MARATHON_ACME_0_DOMAIN", " MARATHON_ACME_1_DOMAIN": "MARATHON_ACME_1_DOMAIN",
	} {
		for _, declared := range [][]DeclaredPort{nil, {{Name: "web"}, {Name: "my-port"}}} {
			if declared == nil && strings.Contains(want, "web") || declared == nil && strings.Contains(want, "my-port") {
				continue
			}
			got := Read(map[string]string{key: "x"}, declared).Problems
			if len(got) != 1 || got[0].Subject != sources.Clip(key) || !strings.Contains(got[0].Reason, "did you mean "+want) {
				t.Errorf("%q: problems %q, want one with %s", key, got, want)
			}
		}
	}
	for key, want := range map[string]string{" HAPROXY_GROUP": `" HAPROXY_GROUP"`, "\u00a0HAPROXY_GROUP": `"\u00a0HAPROXY_GROUP"`, "HАPROXY_GROUP": `"H\u0410PROXY_GROUP"`} {
		if got := Read(map[string]string{key: "x"}, nil).Problems; !strings.HasSuffix(got[0].Reason, "As it is written, it is "+want) {
			t.Errorf("%q: problems %q, want %s", key, got, want)
		}
	}
}

// TestKeysOfOthers holds that the labels of other programs are no problem, nor what the tools
// of marathon-lb note for themselves.
func TestKeysOfOthers(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"", " ", "traefik.enable", "traefik.http.routers.haproxy.rule", "traefik.http.routers.relay-0-timeout.rule", "traefik.frontend.rule", "DCOS_PACKAGE_NAME", "DCOS_PACKAGE_METADATA",
		"DCOS_SERVICE_NAME", "DCOS_SERVICE_PORT_INDEX", "DCOS_SERVICE_SCHEME", "MARATHON_SINGLE_INSTANCE_APP", "MARATHON_ACTIVE", "PROXY_X", "PROXY_GROUP", "PROXY_0_VHOST", "HAPPY_X", "HAPPY_GROUP",
		"HAPROXY", "haproxy", "haproxy-exporter", "haproxy.exporter.port", "haproxy.port", "haproxy-auth", "haproxy.http.mode", "haproxy.enabled", "HAPROXIED", "relay", "relay.tls", "relay-timeout", "RELAYED_BY",
		"DELAY_0_TIMEOUT", "REPLAY_TIMEOUT", "DISPLAY_0_TLS", "com.example/relay", "io.haproxy.group", "GROUP", "VHOST", "0_VHOST", "team", "prometheus.io/port", "日本語", "\xff\xfe",
		"HAPROXY_APP_ID", "haproxy_app_id", "HAPROXY_DEPLOYMENT_COLOUR", "HAPROXY_DEPLOYMENT_ALT_PORT", "HAPROXY_DEPLOYMENT_NEW_INSTANCES", "HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES",
		"HAPROXY_DEPLOYMENT_PREVIOUS_VERSION", "HAPROXY_0_HTTP_FRONTEND_ACL_WITH_PATH", "BAMBOO_0_VHOST", "NGINX_0_VHOST", "CONSUL_GROUP", "VIP_0",
	} {
		if got := Read(map[string]string{key: ""}, []DeclaredPort{{Name: "web"}}).Problems; len(got) > 0 {
			t.Errorf("%q: problems %q", key, got)
		}
	}
}

// TestManyNearKeys holds that keys are told once, in order, and only so many, and what they
// cost together.
func TestManyNearKeys(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond * cputest.Slow
	long := strings.Repeat("x", 1<<20)
	for name, format := range map[string]string{
		"near": " HAPROXY_%05d_VHOST", "mistyped": "HAPOXY_%05d_FOO", "hyphens": "HAPROXY-" + strings.Repeat("a-", 200) + "%05d", "spaces": strings.Repeat(" ", 300) + "%05d",
		"others": strings.Repeat("é", 150) + "%05d", "long": "HAPOXY_%05d" + strings.Repeat("_VHOST", 100),
	} {
		labels := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test"}
		for i := range 10_000 {
			labels[fmt.Sprintf(format, i)] = long
		}
		var got App
		best := time.Duration(math.MaxInt64)
		for range 5 { // garbage may be collected meanwhile
			best = min(best, cputest.Thread(func() { got = Read(labels, []DeclaredPort{{Name: "a"}}) }))
			if best <= limit {
				break
			}
		}
		if best > limit {
			t.Errorf("%s: takes %s", name, best)
		}
		if len(got.Ports[0].Domains) != 1 || len(got.Problems) > maxUnknown+1 {
			t.Errorf("%s: %d domains, %d problems", name, len(got.Ports[0].Domains), len(got.Problems))
		}
		if told := name == "near" || name == "mistyped" || name == "long"; told != (len(got.Problems) == maxUnknown+1) || told && !strings.Contains(got.Problems[0].Reason, "9980 more") {
			t.Errorf("%s: problems %.300q", name, got.Problems)
		}
	}
}
