package envoy_test

import (
	"cmp"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"relay/collator/envoy"
	"relay/sources"
	"relay/xds/envoytest"
)

const password = "AUTH=Shop:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="

// understood is what an app that is as generous as can be takes a path for. Segments ".." are
// resolved, unless up is false: then there are none if it is true.
func understood(path string) (meant string, climbs bool) {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		decoded = path
	}
	var segments []string
	for segment := range strings.SplitSeq(strings.ReplaceAll(decoded, `\`, "/"), "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			climbs = true
			segments = segments[:max(0, len(segments)-1)]
		default:
			segments = append(segments, segment)
		}
	}
	return "/" + strings.Join(segments, "/"), climbs
}

func TestUnderstood(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "/", "//admin": "/admin", "/x/../admin": "/admin", "/%2e%2e/admin": "/admin", `/\admin`: "/admin", "/%61dmin/x": "/admin/x",
		"/;a=1/admin;b/x": "/admin/x", "/x/..;/admin": "/admin", "/a%2fb": "/a/b", "/%zz": "/%zz", "/./%2e/admin": "/admin",
	} {
		if got, _ := understood(path); got != want {
			t.Errorf("%s is understood as %s, want %s", path, got, want)
		}
	}
}

// pathsToAdmin are ways to write /admin that an app may understand.
var pathsToAdmin = []string{
	"/admin", "/admin/", "/admin/x", "//admin", "///admin/x", "/./admin", "/x/../admin", "/../admin", "/%2e%2e/admin", "/x/%2e%2e/admin", "/x/.%2E/admin",
	`/\admin`, `\admin`, "/%5cadmin", "/%2fadmin", "/x%2f..%2fadmin", `/x\..\admin`, "/%2e/admin", "/%61dmin", "/%61%64%6D%69%6e/x", "/;/admin", "/;a=1/admin",
	"/admin;a=1", "/admin%2f..", "/x/..;/admin", "/x/..;a=1/admin", "/.;/admin", "/.//;b//admin",
	"/%3b/admin", "/%3Ba=1/admin", "/.%3b/admin", "/x/..%3B/admin",
}

// ordinary are paths that apps have, and that must reach them as they are.
var ordinary = []string{
	"/", "//", "/x//y", "/proxy/http://x.test/admin", "/a%2Fb/c%2fd", "/x;jsessionid=1", "/x;jsessionid=1/y", "/adm", "/x/admin", "/a..b", "/..a/b", "/a../b", "/...",
	"/.well-known/x", "/x/./y", "/%7Ejoe", "/a%5Cb", "/%", "/ADMIN", "/admi%6", "/x?/../admin", "/x?a=//admin",
}

// No way to write a path escapes the restriction on it.
func TestPathsOfRestrictions(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{
		e.app("/open", "down.test", "keys.test", "alone.test"),
		set(t, e.app("/admin", "down.test"), "PATH=/admin", password, "BACKEND_WEIGHT=1"),
		set(t, e.app("/keys", "keys.test"), "PATH=-i /api/v1/keys", "BACKEND_NETWORK_ALLOWED_ACL=192.0.2.1", "BACKEND_WEIGHT=1"),
		set(t, e.app("/whole", "up.test"), password),
		// At and beyond the size of expressions that Envoy takes by itself.
		set(t, e.app("/rest", "long.test"), "HTTP_BACKEND_PROXYPASS_PATH=/"+strings.Repeat("s", 79)),
		set(t, e.app("/short", "long.test"), "PATH=/abcdef", password, "BACKEND_WEIGHT=3"),
		set(t, e.app("/short-i", "long.test"), "PATH=-i /efg", password, "BACKEND_WEIGHT=4"),
		set(t, e.app("/long", "long.test"), "PATH=/a-b/c.d/"+strings.Repeat("x", 500), password, "BACKEND_WEIGHT=2"),
		set(t, e.app("/stripped", "long.test"), "PATH=/s/", "HTTP_BACKEND_PROXYPASS_PATH=/s/"+strings.Repeat("y", 500), "BACKEND_WEIGHT=1"),
		set(t, e.app("/public", "up.test", "part.test"), "PATH=/public", "BACKEND_WEIGHT=1"),
	})
	for host, path := range map[string]string{"down.test": "/", "keys.test": "/", "up.test": "/public", "part.test": "/public", "alone.test": "/", "long.test": "/s/" + strings.Repeat("y", 500)} {
		e.eventually(t, request{host: host, path: path}, status(200))
	}
	e.eventually(t, request{host: "down.test", path: "/admin"}, status(401))
	e.eventually(t, request{host: "keys.test", path: "/API/v1/keys"}, status(403))
	e.eventually(t, request{host: "long.test", path: "//a-b/%63.d/" + strings.Repeat("x", 500)}, status(401))
	e.eventually(t, request{host: "long.test", path: "//EFg"}, status(401))
	raw := &rawClient{t: t, address: e.fleet.HTTP.String()}
	defer raw.close()
	for _, path := range pathsToAdmin {
		if got := raw.get(path, "down.test"); got == "open" {
			t.Errorf("%s escapes the password of /admin", path)
		}
	}
	for _, path := range ordinary {
		for _, host := range []string{"down.test", "keys.test", "alone.test"} {
			if got := raw.get(path, host); got != "open" && got != "refused" { // some are no paths to the backend
				t.Errorf("%s%s: %q, want the app", host, path, got)
			}
		}
	}
	for _, path := range []string{"/public/../secret", "/public/%2e%2e/secret", "/public%2f..%2fsecret", "/public/..;/secret", "/public/..%3b/secret", `/public\..\secret`} {
		for _, host := range []string{"up.test", "part.test"} {
			if got := raw.get(path, host); got == "public" {
				t.Errorf("%s leads out of /public", host+path)
			}
		}
		if got := raw.get(path, "alone.test"); got != "open" {
			t.Errorf("%s of an app that has the domain alone: %q", path, got)
		}
	}
	seed := cmp.Or(*oddSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	for _, path := range oddPaths(rand.New(rand.NewPCG(seed, 0)), 1500) {
		meant, climbs := understood(path)
		for host, prefix := range map[string]string{"down.test": "/admin", "keys.test": "/api/v1/keys"} {
			if host == "keys.test" {
				meant = strings.ToLower(meant)
			}
			got := raw.get(path, host)
			if got == "open" && (climbs || strings.HasPrefix(meant, prefix)) {
				t.Errorf("%s%s, which may mean %s, escapes the restriction", host, path, meant)
			}
		}
		if got := raw.get(path, "up.test"); got == "public" && !strings.HasPrefix(meant, "/public") {
			t.Errorf("%s, which may mean %s, gets around the password", path, meant)
		}
	}
	e.testPathsByHTTP2(t)
}

// testPathsByHTTP2 sends bytes that HTTP/1 does not let through.
func (e *realEnvoy) testPathsByHTTP2(t *testing.T) {
	for _, path := range append(slices.Clone(pathsToAdmin), "/\xff/../admin", "/;\xff/admin", "/\xc3\xa9/../admin", "/;\n/admin") {
		c := dialHTTP2(t, e.fleet.HTTP.String())
		if status, data := c.receive(c.send(true, ":method", "GET", ":scheme", "http", ":authority", "down.test", ":path", path)); strings.HasPrefix(data, "app /open") {
			t.Errorf("HTTP/2: %q escapes the password of /admin: %s %s", path, status, data)
		}
	}
}

// Envoy 1.36 takes no filters of routes, but it refuses what leads out of a path, too.
func TestClimbingPaths(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{e.app("/open", "a.test"),
			set(t, e.app("/admin", "a.test"), "PATH=/admin", "BACKEND_WEIGHT=1", "AUTH=no hash"),
		})
		e.eventually(t, request{host: "a.test", path: "/"}, fromApp("/open"))
		e.eventually(t, request{host: "a.test", path: "/admin"}, status(403))
		raw := &rawClient{t: t, address: e.fleet.HTTP.String()}
		defer raw.close()
		if got := raw.get("/x/../y", "a.test"); got != "refused" {
			t.Errorf("/x/../y: %s", got)
		}
		for _, path := range pathsToAdmin {
			if got := raw.get(path, "a.test"); got == "open" {
				t.Errorf("%s escapes", path)
			}
		}
	})
}

// oddPaths are put together of what makes a difference.
func oddPaths(rng *rand.Rand, n int) []string {
	pieces := []string{"/", "/", "/", "\\", "%2f", "%2F", "%5c", ".", "..", "%2e", "%2E%2e", ".%2e", ";", ";a=1", "%3b", "%3B", "a", "x", "%20", "%", "~"}
	words := []string{"admin", "%61dmin", "adm%69n", "api", "API", "v1", "%76%31", "keys", "%4bEYS", "public", "pu%62lic"}
	var paths []string
	for range n {
		path := "/"
		for range 1 + rng.IntN(8) {
			if rng.IntN(3) == 0 {
				path += words[rng.IntN(len(words))]
			} else {
				path += pieces[rng.IntN(len(pieces))]
			}
		}
		paths = append(paths, path)
	}
	return paths
}

func TestGuardSize(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"/", "/a", "/a/b/c", "/.*", "/%c3%bf/ÿ", "/KLMNO", "////"} {
		path := sources.Path{Prefix: prefix, IgnoreCase: true}
		if got, limit := len(envoy.GuardPattern(path)), envoy.GuardSize(path)+len("(?i).*"); got > limit {
			t.Errorf("the pattern for %s has %d bytes, want at most %d", prefix, got, limit)
		}
	}
}
