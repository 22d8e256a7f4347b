package collator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/credentials"
	"relay/sources"
	"relay/sources/labels"
	"relay/xds"
)

// labelCases have a golden file for each label.
func labelCases(t testing.TB) []goldenCase {
	cluster, scope := []xds.Type{xds.Cluster}, []xds.Type{xds.Scope}
	both := []xds.Type{xds.Cluster, xds.Scope}
	var cases []goldenCase
	// The golden file shows the resources of these types.
	one := func(name string, types []xds.Type, settings ...string) {
		cases = append(cases, goldenCase{name: "label_" + name, types: types,
			apps: []*sources.App{set(t, webApp("/shop/web", "shop.test"), settings...)}})
	}
	one("path", scope, "PATH=/api /v2")
	one("path_any_case", scope, "PATH=-i /Api")
	one("path_unusable", scope, "PATH=api")
	one("balance_roundrobin", cluster, "BALANCE=roundrobin")
	one("balance_leastconn", cluster, "BALANCE=leastconn")
	one("balance_random", cluster, "BALANCE=random")
	one("balance_source", both, "BALANCE=source")
	one("balance_uri", both, "BALANCE=uri")
	one("balance_uri_whole", both, "BALANCE=uri whole")
	one("balance_hdr", both, "BALANCE=hdr(X-User)")
	one("balance_url_param", both, "BALANCE=url_param user")
	one("sticky", both, "STICKY=true")
	one("use_hsts", scope, "USE_HSTS=true")
	one("rate_limits", scope, "RATE_LIMIT=100/s burst 200", "RATE_LIMIT_PER_CLIENT=10/m")
	one("rate_limit_by_header", scope, "RATE_LIMIT_PER_CLIENT=10/s burst 20 by header X-Api-Key")
	one("max_request", scope, "MAX_REQUEST_BODY=10MB", "MAX_REQUEST_HEADERS=16kB")
	one("auth", scope, "AUTH=My realm:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")
	one("auth_crypt", scope, "AUTH=r:joe:$6$x")
	one("auth_relay", scope, "AUTH=My realm:joe:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1")
	one("network_allowed_acl", scope, "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8 127.0.0.1 fd00::/8")
	one("proxypass_path", scope, "HTTP_BACKEND_PROXYPASS_PATH=/a.b")
	one("redir", scope, "HTTP_BACKEND_REDIR=/app")
	one("revproxy_path", scope, "HTTP_BACKEND_REVPROXY_PATH=/app")
	one("queue", scope, "CONCURRENCY=1", "QUEUE=40", "QUEUE_TIMEOUT=5s")
	one("timeout", scope, "TIMEOUT=90s")
	one("idle_timeout", scope, "IDLE_TIMEOUT=0s")
	one("max_stream_duration", scope, "MAX_STREAM_DURATION=24h")
	one("connect_timeout", cluster, "CONNECT_TIMEOUT=250ms")
	one("retries", scope, "NUM_RETRIES=5", "RETRY_ON=5xx reset")
	one("no_retries", scope, "NUM_RETRIES=0")
	one("limits", cluster, "MAX_CONNECTIONS=1", "MAX_PENDING_REQUESTS=2", "MAX_REQUESTS=3")
	one("tls", cluster, "TLS=true", "TLS_SNI=app.internal", "TLS_VERIFY=false")
	one("tls_without_authorities", both, "TLS=true", "PATH=/x")
	one("http2", cluster, "HTTP2=true", "TLS=true", "TLS_VERIFY=false")
	one("headers", scope, "REQUEST_HEADERS_TO_ADD=X-A: 100%\nX-B: b", "REQUEST_HEADERS_TO_REMOVE=X-C", "RESPONSE_HEADERS_TO_ADD=X-D: d", "RESPONSE_HEADERS_TO_REMOVE=X-E")
	one("hash_policy", both, "HASH_POLICY=cookie user")
	one("hash_policy_segment", both, "HASH_POLICY=path_segment 2")
	one("hash_policy_subdomain", both, "HASH_POLICY=subdomain")
	one("proxy_protocol", cluster, "PROXY_PROTOCOL=v2", "TLS=true", "TLS_VERIFY=false")
	listeners := []xds.Type{xds.Cluster, xds.Listener, xds.Scope}
	one("tcp", listeners, "MODE=tcp", "PORT=5432", "IDLE_TIMEOUT=0s", "NUM_RETRIES=0")
	one("tcp_bind", listeners, "MODE=tcp", "PORT=5432", "BIND_ADDR=10.0.0.5", "BIND_OPTIONS=accept-proxy", "BALANCE=source")
	one("tcp_network_allowed_acl", listeners, "MODE=tcp", "PORT=5432", "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8 fd00::/8")
	one("tcp_closed", listeners, "MODE=tcp", "PORT=5432", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")
	one("tcp_reserved", listeners, "MODE=tcp", "PORT=443")
	one("tcp_tls", listeners, "MODE=tcp", "PORT=5432", "TLS=true", "TLS_VERIFY=false", "TLS_SNI=db.internal")
	one("tls_passthrough", listeners, "TLS_PASSTHROUGH=true", "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8")
	one("accept_rate", append(listeners, xds.ExtensionConfig), "MODE=tcp", "PORT=5432", "ACCEPT_RATE=50/s", "ADDRESS_RATE=20/s")
	cases = append(append(cases, connectionCases(t)...), shapingCases(t)...)
	one("tls_terminate", listeners, "TLS_TERMINATE=true", "PORT=8883", "TLS_PROFILE=old", "PROXY_PROTOCOL=v2")
	secrets := []xds.Type{xds.Cluster, xds.Listener, xds.Secret}
	one("client_ca", secrets, "TLS_TERMINATE=true", "PORT=8883", "BIND_OPTIONS=accept-proxy", "CLIENT_CA=devices", "CLIENT_SAN=uri:spiffe://lab.test/tenant/acme/* dns:dev1.test email:a@lab.test")
	one("client_certificates", secrets, "TLS_TERMINATE=true", "PORT=8883", "TLS_PROFILE=modern", "CLIENT_CA=devices", "CLIENT_CERTIFICATES=optional")
	one("redis", append(listeners, xds.Endpoint), "PROTOCOL=redis", "PORT=6379", "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8", "CONNECT_TIMEOUT=1s")
	one("redis_passwords", listeners, "PROTOCOL=redis", "PORT=6379", "TLS_TERMINATE=true", "REDIS_PASSWORD=cache-clients", "REDIS_SERVER_PASSWORD=cache-servers",
		"REDIS_PREFIXES=other: /other/cache\nsess: /shop/sessions:1")
	one("redis_closed", listeners, "PROTOCOL=redis", "PORT=6379", "REDIS_PASSWORD=none")
	one("probe", both, "PROBE=/health 200")
	one("used_by", both, "USED_BY=/billing/*")
	one("auth_app_missing", scope, "AUTH_APP=/platform/sso")
	matched := set(t, webApp("/shop/web", "shop.test"), "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "BACKEND_WEIGHT=1")
	cases = append(cases, goldenCase{name: "matches", types: scope, apps: []*sources.App{webApp("/shop/other", "shop.test"), changed(matched, func(p *sources.Port) {
		h := *p.HTTP
		h.Match, h.Paths = collatortest.Matches(), []sources.Path{{Prefix: "/x/", Pattern: "/x/[0-9]+"}, {Prefix: "/y", Exact: true}}
		p.HTTP = &h
	})}})
	cases = append(cases, oidcCases(t)...)
	return append(cases, labelCasesOfFleets(t)...)
}

// oidcCases are about log-ins.
func oidcCases(t testing.TB) []goldenCase {
	least := []string{"OIDC_CLIENT_ID=web", "OIDC_CLIENT_SECRET=oidc", "OIDC_AUTHORIZATION_ENDPOINT=https://id.test/authorize", "OIDC_TOKEN_ENDPOINT=https://id.test/token"}
	most := append([]string{"OIDC_END_SESSION_ENDPOINT=https://id.test/logout", "OIDC_SCOPES=email offline_access", "OIDC_CALLBACK_PATH=/done", "OIDC_SIGN_OUT_PATH=/bye",
		"OIDC_CLIENT_AUTH=post", "OIDC_FORWARD_TOKEN=true"}, least...)
	types := []xds.Type{xds.Cluster, xds.Scope, xds.Secret}
	secret := []*credentials.Credential{{Source: "dir", Path: "shop/oidc", Value: []byte("secret-of-the-client")}}
	fleet := func(f *routing.Fleet) { f.ExternalCA = testCA }
	return []goldenCase{
		{name: "label_oidc", types: types, fleet: fleet, credentials: secret, apps: []*sources.App{set(t, webApp("/shop/web", "shop.test"), least...)}},
		{name: "label_oidc_options", types: types, fleet: fleet, credentials: secret, apps: []*sources.App{set(t, webApp("/shop/web", "shop.test", "*.shop.test"), most...)}},
		{name: "label_oidc_without_secret", types: types, fleet: fleet, apps: []*sources.App{set(t, webApp("/shop/web", "shop.test"), least...)}},
	}
}

// connectionCases are about connections to TCP services that stay for long.
func connectionCases(t testing.TB) []goldenCase {
	listeners := []xds.Type{xds.Cluster, xds.Listener, xds.Scope}
	one := func(name string, types []xds.Type, settings ...string) goldenCase {
		return goldenCase{name: "label_" + name, types: types, apps: []*sources.App{set(t, webApp("/imp/devices"), settings...)}}
	}
	shed := one("rebalance_ends", []xds.Type{xds.Endpoint}, "PORT=8883", "REBALANCE=10%/min")
	held := func(name string, settings ...string) goldenCase {
		c := one(name, []xds.Type{xds.Endpoint, xds.ExtensionConfig}, settings...)
		c.apps[0] = changed(c.apps[0], func(p *sources.Port) { p.Endpoints[0].Health = sources.Draining })
		return c
	}
	shed.apps[0] = changed(shed.apps[0], func(p *sources.Port) { p.Endpoints[0].Shed = sources.Shed{Percent: 2.5, Before: 1796047029} })
	return []goldenCase{
		one("max_connection_age", listeners, "PORT=8883", "MAX_CONNECTION_AGE=24h"),
		one("hold", append(listeners, xds.ExtensionConfig), "MODE=tcp", "PORT=5432", "HOLD=30s"),
		held("hold_without_instance", "MODE=tcp", "PORT=5432", "HOLD=30s"),
		one("tls_alpn", listeners, "TLS_TERMINATE=true", "PORT=5432", "TLS_ALPN=postgresql"),
		one("rebalance", listeners, "PORT=8883", "REBALANCE=10%/min"), shed,
	}
}

// labelCasesOfFleets have options of the fleet, or several apps.
func labelCasesOfFleets(t testing.TB) []goldenCase {
	both, scope := []xds.Type{xds.Cluster, xds.Scope}, []xds.Type{xds.Scope}
	listeners := []xds.Type{xds.Cluster, xds.Listener, xds.Scope}
	ca := func(f *routing.Fleet) { f.UpstreamCA = testCA }
	return []goldenCase{
		goldenCase{name: "label_auth_app", types: both, apps: []*sources.App{
			set(t, webApp("/shop/web", "shop.test"), "AUTH_APP=/platform/sso /auth", "AUTH_APP_REQUEST_HEADERS=X-Api-Key", "AUTH_APP_RESPONSE_HEADERS=X-User, X-Groups", "AUTH_APP_TIMEOUT=2s"),
			set(t, webApp("/platform/sso"), "USED_BY=/shop/*")}},
		goldenCase{name: "label_auth_app_asleep", types: both, fleet: func(f *routing.Fleet) { f.Scaling = true }, apps: []*sources.App{
			set(t, webApp("/shop/web", "shop.test"), "AUTH_APP=/shop/sso", "IDLE_TIMEOUT=5s"), asleep(webApp("/shop/sso"))}},
		goldenCase{name: "label_jwt", types: both, fleet: func(f *routing.Fleet) { f.ExternalCA = testCA }, apps: []*sources.App{
			set(t, webApp("/shop/web", "shop.test"), "JWT_ISSUER=https://login.test", "JWT_JWKS=https://login.test/keys", "JWT_AUDIENCES=shop admin", "JWT_CLAIMS_TO_HEADERS=sub: X-User, realm.roles: X-Roles")}},
		goldenCase{name: "label_tcp_on_demand", types: listeners, apps: []*sources.App{set(t, webApp("/db"), "MODE=tcp", "PORT=5432")},
			fleet: func(f *routing.Fleet) { f.ClustersOnDemand = true }},
		goldenCase{name: "label_tls_verify", types: both, fleet: ca, apps: []*sources.App{set(t, webApp("/shop/web", "shop.test"), "TLS=true", "TLS_SNI=app.internal")}},
		goldenCase{name: "label_tls_verify_host", types: both, fleet: ca, apps: []*sources.App{set(t, webApp("/shop/web", "shop.test"), "TLS=true")}},
		goldenCase{name: "label_cluster_weight", types: scope, apps: []*sources.App{
			set(t, webApp("/a", "shop.test"), "CLUSTER_WEIGHT=90"), set(t, webApp("/b", "shop.test"), "CLUSTER_WEIGHT=10"),
			set(t, webApp("/c", "shop.test"), "CLUSTER_WEIGHT=10", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")}},
		goldenCase{name: "label_backend_weight", types: scope, apps: []*sources.App{
			webApp("/a", "shop.test"), set(t, webApp("/b", "shop.test"), "PATH=/b"), set(t, webApp("/c", "shop.test"), "PATH=/b/c"),
			set(t, webApp("/d", "shop.test"), "PATH=/b/d", "BACKEND_WEIGHT=7"), set(t, webApp("/e", "shop.test"), "BACKEND_WEIGHT=-1")}},
		goldenCase{name: "label_auth_of_a_path", types: scope, apps: []*sources.App{
			webApp("/a", "shop.test"), set(t, webApp("/b", "shop.test"), "PATH=/admin", "BACKEND_WEIGHT=1", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")}},
		goldenCase{name: "label_redirect_with_path", types: scope, apps: []*sources.App{
			changed(set(t, webApp("/a", "shop.test"), "PATH=-i /a", "USE_HSTS=true", "HTTP_BACKEND_REDIR=/x"), func(p *sources.Port) { p.RedirectToHTTPS = true })}},
		goldenCase{name: "label_deployment_group", types: []xds.Type{xds.Cluster, xds.Endpoint, xds.Scope}, apps: []*sources.App{
			member("/web-green", 1, "10.0.0.3:1"), member("/web-blue", 0, "10.0.0.1:1", "10.0.0.2:1")}},
	}
}

// TestLabelsHaveGoldens holds that each setting is in one of the cases above.
func TestLabelsHaveGoldens(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("labels*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, file := range files {
		more, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, more...)
	}
	for _, l := range labels.AllSettings() {
		if !strings.Contains(string(text), `"`+l.Name()+"=") {
			t.Errorf("no golden file has %s: add a line to labelCases", l.Name())
		}
	}
}

func TestDrained(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name              string
		old, fresh        []string
		instances, target int
		want              int
	}{
		{"nothing new", []string{"a", "b"}, nil, 2, 2, 0},
		{"as many as are too many", []string{"a", "b"}, []string{"n"}, 2, 2, 1},
		{"room for both", []string{"a", "b"}, []string{"n"}, 2, 3, 0},
		{"all new", []string{"a", "b"}, []string{"n", "m"}, 2, 2, 2},
		{"no target", []string{"a", "b", "c"}, []string{"n"}, 3, 0, 1},
		{"old ones gone already", nil, []string{"n", "m"}, 0, 2, 0},
		{"fewer wanted", []string{"a", "b", "c"}, []string{"n"}, 3, 1, 1},
	}
	for _, tt := range tests {
		app := func(tasks []string) *sources.App {
			port := sources.Port{}
			for _, task := range tasks {
				port.Endpoints = append(port.Endpoints, sources.Endpoint{Task: task})
			}
			return &sources.App{Ports: []sources.Port{port, port}, Deployment: &sources.Deployment{Instances: tt.instances, TargetInstances: tt.target}}
		}
		got := sources.DrainedInDeployment([]*sources.App{app(tt.old), app(tt.fresh)})
		if len(got) != tt.want {
			t.Errorf("%s: %v drain, want %d", tt.name, got, tt.want)
		}
		for i, task := range tt.old {
			if got[task] != (i < tt.want) {
				t.Errorf("%s: not the first tasks drain: %v", tt.name, got)
			}
		}
	}
}

// Endpoints stay a matter of endpoints, whatever labels an app has.
func TestEndpointChangesWithLabels(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	build := func(address string) []*sources.App {
		app := set(t, webApp("/a", "a.test"), "PATH=/x", "STICKY=true", "BALANCE=uri", "MAX_REQUESTS=1", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")
		return []*sources.App{
			changed(app, func(p *sources.Port) { p.Endpoints = endpoints(address) }),
			member("/blue", 0, address), member("/green", 1, "10.1.0.1:1"),
		}
	}
	syncApps(c, build("10.0.0.1:1")...)
	r.Touched()
	syncApps(c, build("10.0.0.2:1")...)
	wantTouched(t, r, `set endpoints "/a_0"`, `set endpoints "deployment-group/web_0"`)
	cluster := set(t, build("10.0.0.2:1")[0], "MAX_REQUESTS=2")
	updateApps(c, cluster)
	wantTouched(t, r, `set clusters "/a_0"`, `set scopes "a.test"`)
}

// A group keeps its cluster while its apps come and go.
func TestDeploymentGroupIsStable(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	c, r := newTest(t, cfg)
	syncApps(c, member("/blue", 0, "10.0.0.1:1"), webApp("/web", "other.test"))
	r.Touched()
	updateApps(c, member("/green", 1, "10.0.0.2:1"))
	c.UpdateApps(nil, []string{"/blue"})
	c.round()
	wantTouched(t, r, `set endpoints "deployment-group/web_0"`, `set endpoints "deployment-group/web_0"`)
	// Another group, then none.
	elsewhere := member("/green", 1, "10.0.0.2:1")
	elsewhere.Deployment.Group = "else"
	updateApps(c, elsewhere)
	wantTouched(t, r, `set clusters "deployment-group/else_0"`, `set endpoints "deployment-group/else_0"`, `set scopes "web.test"`,
		`remove clusters "deployment-group/web_0"`, `remove endpoints "deployment-group/web_0"`)
	elsewhere = member("/green", 1, "10.0.0.2:1")
	elsewhere.Deployment = nil
	updateApps(c, elsewhere)
	if view, _ := c.App("/green"); view.Ports[0].Cluster != "/green_0" {
		t.Errorf("the cluster is %q", view.Ports[0].Cluster)
	}
	if len(c.deployments) != 0 {
		t.Errorf("groups are left: %v", c.deployments)
	}
	wantSameAsFresh(t, c, r, cfg)
}

// A clash of a group is a problem of its apps.
func TestProblemsOfGroups(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	syncApps(c, webApp("/first", "web.test"), member("/blue", 0, "10.0.0.1:1"))
	view, ok := c.App("/blue")
	if !ok || len(view.Problems) != 1 || !strings.Contains(view.Problems[0].Reason, "/first") {
		t.Errorf("problems are %+v", view.Problems)
	}
}
