package envoy_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"relay/sources"
	"relay/xds/envoytest"
)

// inMaintenance returns the app as it is with RELAY_MAINTENANCE.
func inMaintenance(app *sources.App) *sources.App {
	changed := *app
	changed.Maintenance = true
	return &changed
}

// An app in maintenance answers so at once, on its own paths alone. What is open stays open, and
// its instances are there at once when it ends.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		app := changed(e.app("/shop", "shop.test"), func(p *sources.Port) {
			p.HTTP = &sources.HTTP{Paths: []sources.Path{{Prefix: "/shop"}}}
			p.ACMEDomains = []string{"shop.test"}
		})
		other := e.app("/web", "shop.test")
		e.c.SyncApps([]*sources.App{app, other})
		e.eventually(t, request{host: "shop.test", path: "/shop"}, fromApp("/shop"))
		ws, resp, err := websocket.Dial(t.Context(), "ws://"+e.fleet.HTTP.String()+"/shop", &websocket.DialOptions{Host: "shop.test"})
		if err != nil {
			t.Fatal(err, resp)
		}
		defer func() { _ = ws.CloseNow() }()

		e.c.UpdateApps([]*sources.App{inMaintenance(app)}, nil)
		f := e.failsWith(t, request{host: "shop.test", path: "/shop/a"}, "maintenance")
		if f.App != "/shop" || f.Port != 0 {
			t.Errorf("Envoy reports %+v", f)
		}
		if n := e.failures.OfApp("/shop"); n > 0 {
			t.Errorf("%d requests are a problem of the app", n)
		}
		e.eventually(t, request{host: "shop.test", path: "/"}, fromApp("/web"))
		// There is no app for challenges here: what counts is that it is not the page.
		if a, err := e.send(t.Context(), request{host: "shop.test", path: "/.well-known/acme-challenge/x"}); err != nil || strings.Contains(a.body, "maintenance") {
			t.Errorf("a challenge gets %+v, %v", a, err)
		}
		for range 3 {
			if err := ws.Write(t.Context(), websocket.MessageText, []byte("still")); err != nil {
				t.Fatal(err)
			}
			if _, message, err := ws.Read(t.Context()); err != nil || string(message) != "still" {
				t.Fatalf("the WebSocket says %q, %v", message, err)
			}
		}
		a, err := say(e.fleet.HTTP.String(), "POST /shop/b HTTP/1.1\r\nHost: shop.test\r\nContent-Type: application/grpc\r\nX-Request-Id: g\r\nContent-Length: 0\r\n\r\n")
		if err != nil || a.header.Get("Grpc-Status") != "14" || !strings.HasPrefix(a.header.Get("Grpc-Message"), "maintenance: ") {
			t.Errorf("by gRPC: %+v, %v", a, err)
		}
		e.c.UpdateApps([]*sources.App{app}, nil)
		e.eventually(t, request{host: "shop.test", path: "/shop"}, fromApp("/shop"))
	})
}

// Plain HTTP of an app in maintenance is redirected as before, and its password is not asked for.
func TestMaintenanceByHTTPS(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.certificates("shop.test")
	app := inMaintenance(changed(e.app("/shop", "shop.test"), func(p *sources.Port) {
		p.RedirectToHTTPS = true
		p.HTTP = &sources.HTTP{RootRedirect: "/home", HSTS: true, BasicAuth: &sources.BasicAuth{Realm: "r", User: "u", Hash: "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="}}
	}))
	e.c.SyncApps([]*sources.App{app})
	e.eventually(t, request{host: "shop.test", path: "/"}, status(301))
	e.failsWith(t, request{host: "shop.test", path: "/", tls: true, sni: "shop.test"}, "maintenance")
}

// An app without an instance whose tasks fail has crashed. It is served as soon as it has one.
func TestCrashedIsAFailure(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		crashes := func(app *sources.App) *sources.App {
			changed := *app
			changed.Orchestration = &sources.Orchestration{Instances: 1, Failure: &sources.TaskFailure{Task: "t", State: "TASK_FAILED", Version: app.Version}}
			return &changed
		}
		none := func(app *sources.App) *sources.App { return changed(app, func(p *sources.Port) { p.Endpoints = nil }) }
		web, idle := e.app("/web", "web.test"), e.app("/idle", "idle.test")
		e.c.SyncApps([]*sources.App{crashes(web), none(idle)})
		// While there is an instance, nothing is different.
		e.eventually(t, request{host: "web.test", path: "/"}, fromApp("/web"))
		e.failsWith(t, request{host: "idle.test", path: "/"}, "offline")
		e.c.UpdateApps([]*sources.App{none(crashes(web))}, nil)
		if f := e.failsWith(t, request{host: "web.test", path: "/"}, "crashed"); f.App != "/web" {
			t.Errorf("Envoy reports %+v", f)
		}
		before := e.scopesTaken(t)
		e.c.UpdateApps([]*sources.App{crashes(web)}, nil)
		e.eventually(t, request{host: "web.test", path: "/"}, fromApp("/web"))
		if after := e.scopesTaken(t); after != before {
			t.Errorf("Envoy took %d scopes for an instance", after-before)
		}
	})
}

var scopesStat = regexp.MustCompile(`scoped_rds\.domains\.update_success$`)

// scopesTaken is how often Envoy took in scopes.
func (e *realEnvoy) scopesTaken(t *testing.T) (n int64) {
	t.Helper()
	stats, err := e.envoy.Stats(t.Context(), scopesStat)
	if err != nil || len(stats) == 0 {
		t.Fatalf("Envoy's stats: %v, %v", stats, err)
	}
	for _, value := range stats {
		n += value
	}
	return n
}

// A TCP service does not answer with pages: it goes on.
func TestMaintenanceOfATCPService(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	port := envoytest.FreePort(t)
	e.c.SyncCertificates("vault", nil, nil)
	db := changed(serviceApp("/db", sources.TCP{Port: port}), func(p *sources.Port) { p.Endpoints = endpoints(e.greets()) })
	e.c.SyncApps([]*sources.App{inMaintenance(db)})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	e.until(t, "the service is served", func() bool { return greeted(address) == nil })
}
