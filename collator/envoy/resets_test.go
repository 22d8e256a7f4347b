package envoy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"relay/sources"
	"relay/xds/envoytest"
)

// instance is one that serves each connection as the test says.
func (e *realEnvoy) instance(serve func(conn *net.TCPConn)) (address string) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		e.t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	open := make(map[*net.TCPConn]bool)
	wg.Go(func() {
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return // closed
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				serve(conn)
				_ = conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	e.t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// resets is an instance that ends each connection when it has read a request, as one does
// that crashes, or that closed a connection it held for idle. It counts the requests.
func (e *realEnvoy) resets(requests *atomic.Int64) (address string) {
	return e.instance(func(conn *net.TCPConn) {
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			requests.Add(1)
		}
		_ = conn.SetLinger(0)
	})
}

// leaves is an instance that refuses each request by HTTP/2 with GOAWAY, as one does that
// is about to end.
func (e *realEnvoy) leaves() (address string) {
	return e.instance(func(conn *net.TCPConn) {
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		framer := http2.NewFramer(conn, conn)
		_ = framer.WriteSettings()
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			switch f := frame.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = framer.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				_ = framer.WriteGoAway(0, http2.ErrCodeNo, nil)
			}
		}
	})
}

// A request that may have reached a task is sent again only if it asks for nothing to be
// changed, and if the app does not say otherwise.
func TestEndedConnections(t *testing.T) {
	t.Parallel()
	e := startEnvoyWith(t, envoytest.Options{Args: nothingEjected})
	var at struct{ repeated, never, own atomic.Int64 }
	never := uint32(0)
	pair := func(id, domain, bad string, change func(*sources.Port)) *sources.App {
		return changed(webApp(id, domain), func(p *sources.Port) {
			p.Endpoints = endpoints(e.reading(id), bad)
			change(p)
		})
	}
	apps := []*sources.App{
		pair("/repeated", "repeated.test", e.resets(&at.repeated), func(*sources.Port) {}),
		pair("/never", "never.test", e.resets(&at.never), func(p *sources.Port) { p.HTTP = &sources.HTTP{NumRetries: &never} }),
		pair("/own", "own.test", e.resets(&at.own), func(p *sources.Port) {
			p.HTTP = &sources.HTTP{RetryOn: []string{"connect-failure"}}
		}),
		pair("/away", "away.test", e.leaves(), func(p *sources.Port) { p.Upstream = &sources.Upstream{HTTP2: true} }),
	}
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps(apps)
	for _, app := range apps {
		e.eventually(t, request{host: app.Ports[0].Domains[0], path: "/"}, fromApp(app.ID))
	}
	for _, tt := range []struct {
		method, host string
		reset        *atomic.Int64
		again        bool
	}{
		{http.MethodGet, "repeated.test", &at.repeated, true},
		{http.MethodHead, "repeated.test", &at.repeated, true},
		{http.MethodPost, "repeated.test", &at.repeated, false},
		{http.MethodDelete, "repeated.test", &at.repeated, false},
		{http.MethodGet, "never.test", &at.never, false},
		{http.MethodGet, "own.test", &at.own, false},
		{http.MethodGet, "away.test", nil, true},
		{http.MethodPost, "away.test", nil, true},
	} {
		t.Run(tt.method+" "+tt.host, func(t *testing.T) {
			var before int64
			if tt.reset != nil {
				before = tt.reset.Load()
			}
			const n = 100
			failed := 0
			for what, times := range failures(t, e.client(t, false), n, func(int) *http.Request {
				return newRequest(t, tt.method, tt.host, []byte("x"))
			}) {
				failed += times
				if tt.again {
					t.Errorf("%d of %d: %s", times, n, what)
				}
			}
			if tt.reset == nil {
				return
			}
			reset := int(tt.reset.Load() - before)
			if reset == 0 || !tt.again && reset != failed {
				t.Errorf("%d requests were reset, and %d of %d failed", reset, failed, n)
			}
		})
	}
	if a := e.eventually(t, request{host: "repeated.test", path: "/"}, fromApp("/repeated")); strings.Contains(a.body, "X-Envoy-Retry-On") {
		t.Errorf("the app sees a header between Envoys: %s", a.body)
	}
}
