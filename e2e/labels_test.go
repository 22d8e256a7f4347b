package e2e

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"relay/sources/marathon/marathontest"
)

// passwordHash is that of "password" as htpasswd -s makes it.
const passwordHash = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="

func TestPathLabels(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.start()
	w.marathon.deploy(
		app("/site", "a.test", 1),
		app("/api", "a.test", 1, "HAPROXY_0_PATH", "/api /v2"),
		app("/any-case", "a.test", 1, "HAPROXY_0_PATH", "-i /Old", "HAPROXY_0_REDIRECT_TO_HTTPS", "true"),
		app("/first", "a.test", 1, "HAPROXY_0_PATH", "/api/first", "HAPROXY_0_BACKEND_WEIGHT", "10"),
		app("/last", "a.test", 1, "HAPROXY_0_PATH", "/api/last"),
		app("/twin", "a.test", 1, "HAPROXY_0_PATH", "/v2"),
		app("/nowhere", "a.test", 1, "HAPROXY_0_PATH", "api"),
		app("/only", "b.test", 1, "HAPROXY_0_PATH", "/only"),
	)
	for path, id := range map[string]string{
		"/": "/site", "/x": "/site", "/API": "/site", "/api": "/api", "/apix": "/api", "/v2/x?y": "/api",
		"/api/first/x": "/first", "/api/last": "/api",
	} {
		w.clients.expect("http://a.test"+path, http.StatusOK, id)
	}
	w.clients.expect("http://a.test/oLD/x", http.StatusMovedPermanently, "")
	w.clients.expect("https://a.test/oLD/x", http.StatusOK, "/any-case")
	w.clients.expect("http://b.test/only", http.StatusOK, "/only")
	w.clients.expect("http://b.test/", http.StatusNotFound, "")
	w.admin.problem("/last", "port 0 of /api has /api, which takes these requests before")
	w.admin.problem("/twin", "the lowest app id wins")
	w.admin.problem("/nowhere", "slash")
	w.envoy.accepted()
}

func TestBalanceLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	balance := func(name, algorithm string) string {
		return app("/"+name, name+".test", 3, "HAPROXY_0_BALANCE", algorithm)
	}
	w.marathon.deploy(
		balance("round", "roundrobin"), balance("static", "static-rr"), balance("least", "leastconn"), balance("random", "random"),
		balance("first", "first"), balance("source", "source"), balance("uri", "uri"), balance("whole", "uri whole"),
		balance("header", "hdr(X-User)"), balance("param", "url_param user"),
		app("/cookie", "cookie.test", 3, "RELAY_0_HASH_POLICY", "cookie user"),
	)
	for _, name := range []string{"round", "static", "least", "random", "first", "source", "uri", "whole", "header", "param", "cookie"} {
		w.clients.expect("http://"+name+".test/", http.StatusOK, "/"+name)
	}
	w.upToDate() // with all tasks
	for _, name := range []string{"round", "static", "least", "random", "first"} {
		all(t, name, w.clients.tasksOf(60, func(int) (string, []string) { return "http://" + name + ".test/", nil }), 3)
	}
	// Equal hashes meet one task, different ones all of them.
	for name, by := range map[string]func(i int) (string, []string){
		"uri":    func(i int) (string, []string) { return fmt.Sprintf("http://uri.test/%d", i), nil },
		"whole":  func(i int) (string, []string) { return fmt.Sprintf("http://whole.test/?%d", i), nil },
		"header": func(i int) (string, []string) { return "http://header.test/", []string{"X-User", fmt.Sprint(i)} },
		"param":  func(i int) (string, []string) { return fmt.Sprintf("http://param.test/?user=%d", i), nil },
		"cookie": func(i int) (string, []string) {
			return "http://cookie.test/", []string{"Cookie", fmt.Sprint("user=", i)}
		},
	} {
		all(t, name+", equal", w.clients.tasksOf(15, func(int) (string, []string) { return by(7) }), 1)
		all(t, name+", different", w.clients.tasksOf(60, by), 3)
	}
	all(t, "source", w.clients.tasksOf(15, func(i int) (string, []string) { return fmt.Sprintf("http://source.test/%d", i), nil }), 1)
	all(t, "uri without query", w.clients.tasksOf(15, func(i int) (string, []string) { return fmt.Sprintf("http://uri.test/?%d", i), nil }), 1)
	w.admin.problem("/first", "round robin is used")
	w.envoy.accepted()
}

