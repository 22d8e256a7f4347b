package labels

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relay/internal/problem"
	"relay/internal/secret"
	"relay/sources"
)

const sha = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=" // of "password"

const crypt = "$5$saltsalt$kmJUCIm73946uXVnGZjCdBUolDZJ3cOBx5hc3E.xjEC" // of "other"

func ptr[T any](v T) *T { return &v }

func TestSettings(t *testing.T) {
	t.Parallel()
	type settings map[string]string
	tests := []struct {
		name     string
		settings settings
		http     *sources.HTTP
		upstream *sources.Upstream
		problems []string // parts of "NAME: reason"
	}{
		{name: "none"},
		{name: "empty values", settings: settings{"BALANCE": "", "PATH": " ", "STICKY": "", "TIMEOUT": "", "MAX_REQUESTS": "", "TLS": "", "TLS_SNI": " ",
			"HASH_POLICY": "", "PROXY_PROTOCOL": "", "REQUEST_HEADERS_TO_ADD": "\n", "HTTP_BACKEND_REDIR": "", "HTTP_BACKEND_PROXYPASS_PATH": ""},
			problems: []string{"TLS_SNI: has no effect without TLS"}},
		{name: "paths", settings: settings{"PATH": "/api  /v2/ /api"}, http: &sources.HTTP{Order: 1, Paths: []sources.Path{{Prefix: "/api"}, {Prefix: "/v2/"}}}},
		{name: "paths, any case", settings: settings{"PATH": "-i /Api", "BACKEND_WEIGHT": " -7 "}, http: &sources.HTTP{Order: -7, Paths: []sources.Path{{Prefix: "/Api", IgnoreCase: true}}}},
		{name: "bad paths", settings: settings{"PATH": "api /a?b /\x01 /ok"}, http: &sources.HTTP{Order: 1, Paths: []sources.Path{{Prefix: "/ok"}}},
			problems: []string{"begin with a slash", "query", "character"}},
		{name: "no usable path is not every path", settings: settings{"PATH": "api"}, http: &sources.HTTP{Paths: []sources.Path{}}, problems: []string{"PATH"}},
		{name: "order", settings: settings{"BACKEND_WEIGHT": "ten"}, problems: []string{"whole number"}},
		{name: "flags", settings: settings{"STICKY": "Yes", "USE_HSTS": "on"}, http: &sources.HTTP{Sticky: true}, problems: []string{"USE_HSTS: \"on\" is taken as false"}},
		{name: "redirect of the root", settings: settings{"HTTP_BACKEND_REDIR": "/app/?x=1#y"}, http: &sources.HTTP{RootRedirect: "/app/?x=1#y"}},
		{name: "endless redirect", settings: settings{"HTTP_BACKEND_REDIR": "/"}, problems: []string{"for ever"}},
		{name: "redirect to elsewhere", settings: settings{"HTTP_BACKEND_REDIR": "//other.test/"}, problems: []string{"write a path"}},
		{name: "prefixes", settings: settings{"HTTP_BACKEND_PROXYPASS_PATH": "/a b", "HTTP_BACKEND_REVPROXY_PATH": "/app/"},
			http: &sources.HTTP{LocationPrefix: "/app"}, problems: []string{"HTTP_BACKEND_PROXYPASS_PATH"}},
		{name: "password", settings: settings{"AUTH": "My realm:joe:" + sha}, http: &sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "My realm", User: "joe", Hash: sha}}},
		{name: "realm", settings: settings{"AUTH": "a\"b:joe:" + sha}, http: &sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "Restricted", User: "joe", Hash: sha}}, problems: []string{"realm"}},
		{name: "crypt", settings: settings{"AUTH": "r:joe:$6$secret"}, http: &sources.HTTP{Closed: true}, problems: []string{"answered 403"}},
		{name: "password of crypt(3)", settings: settings{"AUTH": "Shop:jürgen:" + crypt}, http: &sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "Shop", User: "jürgen", Hash: crypt}}},
		{name: "password as it is", settings: settings{"AUTH": "Shop:joe:topsecret"}, http: &sources.HTTP{Closed: true}, problems: []string{"no password hash"}},
		{name: "hash that takes too long", settings: settings{"AUTH": "Shop:joe:$5$rounds=999999999" + crypt[2:]}, http: &sources.HTTP{Closed: true}, problems: []string{"too long to check"}},
		{name: "colon in a user name", settings: settings{"AUTH": "Shop:a:b:" + crypt}, http: &sources.HTTP{Closed: true}, problems: []string{"realm:user:hash"}},
		{name: "no hash", settings: settings{"AUTH": "joe:secret"}, http: &sources.HTTP{Closed: true}, problems: []string{"realm:user:hash"}},
		{name: "two users", settings: settings{"AUTH": "r:joe\nx:" + sha}, http: &sources.HTTP{Closed: true}, problems: []string{"user name"}},
		{name: "empty password", settings: settings{"AUTH": ""}, http: &sources.HTTP{Closed: true}, problems: []string{"AUTH"}},
		{name: "networks", settings: settings{"BACKEND_NETWORK_ALLOWED_ACL": "127.0.0.1 10.1.2.3/8 10.0.0.0/8 fd00::/8"},
			http: &sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("fd00::/8")}}},
		{name: "bad network", settings: settings{"BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8 intranet"}, http: &sources.HTTP{Closed: true}, problems: []string{"intranet"}},
		{name: "networks with commas", settings: settings{"BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8,192.0.2.7"}, http: &sources.HTTP{Closed: true}, problems: []string{"write spaces between them"}},
		{name: "no network", settings: settings{"BACKEND_NETWORK_ALLOWED_ACL": " "}, http: &sources.HTTP{Closed: true}, problems: []string{"no network"}},
		{name: "round robin", settings: settings{"BALANCE": "static-rr"}, upstream: &sources.Upstream{Balance: sources.BalanceRoundRobin}},
		{name: "least connections", settings: settings{"BALANCE": "LeastConn"}, upstream: &sources.Upstream{Balance: sources.BalanceLeastRequest}},
		{name: "random", settings: settings{"BALANCE": "random(2)"}, upstream: &sources.Upstream{Balance: sources.BalanceRandom}},
		{name: "source", settings: settings{"BALANCE": "source"}, http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashSourceIP}}, upstream: &sources.Upstream{Balance: sources.BalanceHash}},
		{name: "uri", settings: settings{"BALANCE": "uri depth 3"}, http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashPath}},
			upstream: &sources.Upstream{Balance: sources.BalanceHash}, problems: []string{"depth 3"}},
		{name: "whole uri", settings: settings{"BALANCE": "uri whole"}, http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashURI}}, upstream: &sources.Upstream{Balance: sources.BalanceHash}},
		{name: "header", settings: settings{"BALANCE": "hdr(X-User)"}, http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashHeader, Name: "x-user"}}, upstream: &sources.Upstream{Balance: sources.BalanceHash}},
		{name: "parameter", settings: settings{"BALANCE": "url_param user check_post"}, http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashQueryParameter, Name: "user"}},
			upstream: &sources.Upstream{Balance: sources.BalanceHash}, problems: []string{"check_post"}},
		{name: "no name", settings: settings{"BALANCE": "hdr()"}, problems: []string{"not a name"}},
		{name: "first", settings: settings{"BALANCE": "first"}, upstream: &sources.Upstream{Balance: sources.BalanceRoundRobin}, problems: []string{"round robin"}},
		{name: "unknown algorithm", settings: settings{"BALANCE": "round-robin"}, problems: []string{"write roundrobin"}},
		{name: "hash policy", settings: settings{"BALANCE": "source", "HASH_POLICY": "cookie sid"},
			http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashCookie, Name: "sid"}}, upstream: &sources.Upstream{Balance: sources.BalanceHash}},
		{name: "segment of the path", settings: settings{"HASH_POLICY": " path_segment  2"},
			http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashPathSegment, Segment: 2}}, upstream: &sources.Upstream{Balance: sources.BalanceHash}},
		{name: "subdomain", settings: settings{"HASH_POLICY": "subdomain"},
			http: &sources.HTTP{Hash: &sources.Hash{By: sources.HashSubdomain}}, upstream: &sources.Upstream{Balance: sources.BalanceHash}},
		{name: "segment 0", settings: settings{"HASH_POLICY": "path_segment 0"}, problems: []string{"from 1 to 20"}},
		{name: "segment too far", settings: settings{"HASH_POLICY": "path_segment 21"}, problems: []string{"from 1 to 20"}},
		{name: "no segment", settings: settings{"HASH_POLICY": "path_segment"}, problems: []string{"path_segment N"}},
		{name: "segment by name", settings: settings{"HASH_POLICY": "path_segment id"}, problems: []string{"from 1 to 20"}},
		{name: "bad hash policy", settings: settings{"HASH_POLICY": "header a b"}, problems: []string{"source_ip"}},
		{name: "timeouts", settings: settings{"TIMEOUT": "90s", "IDLE_TIMEOUT": "0s", "CONNECT_TIMEOUT": "250ms"},
			http: &sources.HTTP{Timeout: ptr(90 * time.Second), IdleTimeout: ptr(time.Duration(0))}, upstream: &sources.Upstream{ConnectTimeout: 250 * time.Millisecond}},
		{name: "streams", settings: settings{"MAX_STREAM_DURATION": "24h"}, http: &sources.HTTP{MaxStreamDuration: 24 * time.Hour}},
		{name: "streams without limit", settings: settings{"MAX_STREAM_DURATION": "0s"}},
		{name: "streams that are too short", settings: settings{"MAX_STREAM_DURATION": "999ms"}, problems: []string{"MAX_STREAM_DURATION"}},
		{name: "bad timeouts", settings: settings{"TIMEOUT": "30", "IDLE_TIMEOUT": "-1s", "CONNECT_TIMEOUT": "0s"}, problems: []string{"CONNECT_TIMEOUT", "IDLE_TIMEOUT", "TIMEOUT"}},
		{name: "retries", settings: settings{"NUM_RETRIES": "0", "RETRY_ON": "5xx, reset 5xx always"},
			http: &sources.HTTP{NumRetries: ptr(uint32(0)), RetryOn: []string{"5xx", "reset"}}, problems: []string{"always"}},
		{name: "too many retries", settings: settings{"NUM_RETRIES": "11"}, problems: []string{"0 to 10"}},
		{name: "limits", settings: settings{"MAX_CONNECTIONS": "1", "MAX_PENDING_REQUESTS": "2", "MAX_REQUESTS": "4294967296"},
			upstream: &sources.Upstream{MaxConnections: 1, MaxPendingRequests: 2}, problems: []string{"MAX_REQUESTS"}},
		{name: "no requests at all", settings: settings{"MAX_REQUESTS": "0"}, problems: []string{"MAX_REQUESTS"}},
		{name: "TLS", settings: settings{"TLS": "true", "TLS_SNI": "App.Internal"}, upstream: &sources.Upstream{TLS: &sources.UpstreamTLS{SNI: "app.internal", Verify: true}}},
		{name: "an address for no server name", settings: settings{"TLS": "1", "TLS_SNI": "10.0.0.1"}, upstream: &sources.Upstream{TLS: &sources.UpstreamTLS{Verify: true}}, problems: []string{"TLS_SNI"}},
		{name: "TLS without verification", settings: settings{"TLS": "1", "TLS_VERIFY": "no", "TLS_SNI": "a~b"}, upstream: &sources.Upstream{TLS: &sources.UpstreamTLS{}}, problems: []string{"TLS_SNI"}},
		{name: "doubtful TLS", settings: settings{"TLS": "on", "TLS_VERIFY": "none"}, upstream: &sources.Upstream{TLS: &sources.UpstreamTLS{Verify: true}}, problems: []string{"TLS: \"on\" is taken as true", "TLS_VERIFY"}},
		{name: "verification alone", settings: settings{"TLS_VERIFY": "true"}, problems: []string{"without TLS"}},
		{name: "protocols", settings: settings{"HTTP2": "true", "PROXY_PROTOCOL": "V2"}, upstream: &sources.Upstream{HTTP2: true, ProxyProtocol: 2}},
		{name: "bad protocol", settings: settings{"PROXY_PROTOCOL": "true"}, problems: []string{"v1 or v2"}},
		{name: "headers", settings: settings{"REQUEST_HEADERS_TO_ADD": "X-A: 1 % \r\n x-b:2\nX-a: 3\n", "RESPONSE_HEADERS_TO_REMOVE": "Server, x-powered-by"},
			http: &sources.HTTP{RequestHeaders: sources.HeaderEdits{Add: []sources.Header{{Name: "x-b", Value: "2"}, {Name: "x-a", Value: "3"}}},
				ResponseHeaders: sources.HeaderEdits{Remove: []string{"server", "x-powered-by"}}}},
		{name: "bad headers", settings: settings{"RESPONSE_HEADERS_TO_ADD": "x-a\nx-b: \nx-c: \x00\n: d\nHost: e\nX-Envoy-F: g", "REQUEST_HEADERS_TO_REMOVE": "Connection :path"},
			problems: []string{"Connection", ":path", "line 1 is ignored", "x-b", "x-c", "not the name", "Host", "X-Envoy-F"}},
		{name: "weight", settings: settings{"CLUSTER_WEIGHT": "0"}, http: &sources.HTTP{ClusterWeight: ptr(uint32(0))}},
		{name: "bad weight", settings: settings{"CLUSTER_WEIGHT": "10%"}, problems: []string{"0 to 10000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := NewSettings()
			for _, l := range AllSettings() {
				name := l.Name()
				if value, ok := tt.settings[name]; ok && !p.Set(name, value) {
					t.Errorf("%s is not known", name)
				}
			}
			h, u, problems := p.Finish()
			hidden := cmp.Comparer(func(a, b secret.String) bool { return string(a) == string(b) })
			if diff := cmp.Diff(tt.http, h, hidden, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Errorf("HTTP (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.upstream, u); diff != "" {
				t.Errorf("upstream (-want +got):\n%s", diff)
			}
			wantProblems(t, problems, tt.problems)
		})
	}
}

