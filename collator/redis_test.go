package collator

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/credentials"
	"relay/internal/secret"
	"relay/sources"
	"relay/xds"
)

// worstCache has as many prefixes as an app may have.
func worstCache() *sources.TCP {
	redis := &sources.Redis{}
	for i := range 50 {
		redis.Prefixes = append(redis.Prefixes, sources.RedisPrefix{Prefix: fmt.Sprintf("%0100d:", i), App: sources.AppRef{App: "/worst/" + strings.Repeat("x", 200)}})
	}
	return &sources.TCP{Port: 6380, ServiceTLS: &sources.ServiceTLS{}, Redis: redis}
}

// Each server name of a cache counts for what answers clients of Redis.
func TestServerNamesOfCaches(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	syncApps(c, changed(webApp("/worst"), func(p *sources.Port) { p.Domains, p.TCP = names(2000, "d-%05d.test"), worstCache() }))
	if n := len(c.apps["/worst"].Ports[0].Domains); n == 0 || n*redisSize > maxAppSize {
		t.Errorf("%d server names", n)
	}
}

// A change of a credential concerns the listener of those who name it, and the cluster if it is that of servers; and no
// other app. Problems say what is missing, and nobody's passwords.
func TestCredentialsOfCaches(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CredentialSources: []string{"dir"}})
	give := func(all ...string) string {
		return touched(r, func() {
			var given []*credentials.Credential
			for _, one := range all {
				path, value, _ := strings.Cut(one, "=")
				given = append(given, &credentials.Credential{Source: "dir", Path: path, Value: secret.Bytes(value)})
			}
			c.SyncCredentials("dir", given, nil)
			c.round()
		})
	}
	cache := func(id string, port uint16, password, servers string) *sources.App {
		return serviceApp(id, sources.TCP{Port: port, Redis: &sources.Redis{Password: password, ServerPassword: servers}})
	}
	apps := []*sources.App{cache("/a/one", 6001, "clients", ""), cache("/a/two", 6002, "clients", "servers"), cache("/b/one", 6003, "clients", ""), cache("/c", 6004, "", "")}
	if got := touched(r, func() { syncApps(c, apps...) }); strings.Contains(got, `set listeners "tcp/6001"`) || !strings.Contains(got, `withhold listeners "tcp/6002"`) || !strings.Contains(got, "tcp/6004") {
		t.Errorf("before the credentials are known: %s", got)
	}
	for _, tt := range []struct {
		given []string
		want  string
	}{
		{[]string{"a/clients=s3cret-1", "b/clients=s3cret-2"}, `set clusters "/a/one_0", set clusters "/a/two_0", set clusters "/b/one_0", set listeners "tcp/6001", set listeners "tcp/6003", remove listeners "tcp/6002"`},
		{[]string{"a/clients=s3cret-1", "b/clients=s3cret-2", "a/servers=s3cret-3"}, `set clusters "/a/two_0", set listeners "tcp/6002"`},
		{[]string{"a/clients=s3cret-1", "b/clients=s3cret-4", "a/servers=s3cret-3"}, `set listeners "tcp/6003"`},
		{[]string{"a/clients=s3cret-1", "b/clients=s3cret-4", "a/servers=s3cret-5"}, `set clusters "/a/two_0"`},
		{[]string{"a/clients=s3cret-1", "b/clients=s3cret-4", "a/servers=s3cret-5", "b/servers=x"}, ""},
		{[]string{"b/clients=s3cret-4"}, `set clusters "/a/two_0", set listeners "tcp/6001", set listeners "tcp/6002"`},
	} {
		if got := give(tt.given...); got != tt.want {
			t.Errorf("%q touches %s, want %s", tt.given, got, tt.want)
		}
	}
	for key := range r.Versions {
		msg, err := message(c.fleets[0], key)
		if err != nil || msg == nil {
			continue
		}
		body, err := proto.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		if shown, err := envoy.RedactedJSON(key.Type, body); err != nil || strings.Contains(string(shown), "s3cret") || strings.Contains(string(shown), base64.StdEncoding.EncodeToString([]byte("s3cret"))) {
			t.Errorf("%s is shown as %s, %v", quoted(key), shown, err)
		}
	}
	var reasons []string
	for _, p := range c.Problems() {
		reasons = append(reasons, fmt.Sprintf("%s %s %s: %s", p.App, p.Severity, p.Subject, p.Reason))
	}
	all := strings.Join(reasons, "; ")
	if !strings.Contains(all, "/a/one") || !strings.Contains(all, "there is none at a/one/clients, a/clients, clients") || strings.Contains(all, "s3cret") {
		t.Errorf("problems %q", all)
	}
}

// A fleet has no caches unless its operator says so: clients can crash an Envoy.
func TestCachesAreOffByDefault(t *testing.T) {
	t.Parallel()
	fleet := testFleet()
	fleet.Redis = false
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	syncApps(c, serviceApp("/a", sources.TCP{Port: 6001, Redis: &sources.Redis{}}))
	if _, open := r.Versions[xds.Key{Type: xds.Listener, Name: "tcp/6001"}]; open || !strings.Contains(fmt.Sprint(c.Problems()), "--redis") {
		t.Errorf("open is %t, problems %v", open, c.Problems())
	}
}
