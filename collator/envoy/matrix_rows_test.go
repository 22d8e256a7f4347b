package envoy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
	"relay/sources/labels"
)

// row is something that an app may ask of its requests, and how to tell that it holds.
type row struct {
	name string
	// settings are the labels, and changes what no label of a port says.
	settings []string
	changes  []func(*sources.Port)
	// in is what requests have that are let in.
	in map[string]string
	// shut keeps out requests without it; those with out, if that is set.
	shut bool
	out  map[string]string
	// never lets no request in: when the first of prepare was, if it is set.
	never, prepare bool
	// large keeps out large bodies.
	large bool
	// access is set if who may come in depends on it, and not only how much.
	access bool
	// method and path are those of requests.
	method, path string
	// holds says what is missing where a request was let in.
	holds func(m *matrix, w way, a reply, s *sight) string
	// uses is what only one of two rows can have.
	uses []string

	gated, maintenance bool
	instances          int
	// shares is set if another app with the domain takes the requests, and ofCluster if what holds is not of each app.
	shares, ofCluster bool
}

const (
	authorization = "the header Authorization"
	signOn        = "the way to sign on"
)

// hasHeader holds if answers have a header.
func hasHeader(name, value string) func(*matrix, way, reply, *sight) string {
	return func(_ *matrix, _ way, a reply, _ *sight) string {
		if got := a.header.Get(name); !strings.HasPrefix(got, value) || got == "" {
			return name + " is " + got
		}
		return ""
	}
}

// toldUser holds if the app is told who somebody is, whatever the client says.
func toldUser(_ *matrix, _ way, _ reply, s *sight) string {
	for name, values := range s.header {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-user") && strings.Join(values, ",") != "joe" {
			return name + " is " + strings.Join(values, ",")
		}
	}
	if s.header.Get("X-User") == "" {
		return "the app is not told who it is"
	}
	return ""
}

func jwtSettings(keys string) []string {
	return []string{"JWT_ISSUER=https://login.test", "JWT_JWKS=" + keys, "JWT_AUDIENCES=shop", "JWT_CLAIMS_TO_HEADERS=sub: X-User"}
}

// accessRows say who may come in.
func accessRows(token string) []row {
	basic := func(user, password string) map[string]string {
		return map[string]string{"Authorization": login(user, password).Get("Authorization")}
	}
	bearer := map[string]string{"Authorization": "Bearer " + token}
	forged := map[string]string{"Authorization": "Bearer " + token[:len(token)-8] + "AAAAAAAA", "X-User": "joe"}
	return []row{
		{name: "networks", settings: []string{"BACKEND_NETWORK_ALLOWED_ACL=192.0.2.0/24"}, in: map[string]string{"X-Forwarded-For": "192.0.2.1"}, shut: true,
			out: map[string]string{"X-Forwarded-For": "192.0.2.1, 198.51.100.1"}, access: true},
		{name: "password", settings: []string{"AUTH=Shop:joe:" + sha1Secret}, in: basic("joe", "secret"), shut: true, out: basic("joe", "wrong"), access: true, uses: []string{authorization}},
		{name: "password-relay", settings: []string{"AUTH=Shop:joe:" + sha256Other}, in: basic("joe", "other"), shut: true, out: basic("joe", "wrong"), access: true, uses: []string{authorization}},
		{name: "closed", settings: []string{"AUTH=no hash"}, never: true, access: true, uses: []string{authorization}},
		{name: "auth-app", settings: []string{"AUTH_APP=/matrix/sso /verify", "AUTH_APP_RESPONSE_HEADERS=X-User", "AUTH_APP_REQUEST_HEADERS=X-Api-Key", "AUTH_APP_TIMEOUT=9s"},
			in: map[string]string{"Cookie": "user=joe"}, shut: true, out: map[string]string{"X-User": "joe"}, access: true, holds: toldUser, uses: []string{signOn}},
		{name: "jwt", settings: jwtSettings("keys"), in: bearer, shut: true, out: forged, access: true, holds: toldUser, uses: []string{authorization, signOn}},
		{name: "jwt-remote", settings: jwtSettings("{outside}/keys"), in: bearer, shut: true, out: forged, access: true, holds: toldUser, uses: []string{authorization, signOn}},
		{name: "oidc", settings: []string{"OIDC_CLIENT_ID=web", "OIDC_CLIENT_SECRET=oidc", "OIDC_AUTHORIZATION_ENDPOINT={outside}/authorize", "OIDC_TOKEN_ENDPOINT={outside}/token"},
			never: true, access: true, uses: []string{signOn}},
		{name: "maintenance", maintenance: true, never: true, shares: true},
		{name: "match", changes: []func(*sources.Port){handled(func(h *sources.HTTP) {
			h.Match = []sources.Match{{Headers: []sources.FieldMatch{{Name: "x-canary", Value: "yes"}}}}
		})}, in: map[string]string{"X-Canary": "yes"}, shut: true, shares: true},
	}
}

