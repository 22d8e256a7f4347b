package envoy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"relay/sources"
	"relay/xds/envoytest"
)

// text is an answer of a kind that the path says, and larger than what is left as it is unless the path says small.
func text(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	kinds := map[string]string{"png": "image/png", "events": "text/event-stream", "grpc": "application/grpc"}
	kind := kinds[path]
	if kind == "" {
		kind = "text/html; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	size := 4000
	switch path {
	case "small":
		size = 1000
	case "etag":
		w.Header().Set("Etag", `"v1"`)
	case "encoded":
		w.Header().Set("Content-Encoding", "br")
	case "fixed":
		w.Header().Set("Cache-Control", "no-transform")
	}
	w.Header().Set("Content-Length", fmt.Sprint(size))
	if path == "part" {
		w.WriteHeader(http.StatusPartialContent)
	}
	fmt.Fprint(w, strings.Repeat("x", size))
}

func TestCompressLabel(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncApps([]*sources.App{
			e.shaped("/all", "all.test", text, "COMPRESS=true"), e.shaped("/gzip", "gzip.test", text, "COMPRESS=gzip"), e.shaped("/none", "none.test", text),
			e.shaped("/best", "best.test", text, "COMPRESS=br zstd"),
			e.shaped("/password", "password.test", text, "COMPRESS=true", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
		})
		e.certificates()
		for _, host := range []string{"all.test", "gzip.test", "none.test", "best.test"} {
			e.eventually(t, request{host: host}, status(200))
		}
		closed := map[bool]int{true: 401, false: 403}[version == envoytest.Newest]
		e.eventually(t, request{host: "password.test"}, status(closed))
		const any = "gzip, deflate, br, zstd"
		for _, test := range []struct{ host, path, accept, want string }{
			{"all.test", "/", any, "zstd"}, {"All.test:80", "/", "gzip, br", "gzip"}, {"all.test", "/", "br, gzip", "br"}, {"all.test", "/", "gzip", "gzip"}, {"all.test", "/", "br;q=0.1, gzip", "gzip"},
			{"best.test", "/", any, "br"},
			{"all.test", "/", "identity", ""}, {"all.test", "/", "", ""}, {"all.test", "/", "gzip;q=0", ""},
			{"gzip.test", "/", any, "gzip"}, {"gzip.test", "/", "br", ""}, {"none.test", "/", any, ""},
			{"all.test", "/small", any, ""}, {"all.test", "/png", any, ""}, {"all.test", "/events", any, ""}, {"all.test", "/grpc", any, ""},
			{"all.test", "/encoded", any, "br"}, {"all.test", "/fixed", any, ""}, {"all.test", "/part", any, ""}, {"all.test", "/etag", any, "zstd"},
		} {
			if version != envoytest.Newest && test.path != "/encoded" {
				test.want = "" // they serve the app without
			}
			header := map[string]string{"Accept-Encoding": test.accept}
			if test.accept == "" {
				header = nil
			}
			resp, body := e.ask(t, "GET", test.host, test.path, header)
			if got := resp.Header.Get("Content-Encoding"); got != test.want || resp.StatusCode > 206 {
				t.Errorf("%s%s for %q: %d, compressed by %q, want %q", test.host, test.path, test.accept, resp.StatusCode, got, test.want)
			}
			if compressed := test.want != "" && test.path != "/encoded"; compressed != (len(body) < 900) {
				t.Errorf("%s%s for %q has %d bytes", test.host, test.path, test.accept, len(body))
			}
			if etag := resp.Header.Get("Etag"); test.path == "/etag" && etag != map[bool]string{true: `W/"v1"`, false: `"v1"`}[test.want != ""] {
				t.Errorf("the tag of a compressed answer is %s", etag)
			}
		}
	})
}

