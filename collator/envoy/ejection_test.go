package envoy_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/sources"
	"relay/xds/envoytest"
)

// silent is an instance whose machine answers nothing: its queue is full, so the system drops
// what comes.
func silent(t *testing.T) (address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for {
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

// ejectedForLong has Envoy not take back what it has ejected before a test has looked.
var ejectedForLong = []string{"--config-yaml",
	`layered_runtime: {layers: [{name: test, static_layer: {outlier_detection.base_ejection_time_ms: 3600000, outlier_detection.max_ejection_time_ms: 3600000}}]}`}

func refusing(t *testing.T) (address string) {
	return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
}

// ejected returns which instances Envoy sends nothing to.
func (e *realEnvoy) ejected(t *testing.T) map[string]bool {
	t.Helper()
	text, err := e.envoy.Get(t.Context(), "/clusters")
	if err != nil {
		t.Fatal(err)
	}
	ejected := make(map[string]bool)
	for line := range strings.Lines(text) {
		if address, ok := strings.CutSuffix(strings.TrimSpace(line), "::health_flags::/failed_outlier_check"); ok {
			_, address, _ = strings.Cut(address, "::")
			ejected[address] = true
		}
	}
	return ejected
}

// Instances that Envoy cannot connect to get no requests for a while. Answers never lead to
// that, and the only instance, or the last one, is never concerned.
func TestEjection(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startEnvoyWith(t, envoytest.Options{Version: version, Args: ejectedForLong})
		hasty := func(p *sources.Port) {
			timeout := 300 * time.Millisecond
			p.Upstream = &sources.Upstream{ConnectTimeout: timeout}
		}
		app := func(name string, change func(*sources.Port), tasks ...string) *sources.App {
			return changed(webApp("/"+name, name+".test"), func(p *sources.Port) {
				p.Endpoints = endpoints(tasks...)
				if change != nil {
					change(p)
				}
			})
		}
		var status atomic.Int64
		status.Store(http.StatusOK)
		failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) }))
		t.Cleanup(failing.Close)
		var reset atomic.Int64
		at := map[string]string{
			"silent": silent(t), "dead": refusing(t), "only": refusing(t), "first": refusing(t), "second": refusing(t),
			"resets": e.resets(&reset), "failing": failing.Listener.Addr().String(),
		}
		apps := []*sources.App{
			app("silent", hasty, e.reading("/silent"), at["silent"]),
			app("dead", nil, e.reading("/dead"), at["dead"]),
			app("only", nil, at["only"]),
			app("both", nil, at["first"], at["second"]),
			app("resets", nil, e.reading("/resets"), at["resets"]),
			app("failing", nil, e.reading("/failing"), at["failing"]),
		}
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps(apps)
		for _, name := range []string{"silent", "dead", "resets", "failing"} {
			e.eventually(t, request{host: name + ".test", path: "/"}, fromApp("/"+name))
		}
		client := e.client(t, false)
		send := func(name, method string, n int) map[string]int {
			return failures(t, client, n, func(int) *http.Request { return newRequest(t, method, name+".test", nil) })
		}
		for _, name := range []string{"silent", "dead"} {
			if failed := send(name, http.MethodPost, 300); len(failed) > 0 {
				t.Errorf("%s: of 300 requests failed: %v", name, failed)
			}
			e.until(t, "the "+name+" task is ejected", func() bool { return e.ejected(t)[at[name]] })
		}
		send("only", http.MethodGet, 100)
		send("both", http.MethodGet, 100)
		for _, code := range []int64{500, 502, 503, 504} {
			status.Store(code)
			send("failing", http.MethodPost, 60)
		}
		one := &http.Client{Transport: client.Transport}
		for range 30 {
			if resp, err := one.Do(newRequest(t, http.MethodPost, "resets.test", nil)); err == nil {
				_ = resp.Body.Close()
			}
		}
		ejected := e.ejected(t)
		for _, name := range []string{"only", "resets", "failing"} {
			if ejected[at[name]] {
				t.Errorf("the task %s was ejected", name)
			}
		}
		if ejected[at["first"]] == ejected[at["second"]] {
			t.Errorf("of two dead tasks were ejected: %v", ejected)
		}
		if reset.Load() == 0 {
			t.Error("nothing was reset")
		}
	})
}

// gone is an instance that answers, until it is ended. It may come back at the same address.
type gone struct {
	t       *testing.T
	address string
	server  *httptest.Server
}

func (g *gone) start(name string) {
	g.t.Helper()
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "app %s\n", name) }))
	l, err := net.Listen("tcp", g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	_ = g.server.Listener.Close()
	g.server.Listener = l
	g.server.Start()
	g.t.Cleanup(g.server.Close)
}

// An ejected instance does not keep its clients, and is tried all the same if all others were
// removed. So is one that is draining.
func TestEjectedInstance(t *testing.T) {
	t.Parallel()
	e := startEnvoyWith(t, envoytest.Options{Args: ejectedForLong})
	g := &gone{t: t, address: refusing(t)}
	g.start("/gone")
	app := func(addresses ...string) *sources.App {
		return changed(webApp("/gone", "gone.test"), func(p *sources.Port) {
			p.HTTP, p.Endpoints = &sources.HTTP{Sticky: true}, endpoints(addresses...)
		})
	}
	other := e.reading("/other")
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{app(g.address)})
	e.eventually(t, request{host: "gone.test", path: "/"}, fromApp("/gone"))
	client := e.client(t, false)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client.Jar = jar
	if failed := failures(t, client, 1, func(int) *http.Request { return newRequest(t, http.MethodGet, "gone.test", nil) }); len(failed) > 0 {
		t.Fatal(failed)
	}
	sticky := jar.Cookies(&url.URL{Scheme: "http", Host: "gone.test", Path: "/"})
	if len(sticky) != 1 {
		t.Fatalf("cookies: %v", sticky)
	}
	e.c.UpdateApps([]*sources.App{app(g.address, other)}, nil)
	e.eventually(t, request{host: "gone.test", path: "/"}, fromApp("/other"))
	g.server.Close()
	asked := func(int) *http.Request {
		r := newRequest(t, http.MethodPost, "gone.test", nil)
		r.AddCookie(sticky[0])
		return r
	}
	client.Jar = nil
	if failed := failures(t, client, 200, asked); len(failed) > 0 {
		t.Errorf("of 200 requests of a client that stays failed: %v", failed)
	}
	e.until(t, "the task is ejected", func() bool { return e.ejected(t)[g.address] })
	g.start("/gone")
	e.c.UpdateApps([]*sources.App{app(g.address)}, nil)
	e.eventually(t, request{host: "gone.test", path: "/"}, fromApp("/gone"))
	if !e.ejected(t)[g.address] {
		t.Error("the task was no longer ejected when it was tried")
	}
	e.c.UpdateApps([]*sources.App{changed(app(other), func(p *sources.Port) { p.Endpoints[0].Health = sources.Draining })}, nil)
	e.eventually(t, request{host: "gone.test", path: "/"}, fromApp("/other"))
}