// handled changes how requests are handled.
func handled(change func(*sources.HTTP)) func(*sources.Port) {
	return func(p *sources.Port) {
		var own sources.HTTP
		if p.HTTP != nil {
			own = *p.HTTP
		}
		change(&own)
		p.HTTP = &own
	}
}

// limitRows bound what is asked for.
func limitRows() []row {
	return []row{
		{name: "rate", settings: []string{"RATE_LIMIT=1/d"}, never: true, prepare: true, uses: []string{"RATE_LIMIT"}},
		{name: "rate-client", settings: []string{"RATE_LIMIT_PER_CLIENT=1/d by header X-Key"}, in: map[string]string{"X-Key": "{id}"}, shut: true, out: map[string]string{"X-Key": "spent"}, prepare: true},
		{name: "rate-service", settings: []string{"RATE_LIMIT=1000000/s"}, never: true, uses: []string{"RATE_LIMIT"}},
		{name: "body", settings: []string{"MAX_REQUEST_BODY=1kB"}, large: true},
		{name: "headers", settings: []string{"MAX_REQUEST_HEADERS=8kB"}, shut: true, out: map[string]string{"X-Long": strings.Repeat("l", 9000)}},
		{name: "fault", settings: []string{"FAULT=delay 1ms 100%, abort 418 100%"}, never: true},
	}
}

// shapingRows change requests and answers.
func shapingRows() []row {
	unlessStream := func(holds func(*matrix, way, reply, *sight) string) func(*matrix, way, reply, *sight) string {
		return func(m *matrix, w way, a reply, s *sight) string {
			if w.socket || w.grpc {
				return ""
			}
			return holds(m, w, a, s)
		}
	}
	return []row{
		{name: "compress", settings: []string{"COMPRESS=gzip"}, in: map[string]string{"Accept-Encoding": "gzip"}, holds: unlessStream(hasHeader("Content-Encoding", "gzip"))},
		{name: "cors", settings: []string{"CORS_ORIGINS=https://a.test http://*.b.test", "CORS_METHODS=PUT", "CORS_HEADERS=*", "CORS_EXPOSE_HEADERS=X-Total", "CORS_CREDENTIALS=true", "CORS_MAX_AGE=1h"},
			in: map[string]string{"Origin": "http://x.b.test"}, holds: hasHeader("Access-Control-Allow-Origin", "http://x.b.test")},
		{name: "mirror", settings: []string{"MIRROR=/matrix/copy 100%"}, holds: unlessStream(copied)},
		{name: "redirect", settings: []string{"REDIRECT=/* -> https://other.test/*"}, never: true},
		{name: "rewrite", settings: []string{"PATH_REWRITE=/(.*) -> /new/\\1"}, holds: func(_ *matrix, _ way, _ reply, s *sight) string {
			if !strings.HasPrefix(s.uri, "/new/x/y?q=1") {
				return "the path is " + s.uri
			}
			return ""
		}, uses: []string{"the path"}},
		{name: "host-rewrite", settings: []string{"HOST_REWRITE=inner.test:81"}, holds: func(_ *matrix, _ way, _ reply, s *sight) string {
			if s.host != "inner.test:81" {
				return "the host is " + s.host
			}
			return ""
		}},
		{name: "strip", settings: []string{"HTTP_BACKEND_PROXYPASS_PATH=/x"}, holds: func(_ *matrix, _ way, _ reply, s *sight) string {
			if s.uri != "/y?q=1" {
				return "the path is " + s.uri
			}
			return ""
		}, uses: []string{"the path"}},
		{name: "root", settings: []string{"HTTP_BACKEND_REDIR=/app"}, never: true, path: "/", uses: []string{"the path"}},
		{name: "location", settings: []string{"HTTP_BACKEND_REVPROXY_PATH=/app"}, holds: hasHeader("Location", "/app/there")},
		{name: "sticky", settings: []string{"STICKY=true"}, holds: hasHeader("Set-Cookie", "mesosphere_server_id"), uses: []string{"the instance"}},
		{name: "sticky-header", settings: []string{"STICKY_HEADER=X-Session"}, holds: hasHeader("X-Session", ""), uses: []string{"the instance"}},
		{name: "subdomain", settings: []string{"HASH_POLICY=subdomain"}, instances: 3, ofCluster: true, holds: sameInstance, uses: []string{"the instance"}},
		{name: "hsts", settings: []string{"USE_HSTS=true"}, holds: func(_ *matrix, w way, a reply, _ *sight) string {
			if w.tls && a.header.Get("Strict-Transport-Security") == "" {
				return "there is no Strict-Transport-Security"
			}
			return ""
		}},
		{name: "change-headers", settings: []string{"REQUEST_HEADERS_TO_ADD=X-Told: 1", "REQUEST_HEADERS_TO_REMOVE=X-Secret", "RESPONSE_HEADERS_TO_ADD=X-Said: 1", "RESPONSE_HEADERS_TO_REMOVE=X-Gone"},
			in: map[string]string{"X-Secret": "s", "X-Told": "no"}, holds: func(_ *matrix, _ way, a reply, s *sight) string {
				if a.header.Get("X-Said") != "1" || a.header.Get("X-Gone") != "" || s.header.Get("X-Told") != "1" || s.header.Get("X-Secret") != "" {
					return "headers are as sent"
				}
				return ""
			}},
		{name: "queue", settings: []string{"CONCURRENCY=1000", "QUEUE=10", "QUEUE_TIMEOUT=9s"}, ofCluster: true, holds: func(m *matrix, _ way, _ reply, s *sight) string {
			if _, asked := m.asked.Load(s.app); !asked {
				return "the queue was not asked"
			}
			return ""
		}, uses: []string{"the instance"}},
		{name: "wake", gated: true, ofCluster: true, holds: func(m *matrix, _ way, _ reply, s *sight) string {
			if !slices.ContainsFunc(m.waker.asked(), func(c check) bool { return c.app == s.app }) {
				return "Relay was not asked"
			}
			return ""
		}, uses: []string{"the instance"}},
	}
}

