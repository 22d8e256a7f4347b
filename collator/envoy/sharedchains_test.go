package envoy_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/certs/certstest"
	"relay/sources"
	"relay/xds"
)

// scope is that of a domain, as Envoys are offered it.
func (e *realEnvoy) scope(t *testing.T, domain string) *routev3.VirtualHost {
	t.Helper()
	var scope routev3.ScopedRouteConfiguration
	e.until(t, "the scope of "+domain, func() bool {
		found := e.store.Contents(xds.Scope, func(name string) bool { return name == domain })
		return len(found) == 1 && proto.Unmarshal(found[0].Body, &scope) == nil
	})
	return scope.RouteConfiguration.VirtualHosts[0]
}

// The filters of a rule that has several routes are made once, and hold for these alone, whatever the spelling of the host. What
// they count, they count together, and apart from another app of the domain with the same limit.
func TestChainsAreShared(t *testing.T) {
	t.Parallel()
	const basic = "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=" // joe, password
	for _, version := range knowsLimits() {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			mirrored := []string{"USED_BY=*", "MIRROR=/copies 100%"}
			e.c.SyncApps([]*sources.App{
				e.shaped("/copies", "copies.test", seen, "USED_BY=*"),
				e.shaped("/closed", "closed.test", seen, append(mirrored, basic, "CORS_ORIGINS=https://a.test", "CORS_METHODS=PUT", "MAX_REQUEST_BODY=1MB")...),
				e.shaped("/limited", "limited.test", seen, append(mirrored, "RATE_LIMIT=2/h")...),
				e.shaped("/one", "two.test", seen, append(mirrored, "RATE_LIMIT=2/h", "PATH=/one")...),
				e.shaped("/two", "two.test", seen, append(mirrored, "RATE_LIMIT=2/h", "PATH=/two")...),
			})
			e.certificates()
			e.eventually(t, request{host: "closed.test"}, status(http.StatusUnauthorized))
			e.eventually(t, request{host: "two.test", path: "/none"}, status(http.StatusNotFound))
			e.eventually(t, request{host: "copies.test"}, status(http.StatusOK))
			ask := func(method, host, path string, body io.Reader, header http.Header) int {
				t.Helper()
				transport := e.transport(request{})
				defer transport.CloseIdleConnections()
				req, err := http.NewRequestWithContext(t.Context(), method, "http://envoy.invalid"+path, body)
				if err != nil {
					t.Fatal(err)
				}
				req.Host, req.Header = host, header
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			// One route takes short requests, one long ones, and one those that do not say how long they are.
			short, long := func() io.Reader { return bytes.NewReader(make([]byte, 10)) }, func() io.Reader { return bytes.NewReader(make([]byte, 200_000)) }
			unsaid := func() io.Reader { return io.MultiReader(short()) }
			kinds := []func() io.Reader{short, long, unsaid}

			preflight := http.Header{"Origin": {"https://a.test"}, "Access-Control-Request-Method": {"PUT"}}
			for _, host := range []string{"closed.test", "Closed.TEST.:80"} {
				for i, kind := range kinds {
					open := http.Header{"Authorization": {"Basic am9lOnBhc3N3b3Jk"}}
					if without, with := ask("POST", host, "/", kind(), http.Header{}), ask("POST", host, "/", kind(), open); without != 401 || with != 200 {
						t.Errorf("%s, request %d: %d without a password, %d with it", host, i, without, with)
					}
				}
				if status := ask("OPTIONS", host, "/", nil, preflight); status != http.StatusNoContent {
					t.Errorf("%s: a preflight request gets %d", host, status)
				}
				if status := ask("POST", host, "/", bytes.NewReader(make([]byte, 2<<20)), http.Header{}); status != http.StatusRequestEntityTooLarge {
					t.Errorf("%s: a request that is too large gets %d", host, status)
				}
			}
			for _, at := range []struct{ host, path string }{{"limited.test", "/"}, {"two.test", "/one"}} {
				var got []int
				for _, kind := range kinds {
					got = append(got, ask("POST", at.host, at.path, kind(), http.Header{}))
				}
				if !slices.Equal(got, []int{200, 200, 429}) {
					t.Errorf("%v, of which two may come: %v", at, got)
				}
			}
			if got := ask("POST", "two.test", "/two", short(), http.Header{}); got != http.StatusOK {
				t.Errorf("an app gets %d, as another one of its domain is over its limit", got)
			}
		})
	}
}

// Once is enough for all routes of a rule, and each other route says that nothing runs for it.
func TestChainsAreSentOnce(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncCertificates("vault", []*certs.Certificate{e.issue("a", certstest.Options{}, "a.test")}, nil)
	e.c.SyncApps([]*sources.App{
		set(t, webApp("/copies", "copies.test"), "USED_BY=*"),
		set(t, webApp("/a", "a.test"), "MIRROR=/copies 5%", "USE_HSTS=true", "RATE_LIMIT=2/h", "AUTH_APP=/copies", "CORS_ORIGINS=https://a.test"),
	})
	vhost := e.scope(t, "a.test")
	if len(vhost.TypedPerFilterConfig) != 1 || len(vhost.Routes) < 7 {
		t.Fatalf("%d filters for all %d routes", len(vhost.TypedPerFilterConfig), len(vhost.Routes))
	}
	for _, route := range vhost.Routes {
		own := route.TypedPerFilterConfig["route"]
		if forwards := route.GetRoute() != nil; forwards == (own != nil) || proto.Size(own) > 100 {
			t.Errorf("route to %q says %v", route.GetRoute().GetCluster(), own)
		}
	}
}
