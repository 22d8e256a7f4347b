package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

// ask sends a request, and follows no redirect.
func (e *realEnvoy) ask(t *testing.T, method, host, path string, header map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://envoy.invalid"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for name, value := range header {
		req.Header.Set(name, value)
	}
	transport := e.transport(request{})
	transport.DisableCompression = true
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// serves starts an instance, and returns its address.
func (e *realEnvoy) serves(handler http.HandlerFunc) string {
	s := httptest.NewServer(handler)
	e.t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// seen answers with what the app saw.
func seen(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "path %s host %s forwarded %s", r.RequestURI, r.Host, r.Header.Get("X-Forwarded-Host"))
}

// shaped is an app with one instance, and settings.
func (e *realEnvoy) shaped(id, domain string, handler http.HandlerFunc, settings ...string) *sources.App {
	return changed(set(e.t, webApp(id, domain), settings...), func(p *sources.Port) { p.Endpoints = endpoints(e.serves(handler)) })
}

func TestRedirectsByLabel(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		app := e.shaped("/shop/web", "shop.test", seen, `REDIRECT=www.Shop.test -> https://shop.test 308
/old/* -> /new/* 302
/docs* -> https://docs.test/v2/*
/login -> https://id.test/?app=shop 303
*.old.test/* -> https://shop.test/from/*
/100%25'(x) -> /50%25')%:12%`)
		app.Ports[0].Domains = []string{"shop.test", "www.shop.test", "*.old.test"}
		api := e.shaped("/shop/api", "shop.test", seen, "PATH=/api", "REDIRECT=/api/old* -> /api/new*\n/other -> /api")
		e.c.SyncApps([]*sources.App{app, api})
		e.certificates()
		e.eventually(t, request{host: "shop.test"}, status(200))
		for _, test := range []struct {
			host, path string
			status     int
			location   string
		}{
			{"www.shop.test", "/a/b?c=d&e=%20", 308, "https://shop.test/a/b?c=d&e=%20"},
			{"WWW.shop.test.:8080", "/", 308, "https://shop.test/"},
			{"shop.test", "/old/x/y?q=1", 302, "http://shop.test/new/x/y?q=1"},
			{"Shop.test:8080", "/old/", 302, "http://Shop.test:8080/new/"},
			// Whatever follows is no other host.
			{"shop.test", "/old//evil.test", 302, "http://shop.test/new//evil.test"},
			{"shop.test", "/docs@evil.test?x", 301, "https://docs.test/v2/@evil.test?x"},
			{"shop.test", "/docs/?", 301, "https://docs.test/v2//?"},
			{"shop.test", "/old/%0d%0aSet-Cookie:%20x", 302, "http://shop.test/new/%0d%0aSet-Cookie:%20x"},
			{"shop.test", "/login?app=other", 303, "https://id.test/?app=shop"},
			{"a.old.test", "/x?y", 301, "https://shop.test/from/x?y"},
			{"shop.test", "/100%25'(x)", 301, "http://shop.test/50%25')%:12%"},
			{"shop.test", "/old", 200, ""},
			{"shop.test", "/login/", 200, ""},
			{"shop.test", "/x?/old/y", 200, ""},
			{"shop.test", "/api/old?x", 301, "http://shop.test/api/new?x"},
			{"shop.test", "/other", 200, ""},
		} {
			if version < "1.38" && strings.HasSuffix(test.host, ".old.test") {
				continue // which serve no host below a wildcard domain
			}
			resp, _ := e.ask(t, "GET", test.host, test.path, nil)
			if location := resp.Header.Get("Location"); resp.StatusCode != test.status || location != test.location {
				t.Errorf("%s%s: %d to %q, want %d to %q", test.host, test.path, resp.StatusCode, location, test.status, test.location)
			}
		}
		// Envoy takes anything for a port.
		for _, host := range []string{"shop.test:80@evil.test", "shop.test:evil.test"} {
			if a, err := say(e.fleet.HTTP.String(), "GET /old/x HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil || a.header.Get("Location") != "" {
				t.Errorf("%s: %+v, %v", host, a, err)
			}
		}
	})
}

