package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources"
	"relay/xds/envoytest"
)

// copies are requests that an app was sent, as texts.
type copies chan string

func (c copies) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c <- fmt.Sprintf("%s %s host %s mirrored %q secrets %q %q body %d", r.Method, r.RequestURI, r.Host, r.Header.Get("X-Relay-Mirrored"), r.Header.Get("Authorization"), r.Header.Get("Cookie"), len(body))
}

// Another app is sent copies of requests, without what is secret in them.
func TestMirrorLabel(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		listeners := func() int64 { return e.listenersTaken(t) }
		got, never := make(copies, 1000), make(copies, 1000)
		web := e.shaped("/shop/web", "web.test", seen, "MIRROR=/shop/next 100%, /other/app 100%")
		next := e.shaped("/shop/next", "next.test", got.ServeHTTP)
		other := e.shaped("/other/app", "other.test", never.ServeHTTP)
		e.c.SyncApps([]*sources.App{web, next, other})
		e.certificates()
		e.eventually(t, request{host: "web.test"}, status(200))
		e.eventually(t, request{host: "next.test", path: "/itself"}, status(200))
		before := listeners()
		for found := false; !found; {
			e.ask(t, "GET", "web.test", "/x", nil)
			select {
			case c := <-got:
				found = strings.HasPrefix(c, "GET /x ")
			case <-time.After(20 * time.Millisecond):
			}
		}
		transport := e.transport(request{})
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://envoy.invalid/y?q=1", strings.NewReader(strings.Repeat("a", 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "Web.test:80"
		req.Header.Set("Authorization", "Basic secret")
		req.Header.Set("Cookie", "session=secret")
		resp, err := transport.RoundTrip(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		_ = resp.Body.Close()
		for c := ""; !strings.HasPrefix(c, "POST"); {
			if c = <-got; strings.HasPrefix(c, "POST") && c != `POST /y?q=1 host Web.test:80 mirrored "true" secrets "" "" body 100000` {
				t.Errorf("the copy is %s", c)
			}
		}
		// The other app is of another tenant, and did not agree.
		if n := len(never); n > 0 {
			t.Errorf("an app that did not agree got %d copies", n)
		}
		agreed := changed(other, func(p *sources.Port) { p.UsedBy = []string{"/shop/*"} })
		e.c.UpdateApps([]*sources.App{agreed}, []string{"/shop/next"})
		for len(never) == 0 {
			if resp, _ := e.ask(t, "GET", "web.test", "/z", nil); resp.StatusCode != 200 {
				t.Fatalf("a request gets %d while who is sent copies changes", resp.StatusCode)
			}
		}
		if n := listeners(); n != before {
			t.Errorf("listeners changed %d times", n-before)
		}
	})
}

func echoes(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = w.Write(body)
}

// A request does not wait for its copy, whatever becomes of that, and copies do not pile up.
func TestMirrorsHoldNothingUp(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	var held atomic.Int64
	release := make(chan struct{})
	hangs := func(http.ResponseWriter, *http.Request) { held.Add(1); <-release }
	defer close(release)
	refused := changed(webApp("/shop/refused"), func(p *sources.Port) { p.Endpoints = endpoints("127.0.0.1:1") })
	web := e.shaped("/shop/web", "web.test", echoes, "MIRROR=/shop/hangs 100%, /shop/refused 100%, /shop/empty 100%")
	e.c.SyncApps([]*sources.App{web, e.shaped("/shop/hangs", "hangs.test", hangs), refused, changed(webApp("/shop/empty"), func(p *sources.Port) { p.Endpoints = nil })})
	e.certificates()
	e.eventually(t, request{host: "web.test"}, status(200))
	e.until(t, "copies are sent", func() bool { e.ask(t, "GET", "web.test", "/", nil); return held.Load() > 0 })
	client := &http.Client{Transport: e.transport(request{})}
	const limit = 25 * time.Second // Envoy gives up a copy after half a minute
	for i := range 300 {
		start := time.Now()
		length := 10_000
		if i < 4 {
			length = 20_000_000 // more than what buffers hold, for an app that does not read its copy
		}
		body := strings.Repeat("b", length)
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://envoy.invalid/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			req.ContentLength = -1
		}
		req.Host = "web.test"
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if took := time.Since(start); err != nil || resp.StatusCode != 200 || len(answer) != len(body) || took > limit {
			t.Fatalf("request %d: %d, %d bytes, %v, after %s", i, resp.StatusCode, len(answer), err, took)
		}
	}
	if n := held.Load(); n > 110 {
		t.Errorf("%d copies are under way", n)
	}
	client.CloseIdleConnections()
}
