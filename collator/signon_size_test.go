package collator

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// What signing on takes in a scope counts in the limits of an app, where nothing of it is missing.
func TestSignOnCounts(t *testing.T) {
	t.Parallel()
	f := testFleet()
	f.ExternalCA = testCA
	sizes := func(settings ...string) (counted, real int) {
		c, _ := newTest(t, Config{Fleets: []routing.Fleet{f}})
		app := set(t, webApp("/shop/a", "a.test"), settings...)
		syncApps(c, app, webApp("/shop/sso"))
		scope, err := message(c.fleets[0], xds.Key{Type: xds.Scope, Name: "a.test"})
		if err != nil {
			t.Fatal(err)
		}
		return requestSize(app.Ports[0]), proto.Size(scope)
	}
	counted, real := sizes()
	for _, settings := range [][]string{
		{"AUTH_APP=/shop/sso"},
		{"AUTH_APP=/shop/sso /a-long-path-by-which-the-app-is-asked", "AUTH_APP_REQUEST_HEADERS=a b c d e f", "AUTH_APP_RESPONSE_HEADERS=x-a x-b x-c x-d x-e x-f x-g"},
		{"JWT_ISSUER=https://login.test", "JWT_JWKS=https://login.test/keys", "JWT_AUDIENCES=a b c d e f g h", "JWT_CLAIMS_TO_HEADERS=a: x-a, b: x-b, c: x-c, d: x-d"},
	} {
		countedWith, realWith := sizes(settings...)
		if added, counts := realWith-real, countedWith-counted; added > counts || added < 100 {
			t.Errorf("%q adds %d bytes to a scope, and %d count", settings, added, counts)
		}
	}
}

// Hosts outside count once for an app, however many of its ports ask them.
func TestExternalsCount(t *testing.T) {
	t.Parallel()
	ports := func(hosts ...string) (left int) {
		app := &sources.App{ID: "/a"}
		for _, host := range hosts {
			app.Ports = append(app.Ports, sources.Port{Groups: []string{"external"}, Domains: []string{host},
				HTTP: &sources.HTTP{SignOn: &sources.SignOn{JWT: &sources.JWT{Issuer: "i", JWKS: "https://" + host + "/keys", Audiences: []string{"a"}}}}})
		}
		clean, _, err := cleanPolicy(app)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range clean.Ports {
			if len(port.Groups) > 0 {
				left++
			}
		}
		return left
	}
	many := []string{"a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test", "h.test", "i.test", "j.test"}
	if left := ports(many...); left > maxAppSize/externalSize {
		t.Errorf("an app has Envoys ask %d hosts", left)
	}
	same := make([]string, 20)
	for i := range same {
		same[i] = "a.test"
	}
	if left := ports(same...); left != len(same) {
		t.Errorf("of %d ports that ask the same host, %d are left", len(same), left)
	}
}

// Each route with the URL of keys has Envoys read them: an app may not have as many as it likes.
func TestRoutesThatReadKeysCount(t *testing.T) {
	t.Parallel()
	app := &sources.App{ID: "/a", Ports: []sources.Port{{Groups: []string{"external"}, Domains: names(many, "d-%05d.test"),
		HTTP: &sources.HTTP{SignOn: &sources.SignOn{JWT: &sources.JWT{Issuer: "i", JWKS: "https://login.test/keys", Audiences: []string{"a"}}}}}}}
	clean, _, err := cleanPolicy(app)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(clean.Ports[0].Domains); n > 130 || n < 90 {
		t.Errorf("%d routes read keys", n)
	}
}
