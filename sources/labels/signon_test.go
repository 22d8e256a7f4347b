package labels

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

func TestSignOnSettings(t *testing.T) {
	t.Parallel()
	app := func(id string, port int, path string) *sources.SignOn {
		return &sources.SignOn{App: &sources.AuthApp{AppRef: sources.AppRef{App: id, Port: port}, Path: path}}
	}
	jwt := []string{"JWT_ISSUER=https://login.test", "JWT_JWKS=https://login.test/keys", "JWT_AUDIENCES=b, a b"}
	for _, test := range []struct {
		settings []string
		want     *sources.SignOn // nil for a port that is closed
		problem  string
	}{
		{[]string{"AUTH_APP=/platform/sso"}, app("/platform/sso", 0, ""), ""},
		{[]string{"AUTH_APP= /platform/sso:2   /auth?x=1 "}, app("/platform/sso", 2, "/auth?x=1"), ""},
		{[]string{"AUTH_APP=deployment-group/sso"}, app("deployment-group/sso", 0, ""), ""},
		{[]string{"AUTH_APP="}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=platform/sso"}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=https://sso.test/"}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=/sso:"}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=/sso:1:2"}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=/sso:-1"}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=/sso:99999"}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=/s\u00f6"}, nil, "is not the id of an app"},
		{[]string{"AUTH_APP=/sso auth"}, nil, "is not a path"},
		{[]string{"AUTH_APP=/sso /a#b"}, nil, "is not a path"},
		{[]string{"AUTH_APP=/sso /a /b"}, nil, "is not the id of an app, and perhaps a path"},
		{[]string{"AUTH_APP=/sso", "AUTH_APP_RESPONSE_HEADERS=X-User, Host"}, nil, "not the name of a header that another app may set"},
		{[]string{"AUTH_APP=/sso", "AUTH_APP_RESPONSE_HEADERS=X-Forwarded-For"}, nil, "not the name of a header that another app may set"},
		{[]string{"AUTH_APP=/sso", "AUTH_APP_RESPONSE_HEADERS=" + strings.Repeat("a ", 31)}, nil, "more than 30 headers"},
		{[]string{"AUTH_APP_RESPONSE_HEADERS=X-User"}, nil, "needs AUTH_APP"},
		{[]string{"AUTH_APP=/sso", "AUTH_APP_RESPONSE_HEADERS=X-User x-GROUPS", "AUTH_APP_REQUEST_HEADERS=X-Key, x-forwarded-uri", "AUTH_APP_TIMEOUT=2s"},
			&sources.SignOn{App: &sources.AuthApp{AppRef: sources.AppRef{App: "/sso"}, RequestHeaders: []string{"x-key"}, ResponseHeaders: []string{"x-user", "x-groups"}, Timeout: 2 * time.Second}}, "x-forwarded-uri is ignored"},
		{[]string{"AUTH_APP=/sso", "AUTH_APP_TIMEOUT=2h"}, app("/sso", 0, ""), "is ignored: write a duration"},
		{jwt, &sources.SignOn{JWT: &sources.JWT{Issuer: "https://login.test", JWKS: "https://login.test/keys", Audiences: []string{"a", "b"}}}, ""},
		{append(jwt[:2:2], "JWT_AUDIENCES=a *"), &sources.SignOn{JWT: &sources.JWT{Issuer: "https://login.test", JWKS: "https://login.test/keys", Audiences: []string{"*"}}}, ""},
		{append(jwt[:3:3], "JWT_CLAIMS_TO_HEADERS=sub: X-User\nrealm.team:x-team,"), &sources.SignOn{JWT: &sources.JWT{Issuer: "https://login.test", JWKS: "https://login.test/keys", Audiences: []string{"a", "b"},
			Claims: []sources.ClaimHeader{{Claim: "sub", Header: "x-user"}, {Claim: "realm.team", Header: "x-team"}}}}, ""},
		{[]string{"JWT_ISSUER=i", "JWT_JWKS=keys", "JWT_AUDIENCES=a"}, &sources.SignOn{JWT: &sources.JWT{Issuer: "i", Keys: "keys", Audiences: []string{"a"}}}, ""},
		{jwt[:2], nil, "needs JWT_AUDIENCES"},
		{jwt[1:], nil, "needs JWT_ISSUER"},
		{[]string{"JWT_AUDIENCES=a"}, nil, "needs JWT_ISSUER and JWT_JWKS"},
		{[]string{"JWT_CLAIMS_TO_HEADERS=sub: X-User"}, nil, "needs JWT_ISSUER and JWT_JWKS and JWT_AUDIENCES"},
		{append(jwt[:2:2], "JWT_AUDIENCES= "), nil, "names nobody"},
		{append(jwt[1:3:3], "JWT_ISSUER="), nil, "is not the name of an issuer"},
		{append(jwt[1:3:3], "JWT_ISSUER=a b"), nil, "is not the name of an issuer"},
		{[]string{jwt[0], jwt[2], "JWT_JWKS=Keys/../secret"}, nil, "is neither a URL"},
		{[]string{jwt[0], jwt[2], "JWT_JWKS=file:///etc/shadow"}, nil, "is neither a URL"},
		{append(jwt[:3:3], "JWT_CLAIMS_TO_HEADERS=sub"), nil, "is not a claim and a header"},
		{append(jwt[:3:3], "JWT_CLAIMS_TO_HEADERS=sub: Host"), nil, "is not a claim and a header"},
		{append(jwt[:3:3], "JWT_CLAIMS_TO_HEADERS=sub: X-A, email: x-a"), nil, "has the header x-a twice"},
	} {
		s := NewSettings()
		for _, setting := range test.settings {
			name, value, _ := strings.Cut(setting, "=")
			s.Set(name, value)
		}
		h, _, problems := s.Finish()
		said := ""
		for _, p := range problems {
			said += p.Reason + "\n"
		}
		if test.problem == "" && said != "" || !strings.Contains(said, test.problem) {
			t.Errorf("%q: problems %q, want %q", test.settings, said, test.problem)
		}
		switch {
		case h == nil:
			t.Errorf("%q lets everybody in", test.settings)
		case test.want == nil && !h.Closed:
			t.Errorf("%q does not close the port", test.settings)
		case test.want != nil && h.Closed:
			t.Errorf("%q closes the port", test.settings)
		case test.want != nil:
			if diff := cmp.Diff(test.want, h.SignOn); diff != "" {
				t.Errorf("%q (-want +got):\n%s", test.settings, diff)
			}
		}
	}
}

func TestUsedBy(t *testing.T) {
	t.Parallel()
	s := NewSettings()
	s.Set("USED_BY", " /shop/* /billing/web /shop* shop * /a/*/b deployment-group/x /billing/web /shop/** ")
	if diff := cmp.Diff([]string{"*", "/billing/web", "/shop/*", "deployment-group/x"}, s.UsedBy()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, _, problems := s.Finish(); len(problems) != 4 {
		t.Errorf("problems: %v", problems)
	}
}
