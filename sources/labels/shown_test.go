package labels

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"relay/sources"
)

func shownOf(labels map[string]string, ports ...DeclaredPort) map[string]string {
	all := make(map[string]string)
	for l := range Read(labels, ports).Shown.All() {
		all[l.Name] = l.Value
	}
	return all
}

// Labels are shown as they are written, known or not. What may be a secret is not.
func TestShownLabels(t *testing.T) {
	t.Parallel()
	const hash = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
	tests := []struct{ key, value, want string }{
		{"HAPROXY_GROUP", "external", "external"},
		{"HAPROXY_0_VHOST", "shop.test, *.shop.test", "shop.test, *.shop.test"},
		{"HAPROXY_http_VHOST", "shop.test", "shop.test"},
		{"HAPROXY_7_VHOST", "shop.test", "shop.test"}, // there is no such port
		{"RELAY_0_TIMEOUT", "never\x00\xff<b>", "never�?<b>"},
		{"HAPROXY_0_AUTH", "Shop:joe:" + hash, "REDACTED"},
		{"HAPROXY_0_AUTH", "hunter2", "REDACTED"},
		{"HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8", "10.0.0.0/8"},
		{"RELAY_0_REQUEST_HEADERS_TO_ADD", "X-Env: live\n\nX-Origin: hunter2\nhunter2", "X-Env: REDACTED\nX-Origin: REDACTED\nREDACTED"},
		{"RELAY_0_RESPONSE_HEADERS_TO_ADD", "X-Frame-Options: DENY\nSet-Cookie: id=hunter2\nLocation: https://a.test/?k=hunter2", "X-Frame-Options: DENY\nSet-Cookie: REDACTED\nLocation: https://a.test/?REDACTED"},
		{"RELAY_0_REQUEST_HEADERS_TO_REMOVE", "X-Debug", "X-Debug"},
		{"HAPROXY_0_HTTP_BACKEND_REDIR", "https://joe:hunter2@a.test/?k=hunter2", "https://REDACTED@a.test/?REDACTED"},
		{"HAPROXY_0_USERLIST_HEAD", "userlist u\n  user joe insecure-password hunter2", "REDACTED"},
		{"HAPROXY_0_HTTP_FRONTEND_HEAD", "hunter2", "REDACTED"},
		{"HAPROXY_0_HTTP_FRONTEND_ACL_WITH_PATH", "hunter2", "REDACTED"},
		{"HAPROXY_DEPLOYMENT_NOTES", "hunter2", "REDACTED"},
		{"RELAY_0_AUTH_APP", "/shop/sso /auth?k=hunter2", "/shop/sso /auth?REDACTED"},
		{"RELAY_0_JWT_JWKS", "https://id.test/keys?k=hunter2", "https://id.test/keys?REDACTED"},
		{"RELAY_0_JWT_JWKS", "keys", "keys"},
		{"RELAY_0_JWT_JWKS", `{"keys": ["hunter2"]}`, "REDACTED"},
		{"RELAY_0_OIDC_CLIENT_SECRET", "oidc", "oidc"},
		{"RELAY_0_OIDC_CLIENT_SECRET", "Hunter2!", "REDACTED"},
		{"RELAY_0_OIDC_TOKEN_ENDPOINT", "https://id.test/t?k=hunter2", "https://id.test/t?REDACTED"},
		{"RELAY_0_OIDC_AUTHORIZATION_ENDPOINT", "https://id.test/a?k=hunter2", "https://id.test/a?REDACTED"},
		{"RELAY_0_OIDC_END_SESSION_ENDPOINT", "https://id.test/e?k=hunter2", "https://id.test/e?REDACTED"},
		// Mistyped ones are shown as what they were meant to be.
		{"HAPROXY_0_VHOTS", "shop.test", "shop.test"},
		{"haproxy_0_vhost", "shop.test", "shop.test"},
		{"HAPROXY-0-VHOST", "shop.test", "shop.test"},
		{"HAPROXY_0_AUHT", "hunter2", "REDACTED"},
		{"haproxy_0_auth", "hunter2", "REDACTED"},
		{"RELAY_0_AUTH", "hunter2", "REDACTED"},
		{"HARPOXY_0_AUTH", "hunter2", "REDACTED"},
		// Of those that nobody knows, the name alone.
		{"HAPROXY_0_STATS_LOGIN", "hunter2", "REDACTED"},
		{"RELAY_0_WHATEVER_THIS_MAY_BE", "hunter2", "REDACTED"},
		{"RELAY_" + strings.Repeat("X", MaxKeyBytes), "hunter2", "REDACTED"},
		// In values of any label, what looks like a credential is not.
		{"HAPROXY_0_BALANCE", "Shop:joe:" + hash, "Shop:joe:REDACTED"},
		{"HAPROXY_0_PATH", "joe:$6$salt$hunter2", "joe:REDACTED"},
		{"HAPROXY_0_VHOST", "http://joe:hunter2@shop.test", "http://REDACTED@shop.test"},
		{"HAPROXY_0_BIND_OPTIONS", "token=hunter2", "token=REDACTED"},
		// Other programs' labels are theirs.
		{"traefik.http.middlewares.auth", "hunter2", ""},
	}
	for _, tt := range tests {
		got := shownOf(map[string]string{tt.key: tt.value}, DeclaredPort{Name: "http"})
		if value, there := got[sources.Clip(tt.key)]; value != tt.want || there != (tt.want != "") {
			t.Errorf("%s=%q is shown as %q, want %q", tt.key, tt.value, got, tt.want)
		}
		if strings.Contains(fmt.Sprintf("%+v", Read(map[string]string{tt.key: tt.value}, []DeclaredPort{{Name: "http"}}).Shown), "hunter2") {
			t.Errorf("%s: the secret is in memory", tt.key)
		}
	}
}