func TestRewritesByLabel(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncApps([]*sources.App{
			e.shaped("/a", "a.test", seen, `PATH_REWRITE=/v[0-9]+/users/([^/]+) -> /users/\1/profile`, "HOST_REWRITE=a.internal:81"),
			e.shaped("/b", "b.test", seen, `PATH_REWRITE=/(?:x|y)? -> /z/`),
		})
		e.certificates()
		e.eventually(t, request{host: "a.test"}, status(200))
		e.eventually(t, request{host: "b.test"}, status(200))
		for _, test := range []struct{ host, path, want string }{
			{"a.test", "/v12/users/joe?x=/v1/users/q", "path /users/joe/profile?x=/v1/users/q host a.internal:81 forwarded a.test"},
			{"a.test", "/v1/users/joe/rest", "path /users/joe/profile/rest"},
			{"a.test", "/other/v1/users/joe", "path /other/v1/users/joe host"},
			{"A.test:80", "/", "path / host a.internal:81 forwarded A.test:80"},
			{"b.test", "/x/y", "path /z//y host b.test forwarded "},
			{"b.test", "/", "path /z/ host"},
			{"b.test", "//evil.test/", "path /z//evil.test/ host"},
		} {
			if _, body := e.ask(t, "GET", test.host, test.path, nil); !strings.HasPrefix(body, test.want) {
				t.Errorf("%s%s: the app sees %q, want %q", test.host, test.path, body, test.want)
			}
		}
	})
}

func TestCORSLabels(t *testing.T) {
	t.Parallel()
	const basic = "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		own := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "https://own.test")
			w.Header().Set("Vary", "X-Own")
			fmt.Fprint(w, r.Method)
		}
		some := "CORS_ORIGINS=https://a.test http://*.b.test:8080"
		e.c.SyncApps([]*sources.App{
			e.shaped("/some", "some.test", own, some, "CORS_METHODS=PUT", "CORS_HEADERS=*", "CORS_EXPOSE_HEADERS=X-Total", "CORS_CREDENTIALS=true", "CORS_MAX_AGE=1h"),
			e.shaped("/all", "all.test", own, "CORS_ORIGINS=*", "CORS_HEADERS=x-a"), e.shaped("/own", "own.test", own),
			e.shaped("/password", "password.test", own, some, basic), e.shaped("/networks", "networks.test", own, some, "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8"),
			changed(set(t, webApp("/down", "down.test"), some), func(p *sources.Port) { p.Endpoints = endpoints("127.0.0.1:1") }),
		})
		e.certificates()
		for _, host := range []string{"some.test", "all.test", "own.test"} {
			e.eventually(t, request{host: host}, status(200))
		}
		e.eventually(t, request{host: "down.test"}, func(a answer) bool { return a.status >= 500 })
		closed := 401
		if version < "1.38" {
			closed = 403
		}
		e.eventually(t, request{host: "password.test"}, status(closed))
		e.eventually(t, request{host: "networks.test"}, status(403))
		for _, test := range []struct {
			host, origin string
			want         string
			status       int
		}{
			{"some.test", "https://a.test", "https://a.test", 200},
			{"Some.test:80", "http://x.b.test:8080", "http://x.b.test:8080", 200},
			{"some.test", "https://x.b.test:8080", "", 200},
			{"some.test", "http://b.test:8080", "", 200},
			{"some.test", "http://x.b.test:8080.evil.test", "", 200},
			{"some.test", "https://a.test.evil.test", "", 200},
			{"some.test", "null", "", 200},
			{"some.test", "", "", 200},
			{"all.test", "https://any.test", "*", 200},
			{"own.test", "https://any.test", "https://own.test", 200},
			{"down.test", "https://a.test", "https://a.test", 502},
		} {
			header := map[string]string{}
			if test.origin != "" {
				header["Origin"] = test.origin
			}
			resp, _ := e.ask(t, "GET", test.host, "/", header)
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != test.want || resp.StatusCode != test.status {
				t.Errorf("%s from %q: %d, allowed %q, want %d, %q", test.host, test.origin, resp.StatusCode, got, test.status, test.want)
			}
			if vary := strings.Join(resp.Header["Vary"], ","); test.host == "some.test" && vary != "X-Own,Origin" {
				t.Errorf("Vary is %q", vary)
			}
		}
		preflight := map[string]string{"Origin": "https://a.test", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-b"}
		resp, body := e.ask(t, "OPTIONS", "some.test", "/x", preflight)
		got := fmt.Sprint(resp.StatusCode, body, resp.Header["Access-Control-Allow-Origin"], resp.Header["Access-Control-Allow-Methods"], resp.Header["Access-Control-Allow-Headers"],
			resp.Header["Access-Control-Allow-Credentials"], resp.Header["Access-Control-Max-Age"], resp.Header["Access-Control-Expose-Headers"])
		if got != "204[https://a.test] [PUT] [authorization,x-b] [true] [3600] [x-total]" {
			t.Errorf("a preflight request gets %s", got)
		}
		for host, want := range map[string]int{"all.test": 204, "own.test": 200, "password.test": 204, "networks.test": 403} {
			if version < "1.38" && host == "password.test" {
				want = 403
			}
			if resp, _ := e.ask(t, "OPTIONS", host, "/", preflight); resp.StatusCode != want {
				t.Errorf("a preflight request to %s gets %d, want %d", host, resp.StatusCode, want)
			}
		}
		if resp, body := e.ask(t, "OPTIONS", "some.test", "/", map[string]string{"Origin": "https://a.test"}); resp.StatusCode != 200 || body != "OPTIONS" {
			t.Errorf("what is no preflight request gets %d %q", resp.StatusCode, body)
		}
		if resp, _ := e.ask(t, "GET", "password.test", "/", map[string]string{"Origin": "https://a.test"}); resp.StatusCode != closed || closed == 401 && resp.Header.Get("Access-Control-Allow-Origin") != "https://a.test" {
			t.Errorf("without a password: %d, %v", resp.StatusCode, resp.Header)
		}
	})
}