// A client that asks two apps of one domain in turn keeps its task of each, and so does one
// whose requests two apps share.
func TestStickyAppsShareADomain(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(app("/web", "s.test", 3, "HAPROXY_0_STICKY", "true"),
		app("/api", "s.test", 3, "HAPROXY_0_STICKY", "true", "HAPROXY_0_PATH", "/api"),
		app("/blue", "shared.test", 3, "HAPROXY_0_STICKY", "true", "RELAY_0_CLUSTER_WEIGHT", "1"),
		app("/green", "shared.test", 3, "HAPROXY_0_STICKY", "true", "RELAY_0_CLUSTER_WEIGHT", "1"))
	w.clients.expect("http://s.test/", http.StatusOK, "/web")
	w.clients.expect("http://s.test/api", http.StatusOK, "/api")
	w.clients.expect("http://shared.test/", http.StatusOK, "/blue")
	w.upToDate() // with the other app
	for _, urls := range [][]string{{"http://s.test/", "http://s.test/api"}, {"http://shared.test/"}} {
		client := w.clients.client(false)
		client.Jar, _ = cookiejar.New(nil)
		tasks := make(map[string]map[string]bool) // by app
		for i := range 40 {
			a, err := w.clients.get(client, urls[i%len(urls)], "")
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("%s: status %d, %v", urls[i%len(urls)], a.status, err)
			}
			app := a.header.Get("X-App")
			if tasks[app] == nil {
				tasks[app] = make(map[string]bool)
			}
			tasks[app][a.task()] = true
		}
		for app, those := range tasks {
			if len(those) != 1 {
				t.Errorf("%s: the requests of one client to %s are answered by %d tasks", urls, app, len(those))
			}
		}
		if len(tasks) != 2 {
			t.Errorf("%s: answered by %d apps", urls, len(tasks))
		}
	}
}

// A client keeps its task by a cookie, also while the task is told to stop, and
// gets another one when it is gone.
func TestStickyLabel(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(app("/sticky", "sticky.test, *.zone.test", 3, "HAPROXY_0_STICKY", "true"))
	w.clients.expect("http://sticky.test/", http.StatusOK, "/sticky")
	w.clients.echo("ws://sticky.test/ws")
	for _, host := range []string{"sticky.test", "STICKY.test.", "x.zone.test"} {
		jar, _ := cookiejar.New(nil)
		client := w.clients.client(false)
		client.Jar = jar
		first, err := w.clients.get(client, "http://sticky.test/", host)
		if err != nil {
			t.Fatal(err)
		}
		if cookie := first.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "mesosphere_server_id_") || strings.Contains(cookie, "Max-Age") {
			t.Errorf("Host %s: the cookie is %q", host, cookie)
		}
		stays := func(when string) {
			for range 15 {
				if a, err := w.clients.get(client, "http://sticky.test/", host); err != nil || a.task() != first.task() {
					t.Fatalf("Host %s, %s: %s by %s, %v; was by %s", host, when, fmt.Sprint(a.status), a.task(), err, first.task())
				}
			}
		}
		stays("all run")
		if err := w.marathon.UpdateTask(first.task(), func(t *marathontest.Task) { t.State = "TASK_KILLING" }); err != nil {
			t.Fatal(err)
		}
		w.eventually("new clients go elsewhere", func() error {
			for range 10 {
				if a := w.clients.do("http://sticky.test/", "Host", host); a.task() == first.task() {
					return fmt.Errorf("%s still takes new clients", a.task())
				}
			}
			return nil
		})
		stays("it drains")
		if err := w.marathon.Crash(first.task()); err != nil {
			t.Fatal(err)
		}
		w.eventually("another task takes over", func() error {
			a, err := w.clients.get(client, "http://sticky.test/", host)
			if err == nil && (a.status != http.StatusOK || a.task() == first.task()) {
				err = fmt.Errorf("status %d by %s", a.status, a.task())
			}
			return err
		})
		w.marathon.idle()
	}
	w.envoy.accepted()
}

func TestRewriteLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(
		app("/proxypass", "pass.test,*.pass.test", 1, "HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/a.b"),
		app("/long", "long.test", 1, "HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/"+strings.Repeat("a.", 500)),
		app("/root", "root.test", 1, "HAPROXY_0_HTTP_BACKEND_REDIR", "/app/?x=1"),
	)
	w.marathon.backend("/reverse", "reverse.test,*.reverse.test", httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", r.Header.Get("X-Location"))
		rw.WriteHeader(http.StatusFound)
	})), "HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH", "/app")
	for path, seen := range map[string]string{
		"/a.b/x?q=1": "/x?q=1", "/a.b": "/", "/A.B/x": "/x", "/a.bx": "/x", "/aXb/x": "/aXb/x", "/other": "/other",
	} {
		w.clients.expect("http://pass.test"+path, http.StatusOK, "/proxypass")
		e := w.clients.echoed(w.clients.do("http://pass.test"+path, "Host", "PASS.test:8080"))
		if want := "GET " + seen + " HTTP/1.1"; e.Request != want || e.Host != "pass.test" {
			t.Errorf("%s reached the app as %s, Host %s; want %s, pass.test", path, e.Request, e.Host, want)
		}
	}
	if e := w.clients.echoed(w.clients.do("http://x.pass.test/a.b/x")); e.Host != "x.pass.test" || e.Request != "GET /x HTTP/1.1" {
		t.Errorf("a wildcard domain reached the app as %s, Host %s", e.Request, e.Host)
	}
	if e := w.clients.echoed(w.clients.expect("http://long.test/"+strings.Repeat("a.", 500)+"/x", http.StatusOK, "/long")); e.Request != "GET /x HTTP/1.1" {
		t.Errorf("a long prefix reached the app as %s", e.Request)
	}
	a := w.clients.expect("http://root.test/?y=2", http.StatusMovedPermanently, "")
	if want := "http://root.test/app/?x=1"; a.header.Get("Location") != want {
		t.Errorf("/ is sent to %q, want %q", a.header.Get("Location"), want)
	}
	w.clients.expect("http://root.test/x", http.StatusOK, "/root")

	w.clients.expect("http://reverse.test/", http.StatusFound, "")
	for sent, want := range map[string]string{
		"/login?x": "/app/login?x", "http://reverse.test/login": "/app/login", "https://Reverse.test:8443": "/app/",
		"http://other.test/login": "http://other.test/login", "//other.test/": "//other.test/", "login": "login",
		"/app/login": "/app/login", "/app": "/app", "/application": "/app/application",
	} {
		if got := w.clients.do("http://reverse.test/", "X-Location", sent).header.Get("Location"); got != want {
			t.Errorf("Location %s became %s, want %s", sent, got, want)
		}
	}
	if got := w.clients.do("http://x.reverse.test/", "X-Location", "http://x.reverse.test/a").header.Get("Location"); got != "/app/a" {
		t.Errorf("Location in a wildcard domain became %s", got)
	}
	w.envoy.accepted()
}

func TestHSTSLabel(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.certs.issue("own.test")
	w.start()
	w.marathon.deploy(app("/a", "a.test", 1, "HAPROXY_0_USE_HSTS", "true"))
	w.marathon.backend("/own", "own.test", httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Strict-Transport-Security", "max-age=1")
	})), "HAPROXY_0_USE_HSTS", "true", "HAPROXY_0_REDIRECT_TO_HTTPS", "true")
	says := func(url, want string, status int) {
		t.Helper()
		w.eventually(url, func() error {
			a, err := w.clients.get(w.clients.client(false), url, "")
			if got := a.header.Values("Strict-Transport-Security"); err == nil && (strings.Join(got, "|") != want || a.status != status) {
				return fmt.Errorf("status %d, says %q, want %q", a.status, got, want)
			}
			return err
		})
	}
	says("https://a.test/", "max-age=15768000", 200)
	says("http://a.test/", "", 200)
	says("https://own.test/", "max-age=1", 200)
	says("http://own.test/", "", 301)
	w.envoy.accepted()
}
