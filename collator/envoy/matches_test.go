package envoy_test

import (
	"strings"
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// What requests must be like beyond their path decides which app gets them, by every Envoy alike.
func TestMatches(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		with := func(id string, order int, paths []sources.Path, matches ...sources.Match) *sources.App {
			app := e.app(id, "a.test")
			app.Ports[0].HTTP = &sources.HTTP{Order: order, Paths: paths, Match: matches}
			return app
		}
		e.c.SyncApps([]*sources.App{
			e.app("/rest", "a.test"),
			with("/post", 9, nil, sources.Match{Headers: []sources.FieldMatch{{Name: ":method", Value: "POST|PUT", Regex: true}}}),
			with("/canary", 8, nil, sources.Match{Headers: []sources.FieldMatch{{Name: "x-canary", Value: "yes"}, {Name: "x-never", Not: true}}}, sources.Match{Query: []sources.FieldMatch{{Name: "canary", Value: "1"}}}),
			with("/exact", 7, []sources.Path{{Prefix: "/exact", Exact: true}}),
			with("/pattern", 7, []sources.Path{{Prefix: "/p/", Pattern: "/p/[0-9]+"}}),
			with("/not", 6, []sources.Path{{Prefix: "/n"}}, sources.Match{NotPaths: []sources.Path{{Prefix: "/n/secret"}}, Query: []sources.FieldMatch{{Name: "q", Value: "1", Not: true}}}),
			with("/plain", 5, []sources.Path{{Prefix: "/s"}}, sources.Match{Scheme: "http"}),
			with("/secure", 5, []sources.Path{{Prefix: "/s"}}, sources.Match{Scheme: "https"}),
		})
		e.eventually(t, request{host: "a.test", path: "/s"}, func(a answer) bool { return strings.HasPrefix(a.body, "app /plain\n") })
		for _, tt := range []struct {
			method, path, header, want string
		}{
			{"GET", "/", "", "/rest"}, {"POST", "/", "", "/post"}, {"PUT", "/exact", "", "/post"}, {"DELETE", "/exact", "", "/exact"},
			{"GET", "/", "x-canary: yes", "/canary"}, {"GET", "/", "x-canary: no", "/rest"}, {"GET", "/", "x-canary: yes\r\nx-never: 1", "/rest"},
			{"GET", "/?canary=1", "", "/canary"}, {"GET", "/?a=b&canary=1&c", "", "/canary"}, {"GET", "/?canary=11", "", "/rest"},
			{"GET", "/exact?x", "", "/exact"}, {"GET", "/exact/", "", "/rest"}, {"GET", "/exactly", "", "/rest"}, {"GET", "/Exact", "", "/rest"},
			{"GET", "/p/12", "", "/pattern"}, {"GET", "/p/12?x=/y", "", "/pattern"}, {"GET", "/p/x", "", "/rest"}, {"GET", "/p/12/x", "", "/rest"},
			{"GET", "/n/x", "", "/not"}, {"GET", "/n/secret", "", "/rest"}, {"GET", "/n//secret/x?y", "", "/rest"}, {"GET", "/n/%73ecret", "", "/rest"}, {"GET", "/n/secre", "", "/not"},
			{"GET", "/n/x?q=1", "", "/rest"}, {"GET", "/n/x?a=1&q=1&b", "", "/rest"}, {"GET", "/n/x?q=12", "", "/not"}, {"GET", "/n/x?aq=1", "", "/not"},
			{"GET", "/s", "x-forwarded-proto: https", "/plain"},
		} {
			raw := &rawClient{t: t, address: e.fleet.HTTP.String()}
			if got := raw.ask(tt.method, tt.path, "a.test", tt.header); got != tt.want[1:] {
				t.Errorf("%s %s %q: %s, want %s", tt.method, tt.path, tt.header, got, tt.want)
			}
			raw.close()
		}
	})
}

// A restriction holds for whatever an app may take for a path that is no prefix.
func TestRestrictionsOfWholePaths(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncCertificates("vault", nil, nil)
	guarded := func(id, domain string, path sources.Path) *sources.App {
		app := set(t, e.app(id, domain), password, "BACKEND_WEIGHT=1")
		h := *app.Ports[0].HTTP
		h.Paths = []sources.Path{path}
		app.Ports[0].HTTP = &h
		return app
	}
	e.c.SyncApps([]*sources.App{
		e.app("/open", "exact.test", "pattern.test"),
		guarded("/exact", "exact.test", sources.Path{Prefix: "/admin", Exact: true}),
		guarded("/pattern", "pattern.test", sources.Path{Prefix: "/admin/", Pattern: "/admin/[0-9]+"}),
	})
	e.eventually(t, request{host: "exact.test", path: "/admin"}, status(401))
	e.eventually(t, request{host: "pattern.test", path: "/admin/1"}, status(401))
	raw := &rawClient{t: t, address: e.fleet.HTTP.String()}
	defer raw.close()
	for _, path := range pathsToAdmin {
		meant, climbs := understood(path)
		if got := raw.get(path, "exact.test"); got == "open" && (climbs || meant == "/admin" && path != "/admin/") {
			t.Errorf("%s escapes the password of /admin", path)
		}
		below := path + "/1"
		if meant, climbs := understood(below); climbs || meant == "/admin/1" {
			if got := raw.get(below, "pattern.test"); got == "open" {
				t.Errorf("%s escapes the password of /admin/1", below)
			}
		}
	}
	for _, path := range []string{"/", "/administrator", "/admin/x", "/x/admin"} {
		if got := raw.get(path, "exact.test"); got != "open" {
			t.Errorf("%s: %q, want the app", path, got)
		}
	}
}