// Requests for urgent paths go on when the others have reached the limit.
func TestPriorityLabel(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	release := make(chan struct{})
	var waiting atomic.Int64
	slow := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			waiting.Add(1)
			<-release
		}
	}
	e.c.SyncApps([]*sources.App{e.shaped("/a", "a.test", slow, "PRIORITY=/health /check.out", "MAX_REQUESTS=1", "NUM_RETRIES=0")})
	e.certificates()
	e.eventually(t, request{host: "a.test"}, status(200))
	done := make(chan error, 1)
	go func() { _, err := e.send(t.Context(), request{host: "a.test", path: "/slow"}); done <- err }()
	e.until(t, "a request is under way", func() bool { return waiting.Load() == 1 })
	for path, want := range map[string]int{"/": 503, "/health": 200, "/health/x?y": 200, "/checkXout": 503, "/check.out": 200, "/x/health": 503} {
		if resp, _ := e.ask(t, "GET", "a.test", path, nil); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that sends the header again stays with its instance.
func TestStickyHeaderLabel(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	var addresses []string
	for i := range 3 {
		addresses = append(addresses, e.serves(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
	}
	app := changed(set(t, webApp("/a", "*.a.test"), "STICKY_HEADER=X-Session"), func(p *sources.Port) { p.Endpoints = endpoints(addresses...) })
	e.c.SyncApps([]*sources.App{app})
	e.certificates()
	e.eventually(t, request{host: "x.a.test"}, status(200))
	resp, first := e.ask(t, "GET", "X.a.test", "/", nil)
	session := resp.Header.Get("X-Session")
	if session == "" {
		t.Fatalf("the answer has no session: %v", resp.Header)
	}
	for range 20 {
		if _, body := e.ask(t, "GET", "x.a.test:81", "/", map[string]string{"X-Session": session}); body != first {
			t.Fatalf("instance %s answers, then %s", first, body)
		}
	}
	for _, odd := range []string{"x", strings.Repeat("A", 5000), "MTI3LjAuMC4xOjE="} {
		if resp, _ := e.ask(t, "GET", "x.a.test", "/", map[string]string{"X-Session": odd}); resp.StatusCode != 200 {
			t.Errorf("the session %.20q gets %d", odd, resp.StatusCode)
		}
	}
}

// Faults are for fleets that allow them.
func TestFaultLabel(t *testing.T) {
	t.Parallel()
	for _, allowed := range []bool{true, false} {
		t.Run(fmt.Sprint("allowed ", allowed), func(t *testing.T) {
			t.Parallel()
			e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.Faults = allowed })
			e.c.SyncApps([]*sources.App{
				e.shaped("/slow", "slow.test", seen, "FAULT=delay 300ms 100%"), e.shaped("/broken", "broken.test", seen, "FAULT=abort 418 100%"), e.shaped("/other", "other.test", seen),
				e.shaped("/closed", "closed.test", seen, "FAULT=delay 300ms 100%", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
			})
			e.certificates()
			broken := map[bool]int{true: 418, false: 200}[allowed]
			e.eventually(t, request{host: "broken.test"}, status(broken))
			e.eventually(t, request{host: "closed.test"}, status(401))
			for host, slow := range map[string]bool{"slow.test": allowed, "other.test": false} {
				e.eventually(t, request{host: host}, status(200))
				// A machine with much to do has any request take long, but not all of them.
				shortest := time.Hour
				for try := 0; try < 20 && shortest >= 250*time.Millisecond && (try == 0 || !slow); try++ {
					start := time.Now()
					e.ask(t, "GET", host, "/", nil)
					shortest = min(shortest, time.Since(start))
				}
				if (shortest >= 250*time.Millisecond) != slow {
					t.Errorf("%s took %s", host, shortest)
				}
			}
		})
	}
}
