package envoy_test

import (
	"fmt"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/failure"
	"relay/sources"
	"relay/xds/envoytest"
)

func ownPages(t *testing.T, html map[string]string) func(*routing.Fleet, *certstest.CA) {
	t.Helper()
	pages := make(failure.Pages)
	for name, text := range html {
		page, err := failure.ParsePage([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = page
	}
	return func(f *routing.Fleet, _ *certstest.CA) { f.ErrorPages = pages }
}

// A fleet's own pages are shown in place of the built-in ones, byte for byte, with what is known of
// the request, and nothing that the client has put there.
func TestErrorPages(t *testing.T) {
	t.Parallel()
	large := "<!doctype html><title>100% \"full\" %REQ(host)% %</title>\n" + strings.Repeat("<p style='width:50%'>ä{x}</p>", 2000)
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, ownPages(t, map[string]string{
			"offline": large + "{{domain}}|{{code}}|{{status}}|{{text}}|{{request_id}}", "no-such-path": "{{text}}",
			failure.DefaultPage: "default {{code}} {{status}} {{domain}} {{ request_id }} {{text}}",
		}))
		e.c.SyncCertificates("vault", nil, nil)
		paths := changed(e.app("/paths", "paths.test"), func(p *sources.Port) { p.HTTP = &sources.HTTP{Paths: []sources.Path{{Prefix: "/a"}}} })
		offline := changed(webApp("/offline", "offline.test"), func(p *sources.Port) { p.Endpoints = nil })
		e.c.SyncApps([]*sources.App{e.app("/web", "web.test"), paths, offline, inMaintenance(webApp("/shop", "shop.test"))})
		e.eventually(t, request{host: "web.test", path: "/"}, fromApp("/web"))
		e.eventually(t, request{host: "shop.test", path: "/"}, status(503))

		textOf := func(name string) string { code, _ := failure.Of(name); return code.Text }
		for _, tt := range []struct{ request, code, want string }{
			{"GET / HTTP/1.1\r\nHost: offline.test:80\r\nX-Request-Id: id", "offline", large + "offline.test|offline|503|" + textOf("offline") + "|id"},
			{"POST / HTTP/1.1\r\nContent-Length: 0\r\nHost: offline.test\r\nX-Request-Id: <b>", "offline", large + "offline.test|offline|503|" + textOf("offline") + "|-"},
			{"GET /b HTTP/1.1\r\nHost: paths.test", "no-such-path", textOf("no-such-path")},
			{"GET / HTTP/1.1\r\nHost: shop.test\r\nX-Request-Id: i", "maintenance", "default maintenance 503 shop.test i " + textOf("maintenance")},
			{"GET / HTTP/1.1\r\nHost: nope.test\r\nX-Request-Id: i", "no-such-domain", "default no-such-domain 404 nope.test i " + textOf("no-such-domain")},
			{"GET / HTTP/1.1\r\nHost: <script>.test\r\nX-Request-Id: i", "", ""},
			{"GET / HTTP/1.1\r\nHost: a\"onload=x\r\nX-Request-Id: %41", "", ""},
		} {
			a, err := say(e.fleet.HTTP.String(), tt.request+"\r\n\r\n")
			switch {
			case err != nil || !strings.HasPrefix(a.contentType, "text/html"):
				t.Errorf("%q: %+v, %v", tt.request, a.header, err)
			case tt.code == "" && (strings.Contains(a.body, "<script") || strings.Contains(a.body, "onload") || !strings.HasPrefix(a.body, "default ")):
				t.Errorf("%q: %s", tt.request, a.body)
			case tt.code != "" && (a.code != tt.code || a.body != tt.want):
				t.Errorf("%q: code %s, %d bytes: %.300q", tt.request, a.code, len(a.body), strings.TrimPrefix(a.body, large))
			}
		}
		e.withoutHTML(t)
	})
}

// withoutHTML looks at what gRPC clients get: words without HTML.
func (e *realEnvoy) withoutHTML(t *testing.T) {
	t.Helper()
	for _, host := range []string{"offline.test", "shop.test", "nope.test"} {
		a, err := say(e.fleet.HTTP.String(), fmt.Sprintf("POST /a.B/C HTTP/1.1\r\nHost: %s\r\nContent-Type: application/grpc\r\nX-Request-Id: g\r\nContent-Length: 0\r\n\r\n", host))
		message := a.header.Get("Grpc-Message")
		if err != nil || a.code == "" || !strings.HasPrefix(message, a.code+": ") || !strings.HasSuffix(message, " Request g") || strings.ContainsAny(message, "<%|") {
			t.Errorf("%s: got %+v, %v", host, a, err)
		}
	}
}

// The pages are in the listener once, however many certificates it has.
func TestErrorPagesAreThereOnce(t *testing.T) {
	t.Parallel()
	const mark = "only-once-in-a-listener"
	e := startEnvoy(t, ownPages(t, map[string]string{"offline": "<p>" + mark + " {{code}}"}))
	e.certificates("a.test", "b.test", "c.test")
	e.c.SyncApps([]*sources.App{changed(webApp("/a", "a.test"), func(p *sources.Port) { p.Endpoints = nil })})
	a := e.eventually(t, request{host: "a.test", path: "/", tls: true, sni: "a.test"}, status(503))
	if a.body != "<p>"+mark+" offline" {
		t.Errorf("got %s", a.body)
	}
	dump, err := e.envoy.Get(t.Context(), "/config_dump?resource=dynamic_listeners")
	if n := strings.Count(string(dump), mark); err != nil || n != 2 {
		t.Errorf("both listeners have it %d times: %v", n, err)
	}
}
