package collator

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/collator/routing"
	"relay/credentials"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// logIn has people log in, by the credential oidc.
func logIn(app *sources.App) *sources.App {
	return changed(app, func(p *sources.Port) {
		p.HTTP = &sources.HTTP{SignOn: &sources.SignOn{OIDC: &sources.OIDC{
			ClientID: "web", ClientSecret: "oidc", AuthorizationEndpoint: "https://id.test/a", TokenEndpoint: "http://id.test/t",
			Scopes: []string{"openid"}, CallbackPath: "/in", SignOutPath: "/out",
		}}}
	})
}

// worstLogIn is as long as it can be, at very many domains.
func worstLogIn(p *sources.Port) {
	p.Domains, p.HTTP = names(many, "d-%05d.test"), &sources.HTTP{SignOn: &sources.SignOn{OIDC: &sources.OIDC{
		ClientID: strings.Repeat("i", 1<<10), ClientSecret: "oidc", AuthorizationEndpoint: "https://id.test/" + strings.Repeat("a", 1<<10), TokenEndpoint: "https://id.test/t",
		Scopes: names(20, "scope-%d"), CallbackPath: "/a", SignOutPath: "/b",
	}}}
}

func credentialsOf(pathsAndValues ...string) (all []*credentials.Credential) {
	for i := 0; i < len(pathsAndValues); i += 2 {
		all = append(all, &credentials.Credential{Source: "dir", Path: pathsAndValues[i], Value: []byte(pathsAndValues[i+1])})
	}
	return all
}

func credentialConfig() Config {
	fleet := testFleet()
	fleet.ExternalHosts = []string{"id.test:80"}
	return Config{Fleets: []routing.Fleet{fleet}, CredentialSources: []string{"dir"}}
}

// syncCredentials lets a store say what it has.
func syncCredentials(c *Collator, pathsAndValues ...string) {
	c.SyncCredentials("dir", credentialsOf(pathsAndValues...), nil)
	c.round()
}

// A changed credential concerns those who name it, and nobody else.
func TestCredentialsTouchTheirUsersAlone(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, credentialConfig())
	syncCredentials(c)
	syncApps(c, logIn(webApp("/shop/web", "web.test")), logIn(webApp("/shop/api", "api.test")), logIn(webApp("/bank/web", "bank.test")), webApp("/open", "open.test"))
	r.Touched()
	secrets := func(verb, id string) []string {
		return []string{verb + ` secrets "oidc/` + id + `_0/client"`, verb + ` secrets "oidc/` + id + `_0/cookies"`}
	}
	const first, second = "the first secret of a client", "the second secret of a client"
	for _, step := range []struct {
		name string
		has  []string
		want []string
	}{
		{"for a folder", []string{"shop/oidc", first}, slices.Concat(secrets("set", "/shop/api"), secrets("set", "/shop/web"), []string{`set scopes "api.test"`, `set scopes "web.test"`})},
		{"the same again", []string{"shop/oidc", first}, nil},
		{"one that nobody names", []string{"shop/oidc", first, "shop/other", first, "other/oidc", first}, nil},
		{"a nearer one", []string{"shop/oidc", first, "shop/web/oidc", second}, secrets("set", "/shop/web")},
		{"a new value", []string{"shop/oidc", second, "shop/web/oidc", second}, secrets("set", "/shop/api")},
		{"the nearer one cannot be used", []string{"shop/oidc", second, "shop/web/oidc", ""}, append([]string{`set scopes "web.test"`}, secrets("remove", "/shop/web")...)},
		{"all are gone", nil, append([]string{`set scopes "api.test"`}, secrets("remove", "/shop/api")...)},
	} {
		syncCredentials(c, step.has...)
		got := slices.DeleteFunc(r.Touched(), func(s string) bool { return strings.Contains(s, "external/") })
		slices.Sort(got)
		slices.Sort(step.want)
		if diff := cmp.Diff(step.want, got); diff != "" && len(got)+len(step.want) > 0 {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		wantSameAsFresh(t, c, r, credentialConfig())
	}
}

