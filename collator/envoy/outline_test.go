package envoy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/collator/collatortest"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// The outline of an app's resources says what its labels made of Envoy, in the order in which Envoy does it, and nothing secret.
func TestOutline(t *testing.T) {
	t.Parallel()
	group := []string{"external"}
	web := &sources.App{ID: "/shop/web", Ports: []sources.Port{{Groups: group, Domains: []string{"shop.test"},
		HTTP: &sources.HTTP{
			Paths: []sources.Path{{Prefix: "/admin"}}, Order: 1, Sticky: true,
			BasicAuth:       &sources.BasicAuth{Realm: "r", User: "joe", Hash: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
			AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		},
		Upstream: &sources.Upstream{Balance: sources.BalanceRoundRobin, MaxRequests: 3}}}}
	zoo := &sources.App{ID: "/shop/zoo", Ports: []sources.Port{{Groups: group, Domains: []string{"shop.test"}}}}
	db := &sources.App{ID: "/shop/db", Ports: []sources.Port{{Groups: group, TCP: &sources.TCP{Port: 5432}}}}
	fleet := routing.Fleet{Name: "external", HTTP: netip.MustParseAddrPort("127.0.0.1:80"), HTTPS: netip.MustParseAddrPort("127.0.0.1:443"), Options: routing.DefaultOptions()}
	apps := []*sources.App{web, zoo, db}
	store, c := storeOf(t, fleet, apps, []*certs.Certificate{collatortest.Certificate("shop.test", "a", "shop.test", "other.test"), collatortest.Certificate("far.test", "b", "far.test")})
	flushed(t, c)
	outline := func(key xds.Key, cluster string) string {
		t.Helper()
		body := store.Bodies([]xds.Key{key})[0]
		if body == nil {
			t.Fatalf("there is no %v", key)
		}
		return strings.Join(envoy.Outline(key.Type, body, func(name string) bool { return name == cluster }), "\n")
	}
	shop := routing.ClusterName("/shop/web", 0)
	scope := outline(xds.Key{Type: xds.Scope, Name: "shop.test"}, shop)
	want := "/admin* → rbac, basic_auth, stateful_session → cluster " + shop
	if lines := strings.Split(scope, "\n"); lines[0] != want || len(lines) != 2 || !strings.HasPrefix(lines[1], "paths like ") || !strings.HasSuffix(lines[1], "cluster "+shop) {
		t.Errorf("got %s", scope)
	}
	if strings.Contains(scope, "W6ph5") {
		t.Error("the outline has the hash of a password")
	}
	if got := outline(xds.Key{Type: xds.Scope, Name: "shop.test"}, routing.ClusterName("/shop/zoo", 0)); got != "/* → cluster "+routing.ClusterName("/shop/zoo", 0) {
		t.Errorf("got %s", got)
	}
	zoo.Ports[0].HTTP = &sources.HTTP{RequestLimits: &sources.RequestLimits{MaxBody: 1 << 20, MaxHeaders: 2000, Rate: &sources.Rate{Requests: 1, Burst: 1, Per: time.Second}}}
	limited, c := storeOf(t, fleet, apps, nil)
	flushed(t, c)
	body := limited.Bodies([]xds.Key{{Type: xds.Scope, Name: "shop.test"}})[0]
	got := envoy.Outline(xds.Scope, body, func(name string) bool { return name == routing.ClusterName("/shop/zoo", 0) })
	if len(got) != 2 || got[0] != "/*, content-length → answer 413" || !strings.HasPrefix(got[1], "/* → max_headers, rate_limit → max_body → too_large → cluster ") {
		t.Errorf("of an app with limits: %q", got)
	}
	zoo.Ports[0].HTTP = &sources.HTTP{Shaping: &sources.Shaping{
		Redirects: []sources.Redirect{{Path: "/old", Target: "https://new.test/x?token=hunter2", Code: 308}}, Host: "shop.internal", PathRewrite: &sources.PathRewrite{Pattern: "^/v1", Substitution: "/"},
	}, RequestHeaders: sources.HeaderEdits{Add: []sources.Header{{Name: "authorization", Value: "hunter2"}}}}
	shaped, c := storeOf(t, fleet, apps, nil)
	flushed(t, c)
	body = shaped.Bodies([]xds.Key{{Type: xds.Scope, Name: "shop.test"}})[0]
	got = envoy.Outline(xds.Scope, body, func(name string) bool { return name == routing.ClusterName("/shop/zoo", 0) })
	text := strings.Join(got, "\n")
	for _, want := range []string{"redirect 308 to https://new.test/x", "(host_rewrite_literal shop.internal, regex_rewrite, request_headers_to_add authorization)"} {
		if !strings.Contains(text, want) || strings.Contains(text, "hunter2") {
			t.Errorf("of an app that changes requests: %s", text)
		}
	}
	lines := strings.Split(outline(xds.Key{Type: xds.Cluster, Name: shop}, ""), "\n")
	for _, want := range []string{"lb_policy ROUND_ROBIN", "circuit_breakers DEFAULT max_requests 3", "connect_timeout 3s"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is not in %q", want, lines)
		}
	}
	for _, mine := range []bool{true, false} {
		body := store.Bodies([]xds.Key{{Type: xds.Listener, Name: "https"}})[0]
		got := envoy.Outline(xds.Listener, body, func(name string) bool { return mine && name == "shop.test" })
		if want := []string{"shop.test → http_connection_manager"}; !slices.Equal(got, want) && mine || len(got) != 0 && !mine {
			t.Errorf("of the listener of all certificates: %q", got)
		}
	}
	service := outline(xds.Key{Type: xds.Listener, Name: routing.TCPListener(5432)}, "")
	if !strings.HasPrefix(service, "every client → ") || !strings.HasSuffix(service, "tcp_proxy") {
		t.Errorf("got %s", service)
	}
}