// Instances that answer badly are left out, but never all of them.
func TestOutlierDetectionLabel(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	failing := func(asked *atomic.Int64) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	var bad, alone, all, plain atomic.Int64
	good := func(w http.ResponseWriter, _ *http.Request) {}
	app := func(id, domain string, instances []http.HandlerFunc, settings ...string) *sources.App {
		return changed(set(t, webApp(id, domain), settings...), func(p *sources.Port) {
			var addresses []string
			for _, handler := range instances {
				addresses = append(addresses, e.serves(handler))
			}
			p.Endpoints = endpoints(addresses...)
		})
	}
	const label = "OUTLIER_DETECTION=3 1h"
	e.c.SyncApps([]*sources.App{
		app("/some", "some.test", []http.HandlerFunc{failing(&bad), good, good}, label, "BALANCE=roundrobin"),
		app("/alone", "alone.test", []http.HandlerFunc{failing(&alone)}, label),
		app("/all", "all.test", []http.HandlerFunc{failing(&all), failing(&all), failing(&all)}, label, "BALANCE=roundrobin"),
		app("/plain", "plain.test", []http.HandlerFunc{failing(&plain), good, good}, "BALANCE=roundrobin"),
	})
	e.certificates()
	for _, host := range []string{"some.test", "alone.test", "all.test", "plain.test"} {
		e.eventually(t, request{host: host}, func(a answer) bool { return a.status == 200 || a.status == 500 })
	}
	e.until(t, "the instance that fails is left out", func() bool {
		before := bad.Load()
		for range 12 {
			e.ask(t, "GET", "some.test", "/", nil)
		}
		return bad.Load() == before
	})
	for host, asked := range map[string]*atomic.Int64{"alone.test": &alone, "all.test": &all} {
		before := asked.Load()
		for range 60 {
			if resp, _ := e.ask(t, "GET", host, "/", nil); resp.StatusCode != 500 {
				t.Fatalf("%s answers %d: all instances are left out", host, resp.StatusCode)
			}
		}
		if n := asked.Load() - before; n != 60 {
			t.Errorf("the instances of %s got %d of 60 requests", host, n)
		}
	}
	before := plain.Load()
	for range 60 {
		e.ask(t, "GET", "plain.test", "/", nil)
	}
	if plain.Load() == before {
		t.Error("an instance is left out though nobody asked for that")
	}
}

// Envoys take what labels take, however much it is.
func TestLargeShapingIsTaken(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		var apps []*sources.App
		add := func(settings ...string) {
			domain := fmt.Sprintf("a%d.test", len(apps))
			app := e.shaped("/"+domain, domain, seen, settings...)
			if h := app.Ports[0].HTTP; h == nil || h.Shaping == nil {
				t.Fatalf("%.80q is not taken", settings)
			}
			apps = append(apps, app)
		}
		lines := func(n int, format string) string {
			var all []string
			for i := range n {
				all = append(all, fmt.Sprintf(format, i))
			}
			return strings.Join(all, "\n")
		}
		add("REDIRECT=" + lines(50, "x%d-"+strings.Repeat("k", 40)+".test/sss* -> https://y.test/%%%%2a'\"(*"))
		add("CORS_ORIGINS=" + lines(50, "https://*.x%d.test"))
		add("CORS_ORIGINS="+lines(50, "https://x%d.test:8443"), "CORS_METHODS="+"PUT", "CORS_HEADERS=x-%a")
		add("PRIORITY=" + strings.ReplaceAll(lines(20, "/%d"+strings.Repeat("k.", 20)), "\n", " "))
		for n := range 12 {
			add("PATH_REWRITE=/" + strings.Repeat("[^/]+/.*", n) + " -> /x")
			add("PATH_REWRITE=/(?i)" + strings.Repeat("ks", 6*n) + `\S(\w|\D) -> /x\1`)
			add("PATH_REWRITE=/" + strings.Repeat("a", 10*n) + " -> /x")
		}
		e.c.SyncApps(apps)
		e.certificates()
		for _, app := range apps {
			e.eventually(t, request{host: app.Ports[0].Domains[0]}, status(200))
		}
	})
}

// WebSockets and streams of events pass through all of it.
func TestStreamsAreNotShaped(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		next := e.app("/shop/next", "next.test")
		web := changed(set(t, webApp("/shop/web", "web.test"), "COMPRESS=true", "CORS_ORIGINS=https://a.test", "STICKY_HEADER=x-s", "MIRROR=/shop/next 100%", "HOST_REWRITE=x.test", "PRIORITY=/urgent", "OUTLIER_DETECTION=5"),
			func(p *sources.Port) { p.Endpoints = endpoints(e.backend("web")) })
		e.c.SyncApps([]*sources.App{web, next})
		e.certificates()
		e.eventually(t, request{host: "web.test"}, status(200))
		ctx, cancel := contextOf(t)
		defer cancel()
		ws, err := e.websocket(ctx, "web.test")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		for i := range 3 {
			want := fmt.Sprint("message ", i)
			if err := ws.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := ws.Read(ctx); err != nil || string(got) != want {
				t.Fatalf("%q comes back, %v", got, err)
			}
		}
		// Who is sent copies goes, which is no matter of the WebSocket.
		e.c.UpdateApps(nil, []string{"/shop/next"})
		e.eventually(t, request{host: "next.test"}, status(404))
		if err := ws.Write(ctx, websocket.MessageText, []byte("still")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != "still" {
			t.Errorf("%q comes back, %v", got, err)
		}
	})
}
