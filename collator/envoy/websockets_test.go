package envoy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"relay/admin/page/pagetest"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

func extendedConnect(f *routing.Fleet, _ *certstest.CA) { f.ExtendedConnect = true }

// connectTo is a request for a WebSocket by HTTP/2, without the key that HTTP/1 has.
func connectTo(host, path string) []string {
	return []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", host, ":path", path, "sec-websocket-version", "13"}
}

// webSocketText is a text message of a client, in one frame, with a mask of zeros.
func webSocketText(s string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(s)), 0, 0, 0, 0}, s...)
}

// Apps by HTTP/1 take WebSockets that come by HTTP/2, and what keeps requests out keeps these out.
func TestWebSocketsByHTTP2(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, extendedConnect)
		e.c.SyncCertificates("vault", nil, nil)
		echo := e.backend("echo")
		app := func(name string, settings ...string) *sources.App {
			return changed(set(t, webApp("/"+name, name+".test"), settings...), func(p *sources.Port) { p.Endpoints = endpoints(echo) })
		}
		e.c.SyncApps([]*sources.App{
			app("open"), app("auth", "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), app("net", "BACKEND_NETWORK_ALLOWED_ACL=192.0.2.0/24"),
			app("path", "PATH=/ws"), app("moved", "HTTP_BACKEND_REDIR=/app"),
		})
		e.eventually(t, request{host: "open.test", path: "/"}, status(200))
		e.eventually(t, request{host: "path.test", path: "/ws"}, status(200))
		refused := "401"
		if version != envoytest.Newest {
			refused = "403" // older Envoys cannot ask for a password
		}
		for _, x := range []struct {
			name, status string
			fields       []string
		}{
			{"taken", "200", connectTo("open.test", "/")},
			{"a key of the client", "200", append(connectTo("open.test", "/"), "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")},
			{"a key that the app refuses", "400", append(connectTo("open.test", "/"), "sec-websocket-key", "short")},
			{"upper case", "200", connectTo("OPEN.test", "/")},
			{"password", refused, connectTo("auth.test", "/")},
			{"password, in upper case", refused, connectTo("AUTH.test", "/")},
			{"network", "403", connectTo("net.test", "/")},
			{"path", "200", connectTo("path.test", "/ws")},
			{"another path", "404", connectTo("path.test", "/")},
			{"climbs", "400", connectTo("path.test", "/ws/../x")},
			{"redirect", "301", connectTo("moved.test", "/")},
			{"unknown host", "404", connectTo("nope.test", "/")},
			{"another protocol", "404", []string{":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "http", ":authority", "open.test", ":path", "/"}},
			{"a tunnel", "404", []string{":method", "CONNECT", ":authority", "open.test:80"}},
			{"a protocol by GET", "", []string{":method", "GET", ":protocol", "websocket", ":scheme", "http", ":authority", "open.test", ":path", "/"}},
			{"a line in the protocol", "", []string{":method", "CONNECT", ":protocol", "websocket\r\nx: y", ":scheme", "http", ":authority", "open.test", ":path", "/"}},
		} {
			c := dialHTTP2(t, e.fleet.HTTP.String())
			stream := c.send(false, x.fields...)
			if x.status == "200" {
				if err := c.framer.WriteData(stream, false, webSocketText("hello")); err != nil {
					t.Fatal(err)
				}
			}
			status, data := c.receive(stream)
			if status != x.status {
				t.Errorf("%s: status %q, %.300q; want %q", x.name, status, data, x.status)
			}
			if x.status == "200" && (!c.connect || data != "\x81\x05hello") {
				t.Errorf("%s: offered %v, the app says %q, want an echo", x.name, c.connect, data)
			}
		}
		// Only WebSockets that come by HTTP/2 get a key.
		for _, x := range []exchange{
			{name: "plain", request: "GET / HTTP/1.1\r\nHost: open.test\r\n\r\n", status: 200, hasNot: []string{"sec-websocket-key"}},
			{name: "without a key by HTTP/1", request: "GET / HTTP/1.1\r\nHost: open.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", status: 400},
		} {
			x.run(t, e.fleet.HTTP.String())
		}
	})
}

