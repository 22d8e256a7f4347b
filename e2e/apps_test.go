package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// definition reads an app as someone with marathon-lb has it.
func definition(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "apps", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Apps written for marathon-lb, unchanged, behind Relay and a real Envoy: each
// does what it is for, and what it asks for in vain is said.
func TestAppsOfMarathonLB(t *testing.T) {
	w := newWorld(t)
	// The TCP ports in the definitions are free on an address of the test's own.
	address := fmt.Sprintf("127.77.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)
	onAddress := func(listen string) string {
		_, port, _ := net.SplitHostPort(listen)
		return net.JoinHostPort(address, port)
	}
	w.clients.http, w.clients.https = onAddress(w.clients.http), onAddress(w.clients.https)
	w.relay.fleet.HTTP, w.relay.fleet.HTTPS, w.relay.fleet.HTTPSPublicPort = netip.MustParseAddrPort(w.clients.http), netip.MustParseAddrPort(w.clients.https), 443
	w.certs.issue("blog.example.org", "www.blog.example.org")
	w.certs.issue("*.tenants.example.org", "tenants.example.org")
	w.start()
	files, err := filepath.Glob("../testdata/apps/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("there are %d definitions, %v", len(files), err)
	}
	for _, file := range files {
		w.marathon.deploy(definition(t, strings.TrimSuffix(filepath.Base(file), ".json")))
	}
	w.upToDate() // with all tasks

	for _, test := range []func(*testing.T, *world){
		testBlog, testShop, testChat, testGrafana, testWiki, testReports, testTenants, testCheckout,
	} {
		test(t, w)
	}
	testPostgres(t, w, net.JoinHostPort(address, "5432"))
	testRedis(t, w, net.JoinHostPort(address, "10014"))

	w.admin.settled()
	if n := w.envoy.rejections(); n != 0 {
		t.Errorf("Envoy rejected %d updates", n)
	}
}

func testBlog(t *testing.T, w *world) {
	a := w.clients.expect("http://blog.example.org/post?x=1", http.StatusMovedPermanently, "")
	if got, want := a.header.Get("Location"), "https://blog.example.org/post?x=1"; got != want {
		t.Errorf("redirected to %s, want %s", got, want)
	}
	a = w.clients.expect("https://www.blog.example.org/", http.StatusOK, "/marketing/blog")
	if a.header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security")
	}
	// marathon-acme does not run here: challenges go to it all the same.
	w.clients.expect("http://blog.example.org/.well-known/acme-challenge/token", http.StatusServiceUnavailable, "")
}

func testShop(t *testing.T, w *world) {
	w.clients.expect("http://shop.example.org/cart", http.StatusOK, "/shop/web")
	w.clients.expect("http://shop.example.org/graphql", http.StatusOK, "/shop/api")
	w.clients.expect("http://shop.example.org/api/items", http.StatusOK, "/shop/api")
	if e := w.clients.echoed(w.clients.do("http://shop.example.org/api/items")); e.Request != "GET /items HTTP/1.1" {
		t.Errorf("the API was sent %q", e.Request)
	}
	all(t, "shop", w.clients.tasksOf(60, func(int) (string, []string) { return "http://shop.example.org/", nil }), 3)
}

func testChat(t *testing.T, w *world) {
	w.clients.expect("http://chat.example.org/", http.StatusOK, "/support/chat")
	first := w.clients.do("http://chat.example.org/")
	cookie, _, _ := strings.Cut(first.header.Get("Set-Cookie"), ";")
	all(t, "one client", w.clients.tasksOf(15, func(int) (string, []string) { return "http://chat.example.org/", []string{"Cookie", cookie} }), 1)
	w.clients.says(w.clients.echo("ws://chat.example.org/ws"), "still here")
	w.admin.problem("/support/chat", "HAPROXY_0_BACKEND_STICKY_OPTIONS")
}

func testGrafana(_ *testing.T, w *world) {
	w.clients.expect("http://grafana.example.org/", http.StatusUnauthorized, "")
	w.eventually("the password lets in", func() error {
		return ok(w.clients.do("http://grafana.example.org/", "Authorization", "Basic b3BzOnBhc3N3b3Jk"))
	})
}

// A password that Envoy cannot check opens nothing to everyone.
func testWiki(_ *testing.T, w *world) {
	w.clients.expect("http://wiki.example.org/", http.StatusForbidden, "")
	w.admin.problem("/legacy/wiki", "HAPROXY_0_AUTH")
	w.admin.problem("/legacy/wiki", "HAPROXY_0_SSL_CERT")
	w.admin.problem("/legacy/wiki", "HAPROXY_0_BIND_OPTIONS")
}

// Only the second of three ports is for the outside.
func testReports(t *testing.T, w *world) {
	a := w.clients.expect("http://reports.example.org/", http.StatusOK, "/finance/reports")
	app, _ := w.admin.app("/finance/reports")
	if got := app.Ports[1].Endpoints[0].Address; fmt.Sprint(got.Port()) != portOf(a) {
		t.Errorf("port %s answered, want %s", portOf(a), got)
	}
	for _, i := range []int{0, 2} {
		if len(app.Ports[i].Fleets) > 0 {
			t.Errorf("port %d is routed by %v", i, app.Ports[i].Fleets)
		}
	}
	for _, label := range []string{"BACKEND_SERVER_OPTIONS", "BACKEND_HTTP_OPTIONS", "BACKEND_HEALTHCHECK_PORT_INDEX"} {
		w.admin.problem("/finance/reports", "HAPROXY_1_"+label)
	}
}

// portOf is the port on which a simulated task was asked.
func portOf(a answer) string {
	_, port, _ := strings.Cut(a.body, `"port": "`)
	port, _, _ = strings.Cut(port, `"`)
	return port
}

func testTenants(t *testing.T, w *world) {
	a := w.clients.expect("https://acme.tenants.example.org/", http.StatusMovedPermanently, "")
	if got, want := a.header.Get("Location"), "https://acme.tenants.example.org/welcome"; got != want {
		t.Errorf("/ is redirected to %s, want %s", got, want)
	}
	w.clients.expect("https://tenants.example.org/welcome", http.StatusOK, "/saas/tenants")
	all(t, "one address", w.clients.tasksOf(15, func(i int) (string, []string) { return fmt.Sprintf("http://t%d.tenants.example.org/x", i), nil }), 1)
}

// One new task of green makes one old task of blue idle.
func testCheckout(_ *testing.T, w *world) {
	w.clients.serves("checkout.example.org", append(w.marathon.taskIDs("/checkout-green"), w.marathon.taskIDs("/checkout-blue")[1])...)
	w.admin.problem("/checkout-blue", "HAPROXY_0_PORT")
}

// The database's port is opened; its simulated task speaks HTTP.
func testPostgres(t *testing.T, w *world, address string) {
	w.eventually("the database answers on "+address, func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if got := resp.Header.Get("X-App"); got != "/data/postgres" {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	if status, out, _ := w.admin.explain("tcp/5432"); status != 0 || !strings.Contains(out, "serves       tcp/5432 on "+address) {
		t.Errorf("relay explain: status %d, %s", status, out)
	}
}

// An app that says nothing of TCP opens no port, and can be told why.
func testRedis(t *testing.T, w *world, address string) {
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Errorf("%s is open", address)
	}
	if status, out, _ := w.admin.explain("/data/redis"); status != 0 || !strings.Contains(out, "fleets with tcp: all open port 10014") {
		t.Errorf("relay explain: status %d, %s", status, out)
	}
}
