package probe_test

import (
	"strings"
	"testing"

	"relay/probe"
)

// Each way in which a module has credentials keeps it from apps that are not named.
func TestModulesWithCredentials(t *testing.T) {
	t.Parallel()
	for http, want := range map[string]bool{
		"": true, "headers: {Accept: a}": true, "http_headers: {Accept: {values: [a]}}": true,
		"basic_auth: {username: u, password_file: /f}": false, "authorization: {credentials: c}": false, "authorization: {credentials_file: /f}": false,
		"bearer_token: b": false, "bearer_token_file: /f": false, "oauth2: {client_id: i, client_secret: s, token_url: 'http://t.test'}": false,
		"headers: {cookie: c}": false, "headers: {authorization: a}": false, "headers: {X-Api-Key: k}": false, "http_headers: {Accept: {secrets: [a]}}": false, "http_headers: {Accept: {files: [/f]}}": false,
	} {
		s, err := probe.Parse([]byte("modules: {m: {prober: http, http: {" + http + "}}}"))
		if err != nil {
			t.Fatalf("%s: %v", http, err)
		}
		if got := s.LetsUse("m", "/any"); got != want {
			t.Errorf("%s: %v", http, got)
		}
		s.ModuleApps = map[string][]string{"m": {"/a", "/b/*"}}
		for app, want := range map[string]bool{"/a": true, "/a/b": false, "/b/c": true, "/b": false, "": false} {
			if got := s.LetsUse("m", app); got != want {
				t.Errorf("%s, %s: %v", http, app, got)
			}
		}
	}
	for text, want := range map[string]string{
		"module-apps: {x: [/a]}": `module-apps: there is no module "x"`, "modules: {m: {prober: http}}\nmodule-apps: {m: [shop]}": `"shop" is no app`,
		"modules: {m: {prober: http}}\nmodule-apps: {m: ['/*/b']}": `"/*/b" is no app`,
	} {
		if _, err := probe.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