func wantProblems(t *testing.T, problems []problem.Problem, parts []string) {
	t.Helper()
	if len(problems) != len(parts) {
		t.Fatalf("problems %q, want %d", problems, len(parts))
	}
	for i, p := range problems {
		text := p.Subject + ": " + p.Reason
		if !strings.Contains(text, parts[i]) {
			t.Errorf("problem %q does not say %q", text, parts[i])
		}
		if strings.Contains(text, "secret") || strings.Contains(text, "SHA}W6") {
			t.Errorf("problem %q shows a secret", text)
		}
	}
}

func TestUnknownSetting(t *testing.T) {
	t.Parallel()
	if NewSettings().Set("VHOST", "a.test") {
		t.Error("VHOST is a setting")
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	p := NewSettings()
	p.Set("AUTH", "r:joe:"+sha)
	h, _, _ := p.Finish()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if s := fmt.Sprintf(format, *h.BasicAuth); strings.Contains(s, "W6ph5") {
			t.Errorf("%s prints %s", format, s)
		}
	}
}

func FuzzSet(f *testing.F) {
	for i, l := range AllSettings() {
		name := l.Name()
		f.Add(name, []string{"true", "10.0.0.0/8 ::1", "r:u:" + sha, "hdr(x)", "/a -i /b", "X-A: b\nc: d", "30s", "header x", "v1", "7"}[i%10])
		f.Add(name, []string{"tcp", "[::1]", "accept-proxy"}[i%3])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		p := NewSettings()
		if !p.Set(name, value) {
			return
		}
		tcp := p.TCP(10001, false)
		h, u, problems := p.Finish()
		if (name == "PORT" || name == "BIND_ADDR") && len(problems) > 0 && (tcp == nil || tcp.Port != 0) {
			t.Errorf("%s %q is opened: %+v", name, value, tcp)
		}
		for _, problem := range problems {
			if problem.Subject == "" || problem.Reason == "" || len(problem.Reason) > 900 {
				t.Errorf("problem %q", problem)
			}
		}
		if name == "AUTH" || name == "BACKEND_NETWORK_ALLOWED_ACL" {
			if h == nil || !h.Closed && h.BasicAuth == nil && len(h.AllowedNetworks) == 0 {
				t.Errorf("%q leaves the port open: %+v", value, h)
			}
		}
		if again := NewSettings(); again.Set(name, value) {
			again.TCP(10001, false)
			if h2, u2, _ := again.Finish(); !h.Equal(h2) || !u.Equal(u2) {
				t.Error("the same text gives different settings")
			}
		}
	})
}