// Each label is shown by its name, whatever becomes of it.
func TestEachLabelIsShown(t *testing.T) {
	t.Parallel()
	for _, l := range All() {
		key := l.For("0")
		if strings.HasSuffix(key, "*") {
			key = strings.TrimSuffix(key, "*") + "X"
		}
		if _, there := shownOf(map[string]string{key: l.example}, DeclaredPort{})[key]; !there {
			t.Errorf("%s is not shown", key)
		}
	}
	if got := shownOf(map[string]string{"HAPROXY_GROUP": "a"}); got["HAPROXY_GROUP"] != "a" {
		t.Errorf("without a port: %v", got)
	}
}

// What is kept of the labels of an app is bounded, and how many are left out is known.
func TestShownLabelsAreBounded(t *testing.T) {
	t.Parallel()
	many := make(map[string]string)
	for i := range 1000 {
		many[fmt.Sprintf("HAPROXY_%d_VHOST", i)] = strings.Repeat("a.test,", i%50)
	}
	size, n := 0, 0
	shown := Read(many, []DeclaredPort{{}}).Shown
	for l := range shown.All() {
		n++
		size += len(l.Name) + len(l.Value)
	}
	if n == 0 || n+shown.More() != len(many) || size > sources.MaxLabelsBytes {
		t.Errorf("%d labels of %d bytes are shown, %d more", n, size, shown.More())
	}
	for i := range 2 * sources.MaxSettings {
		many[fmt.Sprintf("RELAY_%d", i)] = ""
	}
	if shown = Read(many, []DeclaredPort{{}}).Shown; shown.More() != len(many) {
		t.Errorf("%d labels are known of, want %d", shown.More(), len(many))
	}
	if long := shownOf(map[string]string{"HAPROXY_GROUP": strings.Repeat("a", 1<<20)}, DeclaredPort{})["HAPROXY_GROUP"]; len(long) > 1100 {
		t.Errorf("a value of %d bytes is shown", len(long))
	}
}

// With 50 000 apps, what is shown of labels takes little more than their texts.
func TestShownLabelsAreCompact(t *testing.T) {
	const apps = 50_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	all, text := make([]sources.Labels, apps), 0
	before := heap()
	for i := range all {
		domain := fmt.Sprintf("app-%d.shop.test", i)
		labels := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": domain, "HAPROXY_0_REDIRECT_TO_HTTPS": "true", "MARATHON_ACME_0_DOMAIN": domain}
		for name, value := range labels {
			text += len(name) + len(value)
		}
		all[i] = Read(labels, []DeclaredPort{{}}).Shown
	}
	each := float64(heap()-before) / apps
	runtime.KeepAlive(all)
	t.Logf("%.0f bytes an app, for %d bytes of text", each, text/apps)
	if each > float64(text/apps)*1.3+24 {
		t.Errorf("%.0f bytes an app, for %d bytes of text", each, text/apps)
	}
}
