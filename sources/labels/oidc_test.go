package labels

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

// oidcNeeded are the labels without which nobody can log in.
var oidcNeeded = map[string]string{
	"RELAY_0_OIDC_CLIENT_ID": "web", "RELAY_0_OIDC_CLIENT_SECRET": "sso",
	"RELAY_0_OIDC_AUTHORIZATION_ENDPOINT": "https://id.test/auth", "RELAY_0_OIDC_TOKEN_ENDPOINT": "https://id.test/token",
}

func TestOIDC(t *testing.T) {
	t.Parallel()
	read := func(more map[string]string) (*sources.HTTP, string) {
		labels := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.test"}
		for _, set := range []map[string]string{oidcNeeded, more} {
			for key, value := range set {
				if labels[key] = value; value == "-" {
					delete(labels, key)
				}
			}
		}
		got := Read(labels, []DeclaredPort{{ServicePort: 10001}})
		var problems []string
		for _, p := range got.Problems {
			problems = append(problems, p.Subject+" "+p.Reason)
		}
		return got.Ports[0].HTTP, strings.Join(problems, "\n")
	}
	whole := func(change func(*sources.OIDC)) *sources.OIDC {
		o := &sources.OIDC{
			ClientID: "web", ClientSecret: "sso", AuthorizationEndpoint: "https://id.test/auth", TokenEndpoint: "https://id.test/token",
			Scopes: []string{"openid"}, CallbackPath: "/oauth2/callback", SignOutPath: "/oauth2/sign-out",
		}
		change(o)
		return o
	}
	for _, tt := range []struct {
		name    string
		more    map[string]string
		want    *sources.OIDC // nil for a closed port
		problem string
	}{
		{"no more", nil, whole(func(*sources.OIDC) {}), ""},
		{"a port with a path", map[string]string{"HAPROXY_0_PATH": "/shop/ /x"}, whole(func(o *sources.OIDC) {
			o.CallbackPath, o.SignOutPath = "/shop/oauth2/callback", "/shop/oauth2/sign-out"
		}), ""},
		{"scopes", map[string]string{"RELAY_0_OIDC_SCOPES": "email offline_access"}, whole(func(o *sources.OIDC) { o.Scopes = []string{"openid", "email", "offline_access"} }), ""},
		{"a scope that is none", map[string]string{"RELAY_0_OIDC_SCOPES": "a&b"}, whole(func(*sources.OIDC) {}), "no scope"},
		{"a path that is none", map[string]string{"RELAY_0_OIDC_CALLBACK_PATH": "/a/../b"}, whole(func(*sources.OIDC) {}), "whole path"},
		{"a format in a path", map[string]string{"RELAY_0_OIDC_CALLBACK_PATH": "/%REQ(x)%"}, whole(func(*sources.OIDC) {}), "whole path"},
		{"a callback elsewhere", map[string]string{"HAPROXY_0_PATH": "/shop", "RELAY_0_OIDC_CALLBACK_PATH": "/other"}, nil, "not below a path"},
		{"one path for both", map[string]string{"RELAY_0_OIDC_CALLBACK_PATH": "/a", "RELAY_0_OIDC_SIGN_OUT_PATH": "/a"}, nil, "is the same"},
		{"no secret", map[string]string{"RELAY_0_OIDC_CLIENT_SECRET": "-"}, nil, "needs OIDC_CLIENT_ID"},
		{"no id", map[string]string{"RELAY_0_OIDC_CLIENT_ID": "-"}, nil, "needs OIDC_CLIENT_ID"},
		{"a path to the secret", map[string]string{"RELAY_0_OIDC_CLIENT_SECRET": "../bank/db"}, nil, "no name of a credential"},
		{"the secret itself", map[string]string{"RELAY_0_OIDC_CLIENT_SECRET": "S3cret!"}, nil, "put the secret itself into the store"},
		{"a query in the id", map[string]string{"RELAY_0_OIDC_CLIENT_ID": "a&redirect_uri=https://evil.test"}, nil, "no id of a client"},
		{"no endpoint", map[string]string{"RELAY_0_OIDC_TOKEN_ENDPOINT": "-"}, nil, "needs OIDC_CLIENT_ID"},
		{"a password in a URL", map[string]string{"RELAY_0_OIDC_TOKEN_ENDPOINT": "https://a:b@id.test/"}, nil, "is no URL"},
		{"a script", map[string]string{"RELAY_0_OIDC_AUTHORIZATION_ENDPOINT": "javascript:alert(1)"}, nil, "is no URL"},
		{"a new line", map[string]string{"RELAY_0_OIDC_AUTHORIZATION_ENDPOINT": "https://id.test/\r\nSet-Cookie:a=b"}, nil, "is no URL"},
		{"a wildcard", map[string]string{"RELAY_0_OIDC_TOKEN_ENDPOINT": "https://*.test/"}, nil, "no host"},
		{"an end of sessions that is none", map[string]string{"RELAY_0_OIDC_END_SESSION_ENDPOINT": "x"}, whole(func(*sources.OIDC) {}), "is no URL"},
	} {
		h, problems := read(tt.more)
		switch {
		case tt.want == nil && (h == nil || !h.Closed || h.SignOn != nil):
			t.Errorf("%s: open: %+v", tt.name, h)
		case tt.want != nil && (h == nil || h.Closed || h.SignOn == nil):
			t.Errorf("%s: no log-in: %+v", tt.name, h)
		case tt.want != nil:
			if diff := cmp.Diff(tt.want, h.SignOn.OIDC); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		if !strings.Contains(problems, tt.problem) || tt.problem == "" && problems != "" {
			t.Errorf("%s: problems %s, want %q", tt.name, problems, tt.problem)
		}
		if strings.Contains(problems, "S3cret") {
			t.Errorf("%s: a secret is told", tt.name)
		}
	}
}