// Until the credentials are known what needs one is neither sent nor taken away, and all else is served.
func TestCredentialsAreNotKnown(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, credentialConfig())
	syncApps(c, logIn(webApp("/shop/web", "web.test")), webApp("/open", "open.test"))
	scope := xds.Key{Type: xds.Scope, Name: "web.test"}
	if _, sent := r.Versions[scope]; sent || !r.Withheld[scope] {
		t.Errorf("the scope is sent: %v, withheld: %v", sent, r.Withheld[scope])
	}
	if !slices.Contains(r.Names(xds.Scope), "open.test") {
		t.Error("another app waits")
	}
	if got := reasonsOf(c, "/shop/web"); !strings.Contains(got, "have not been read yet") {
		t.Errorf("told is %q", got)
	}
	updateApps(c, logIn(webApp("/shop/late", "late.test")))
	if !r.Withheld[xds.Key{Type: xds.Scope, Name: "late.test"}] {
		t.Error("an app that comes later does not wait")
	}
	syncCredentials(c, "shop/oidc", "the secret of a client")
	for _, domain := range []string{"web.test", "late.test"} {
		if !slices.Contains(r.Names(xds.Scope), domain) {
			t.Errorf("%s is not served", domain)
		}
	}
	if got := reasonsOf(c, "/shop/web"); got != "" {
		t.Errorf("told is %q", got)
	}
}

func reasonsOf(c *Collator, app string) string {
	var all []string
	for _, p := range c.Problems() {
		if p.App == app {
			all = append(all, p.Reason)
		}
	}
	return strings.Join(all, "\n")
}

// The page of an app says where its credential was looked for, and what is wrong there.
func TestMissingCredentialsAreTold(t *testing.T) {
	t.Parallel()
	app := logIn(webApp("/shop/web", "web.test"))
	for _, tt := range []struct {
		name   string
		config func(*Config)
		has    []string
		want   string
	}{
		{"nowhere", nil, []string{"bank/oidc", "the secret of a client"}, "there is none at shop/web/oidc, shop/oidc, oidc"},
		{"no store", func(c *Config) { c.CredentialSources = nil }, nil, "no store of credentials"},
		{"empty", nil, []string{"shop/oidc", ""}, "shop/oidc: is empty"},
		{"in the root", nil, []string{"oidc", "the secret of a client"}, "in no folder"},
		{"short", nil, []string{"shop/oidc", "short"}, "less than 16 bytes"},
		{"no https", func(c *Config) { c.Fleets[0] = plain() }, []string{"shop/oidc", "the secret of a client"}, "takes no HTTPS"},
		{"no host", func(c *Config) { c.Fleets[0].ExternalHosts = nil }, []string{"shop/oidc", "the secret of a client"}, "plain HTTP"},
	} {
		config := credentialConfig()
		if tt.config != nil {
			tt.config(&config)
		}
		c, _ := newTest(t, config)
		c.SyncCredentials("dir", credentialsOf(tt.has...), []problem.Problem{{Subject: "shop/oidc", Reason: "is empty"}})
		syncApps(c, app)
		if got := reasonsOf(c, "/shop/web"); !strings.Contains(got, tt.want) || strings.Contains(got, "the secret of a client") {
			t.Errorf("%s: told is %q, want %q", tt.name, got, tt.want)
		}
		c.UpdateApps(nil, []string{"/shop/web"})
		c.round()
		if got := reasonsOf(c, "/shop/web"); got != "" {
			t.Errorf("%s: of an app that is gone is told %q", tt.name, got)
		}
	}
}

// Whatever a deployment group is called, the credentials are those of the oldest app's folders.
func TestCredentialsOfADeployment(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, credentialConfig())
	syncCredentials(c, "bank/oidc", "the secret of the bank", "deployment-group/bank/oidc", "the secret of a group")
	group := func(id string) *sources.App {
		app := logIn(webApp(id, "web.test"))
		app.Deployment = &sources.Deployment{Group: "bank/web"}
		return app
	}
	syncApps(c, group("/evil/web"))
	if slices.ContainsFunc(r.Names(xds.Secret), func(name string) bool { return strings.HasPrefix(name, "oidc/") }) {
		t.Errorf("an app gets at the credential of another: %q", r.Names(xds.Secret))
	}
	syncApps(c, group("/bank/web-blue"))
	if !slices.ContainsFunc(r.Names(xds.Secret), func(name string) bool { return strings.HasPrefix(name, "oidc/") }) {
		t.Error("the credential is not found")
	}
}
