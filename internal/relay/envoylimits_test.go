package relay

import (
	"strings"
	"testing"

	"relay/collator"
	"relay/sources"
)

// What Envoys of each age lack is told by what it means for the apps. One filter that they do not know costs a
// domain all of them.
func TestLimitsOfEnvoys(t *testing.T) {
	t.Parallel()
	app := func(id, domain string, http sources.HTTP) collator.AppView {
		return collator.AppView{
			ID: id, Routed: &sources.App{Ports: []sources.Port{{HTTP: &http}}},
			Ports: []collator.PortView{{Fleets: []string{"edge"}, Domains: []string{domain}}},
		}
	}
	password := sources.HTTP{BasicAuth: &sources.BasicAuth{}}
	compressed := sources.HTTP{Shaping: &sources.Shaping{Compress: &sources.Compress{}}}
	const install = ". Install Envoy 1."
	for name, test := range map[string]struct {
		apps []collator.AppView
		want map[int]string // by the minor version that these are older than
	}{
		"nothing":  {apps: []collator.AppView{app("/a", "a.test", sources.HTTP{})}},
		"password": {[]collator.AppView{app("/a", "a.test", password)}, map[int]string{38: "they answer 403 for 1 app with a password (/a)"}},
		"wildcard": {[]collator.AppView{app("/a", "*.a.test", sources.HTTP{})}, map[int]string{38: "they answer 404 for hosts below 1 wildcard domain"}},
		"compressed": {[]collator.AppView{app("/a", "a.test", compressed)}, map[int]string{
			38: "they serve 1 app without the compressed answers that it asks for (/a)",
			40: "they do not know compressed answers, and get no filters of domains that ask for that: they serve 1 app without the compressed answers that it asks for (/a)",
		}},
		"a domain of two": {[]collator.AppView{app("/a", "a.test", compressed), app("/b", "a.test", password), app("/c", "c.test", password)}, map[int]string{
			38: "they answer 403 for 2 apps with a password (/b, /c), and serve 1 app without the compressed answers that it asks for (/a)",
			40: "they do not know compressed answers, and get no filters of domains that ask for that: they answer 403 for 1 app with a password (/b), and serve 1 app without the compressed answers that it asks for (/a)",
		}},
		"sign-on": {[]collator.AppView{app("/a", "a.test", sources.HTTP{SignOn: &sources.SignOn{JWT: &sources.JWT{}}}), app("/b", "b.test", sources.HTTP{SignOn: &sources.SignOn{OIDC: &sources.OIDC{}}})}, map[int]string{
			38: "they answer 403 for 2 apps with tokens (JWT) or a log-in (OIDC) (/a, /b)",
			40: "they do not know tokens (JWT) or a log-in (OIDC), and get no filters of domains that ask for that: they answer 403 for 2 apps with tokens (JWT) or a log-in (OIDC) (/a, /b)",
		}},
		"limits": {[]collator.AppView{app("/a", "a.test", sources.HTTP{RequestLimits: &sources.RequestLimits{Everywhere: true}})}, map[int]string{
			38: "they serve 1 app without the limits over all Envoys or limits of requests that it asks for (/a)",
			40: "they do not know limits over all Envoys, and get no filters of domains that ask for that: they serve 1 app without the limits over all Envoys or limits of requests that it asks for (/a)",
		}},
	} {
		got := limitsOf("edge", test.apps)
		if len(got) != len(test.want) {
			t.Errorf("%s: %v", name, got)
		}
		for minor, want := range test.want {
			if text, _, _ := strings.Cut(got[minor], install); text != want {
				t.Errorf("%s: Envoys before 1.%d: %q, want %q", name, minor, text, want)
			}
		}
		if elsewhere := limitsOf("internal", test.apps); len(elsewhere) > 0 {
			t.Errorf("%s: in another fleet %v", name, elsewhere)
		}
	}
}