// What a client sends after its request for a WebSocket is no further request to the app: an app
// that refuses never sees it, so nobody gets by it to a path that is kept shut.
func TestRefusedWebSockets(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, extendedConnect)
		var mu sync.Mutex
		var asked []string
		ended := 0
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked = append(asked, r.URL.Path)
			mu.Unlock()
			status := 0
			_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
			w.WriteHeader(max(status, 200))
			_, _ = io.WriteString(w, "page of the app")
		}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			if state == http.StateClosed {
				ended++
			}
		}
		s.Start()
		t.Cleanup(s.Close)
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{changed(webApp("/app", "app.test"), func(p *sources.Port) { p.Endpoints = endpoints(s.Listener.Addr().String()) })})
		e.eventually(t, request{host: "app.test", path: "/"}, status(200))
		const smuggled = "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"
		var want []string
		for _, status := range []int{200, 400, 404} {
			path := fmt.Sprintf("/%d", status)
			c := dialHTTP2(t, e.fleet.HTTP.String())
			stream := c.send(false, connectTo("app.test", path)...)
			if err := c.framer.WriteData(stream, false, []byte(smuggled)); err != nil {
				t.Fatal(err)
			}
			// 200 says yes by HTTP/2. So the stream has to end, and nothing is taken for messages.
			if got, data := c.receive(stream); got != fmt.Sprint(status) || status == 200 && data != "" {
				t.Errorf("%d by HTTP/2: %q, %q", status, got, data)
			}
			a, _ := say(e.fleet.HTTP.String(), "GET "+path+" HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+smuggled)
			if a.status != status {
				t.Errorf("%d by HTTP/1: %+v", status, a)
			}
			want = append(want, path, path)
		}
		e.until(t, "connections to the app end", func() bool { mu.Lock(); defer mu.Unlock(); return ended >= len(want) })
		mu.Lock()
		defer mu.Unlock()
		asked = slices.DeleteFunc(asked, func(path string) bool { return path == "/" })
		if !slices.Equal(asked, want) {
			t.Errorf("the app was asked for %q, want %q", asked, want)
		}
	})
}

// A browser opens its WebSockets on the connection of the page.
func TestWebSocketsOfABrowser(t *testing.T) {
	t.Parallel()
	for _, extended := range []bool{true, false} {
		t.Run(fmt.Sprint("extended ", extended), func(t *testing.T) {
			t.Parallel()
			e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.ExtendedConnect = extended })
			e.certificates("web.test")
			e.c.SyncApps([]*sources.App{e.app("/web", "web.test")})
			e.eventually(t, request{host: "web.test", path: "/", tls: true, sni: "web.test"}, fromApp("/web"))
			opened := func() (n int64) {
				const stat = "http.https.downstream_cx_total"
				stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(stat)+"$"))
				if err != nil {
					t.Fatal(err)
				}
				return stats[stat]
			}
			ctx := pagetest.Start(t, chromedp.IgnoreCertErrors, chromedp.Flag("host-resolver-rules", "MAP web.test 127.0.0.1"))
			url := fmt.Sprintf("//web.test:%d/", e.fleet.HTTPS.Port())
			pagetest.Do(t, ctx, chromedp.Navigate("https:"+url))
			pagetest.WaitFor(t, ctx, `document.body.innerText.startsWith("app /web")`)
			before := opened()
			pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.said = []; for (let i = 0; i < 5; i++) {
				const ws = new WebSocket("wss:`+url+`");
				ws.onopen = () => ws.send("hello " + i);
				ws.onmessage = e => said.push(e.data);
			} true`))
			pagetest.WaitFor(t, ctx, `said.length == 5 && said.sort()[4] == "hello 4"`)
			want := int64(0)
			if !extended {
				want = 5
			}
			if more := opened() - before; more != want {
				t.Errorf("%d more connections for 5 WebSockets, want %d", more, want)
			}
		})
	}
}
