package envoy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// ownHost is an app whose instances get their own address as the host.
func ownHost(app *sources.App) *sources.App {
	return changed(app, func(p *sources.Port) {
		h := sources.HTTP{}
		if p.HTTP != nil {
			h = *p.HTTP
		}
		h.Shaping, p.HTTP = &sources.Shaping{HostOfInstance: true}, &h
	})
}

func TestInstancesGetTheirAddressAsTheHost(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		first, second, nobody := e.serves(seen), e.serves(seen), "127.0.0.1:1"
		var failed atomic.Bool
		failing := e.serves(func(w http.ResponseWriter, r *http.Request) {
			if !failed.Swap(true) {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			seen(w, r)
		})
		app := changed(webApp("/a", "a.test"), func(p *sources.Port) { p.Endpoints = endpoints(first, second, nobody) })
		retried := changed(set(t, webApp("/r", "r.test"), "RETRY_ON=5xx"), func(p *sources.Port) { p.Endpoints = endpoints(failing) })
		e.c.SyncApps([]*sources.App{app, ownHost(retried)})
		e.certificates()
		e.eventually(t, request{host: "a.test"}, func(a answer) bool { return strings.Contains(a.body, "host a.test forwarded ") })
		// It holds for instances that are there before it is asked for, too.
		e.c.UpdateApps([]*sources.App{ownHost(app)}, nil)
		e.eventually(t, request{host: "a.test"}, func(a answer) bool { return strings.Contains(a.body, "forwarded a.test") })
		got := make(map[string]int)
		for range 20 {
			_, body := e.ask(t, "GET", "A.test:8080", "/x?y", nil)
			got[body]++
		}
		for _, address := range []string{first, second} {
			if want := fmt.Sprintf("path /x?y host %s forwarded A.test:8080", address); got[want] == 0 {
				t.Errorf("nobody sees %q: %v", want, got)
			}
		}
		if len(got) != 2 {
			t.Errorf("the app sees %v", got)
		}
		if _, body := e.ask(t, "GET", "r.test", "/", nil); !strings.HasPrefix(body, "path / host "+failing+" forwarded r.test") || !failed.Load() {
			t.Errorf("after another try the app sees %q", body)
		}
		e.c.UpdateApps([]*sources.App{app}, nil)
		e.eventually(t, request{host: "a.test"}, func(a answer) bool { return strings.Contains(a.body, "host a.test forwarded ") })
	})
}

// Apps that serve something together share its requests as their instances do, whatever others call their own.
func TestAppsServeTogether(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		weight := uint32(1)
		app := func(id string, instances int) *sources.App {
			return changed(webApp(id, "web.test"), func(p *sources.Port) {
				var addresses []string
				for range instances {
					addresses = append(addresses, e.backend(id))
				}
				p.HTTP, p.Endpoints = &sources.HTTP{Service: "web", ClusterWeight: &weight}, endpoints(addresses...)
			})
		}
		one, three := app("/shop/a", 1), app("/shop/b", 3)
		e.c.SyncApps([]*sources.App{one, three, app("/shop/none", 0), app("/shoq/stranger", 5)})
		e.certificates()
		e.eventually(t, request{host: "web.test"}, status(200))
		count := func() map[string]int {
			got := make(map[string]int)
			for range 400 {
				a, err := e.send(t.Context(), request{host: "web.test"})
				if err != nil {
					t.Fatal(err)
				}
				app, _, _ := strings.Cut(a.body, "\n")
				got[app]++
			}
			return got
		}
		// 100 are due; nine standard deviations on each side.
		if got := count(); got["app /shop/a"] < 22 || got["app /shop/a"] > 178 || got["app /shop/a"]+got["app /shop/b"] != 400 {
			t.Errorf("one and three instances: %v", got)
		}
		// The last instance of an app ends: it has requests until no route leads to it.
		e.c.UpdateApps([]*sources.App{changed(one, func(p *sources.Port) {
			p.Endpoints = slices.Clone(p.Endpoints)
			p.Endpoints[0].Health = sources.Draining
		})}, nil)
		if got := count(); got["app /shop/a"]+got["app /shop/b"] != 400 {
			t.Errorf("while the last instance of one ends: %v", got)
		}
		e.acknowledged(t)
		e.c.UpdateApps([]*sources.App{changed(one, func(p *sources.Port) { p.Endpoints = nil })}, nil)
		if got := count(); got["app /shop/b"] != 400 {
			t.Errorf("without an instance of one: %v", got)
		}
	})
}