// copied holds when the other app was sent a copy. A body that does not say its length is not copied, as its request
// would wait for the copy.
func copied(m *matrix, w way, a reply, _ *sight) string {
	if w.chunked && !w.grpc {
		return ""
	}
	for deadline := time.Now().Add(patience); m.sightOf(a.id, "/matrix/copy") == nil; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return "no copy was sent"
		}
	}
	return ""
}

// sameInstance holds if all requests to a host, however it is written, get the same instance.
func sameInstance(m *matrix, _ way, a reply, s *sight) string {
	label, _, _ := strings.Cut(strings.ToLower(a.host), ".")
	if first, _ := m.asked.LoadOrStore(s.app+" of "+label, s.instance); first != s.instance {
		return "another instance"
	}
	return ""
}

func allRows(token string) []row { return slices.Concat(accessRows(token), limitRows(), shapingRows()) }

// elsewhere are the settings without a row, as no filter of a route does what they ask for, and what they do cannot be got around.
var elsewhere = map[string]string{
	"BALANCE": "of the cluster", "CONNECT_TIMEOUT": "of the cluster", "HTTP2": "of the cluster", "MAX_CONNECTIONS": "of the cluster", "MAX_PENDING_REQUESTS": "of the cluster",
	"MAX_REQUESTS": "of the cluster", "OUTLIER_DETECTION": "of the cluster", "PROXY_PROTOCOL": "of the cluster", "TLS": "of the cluster", "TLS_SNI": "of the cluster", "TLS_VERIFY": "of the cluster",
	"PRIORITY": "of the cluster's limits", "IDLE_TIMEOUT": "of the route", "MAX_STREAM_DURATION": "of the route", "NUM_RETRIES": "of the route", "RETRY_ON": "of the route", "TIMEOUT": "of the route",
	"PATH": "TestMatrixOfPaths", "BACKEND_WEIGHT": "TestMatrixOfPaths", "CLUSTER_WEIGHT": "TestMatrixOfShares", "MODE": "no HTTP", "PROBE": "no request of a client", "USED_BY": "of the app named",
	"OIDC_END_SESSION_ENDPOINT": "after a log-in", "OIDC_SCOPES": "after a log-in", "OIDC_CALLBACK_PATH": "after a log-in", "OIDC_SIGN_OUT_PATH": "after a log-in", "OIDC_CLIENT_AUTH": "after a log-in",
	"OIDC_FORWARD_TOKEN": "after a log-in",
}

// TestMatrixHasAllLabels holds that what is true of one label is tried with each.
func TestMatrixHasAllLabels(t *testing.T) {
	t.Parallel()
	rows := make(map[string]bool)
	for _, r := range allRows("a token of some length") {
		for _, s := range r.settings {
			name, _, _ := strings.Cut(s, "=")
			rows[name] = true
		}
	}
	for _, l := range labels.AllSettings() {
		_, without := elsewhere[l.Name()]
		switch {
		case l.TCPOnly() || l.Name() == "CLIENT_CA" || l.Name() == "CLIENT_SAN" || strings.HasPrefix(l.Name(), "REDIS_"):
		case !rows[l.Name()] && !without:
			t.Errorf("%s has no row: add one to allRows, or say in elsewhere why it needs none", l.Name())
		case rows[l.Name()] && without:
			t.Errorf("%s has a row: take it out of elsewhere", l.Name())
		}
	}
}

// with adds what another row asks for.
func (r row) with(other row) row {
	both := r
	both.name = r.name + "--" + other.name
	both.settings, both.changes = slices.Concat(r.settings, other.settings), slices.Concat(r.changes, other.changes)
	both.gated, both.maintenance = r.gated || other.gated, r.maintenance || other.maintenance
	both.instances = max(r.instances, other.instances)
	return both
}

// headers are those of a request, let in by some rows and kept out by others.
func headers(id string, in, out []row) http.Header {
	h := http.Header{}
	for _, r := range out {
		for name, value := range r.out {
			h.Set(name, value)
		}
	}
	for _, r := range in {
		for name, value := range r.in {
			h.Set(name, strings.ReplaceAll(value, "{id}", id))
		}
	}
	return h
}
