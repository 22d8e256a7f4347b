package envoy_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// deadRelay is the address of a Relay that ends every connection at once.
func deadRelay(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// Of two Relays one is dead, and the other one does not serve this Envoy yet when it is asked first. It is asked again.
func TestAskedAgainBesidesADeadRelay(t *testing.T) {
	t.Parallel()
	const n = 24
	for name, asked := range map[string]struct {
		app    func(e *realEnvoy) *sources.App
		refuse func(e *realEnvoy)
		in     request
	}{
		"to wake": {
			app: func(e *realEnvoy) *sources.App { return gated(webApp("/a", "a.test"), counted(t)...) },
			refuse: func(e *realEnvoy) {
				e.waker.mu.Lock()
				defer e.waker.mu.Unlock()
				e.waker.refuse = 1
			},
			in: request{host: "a.test", path: "/"},
		},
		"for a password": {
			app:    func(e *realEnvoy) *sources.App { return e.withUsers(e.app("/a", "a.test"), "joe", sha512Secret) },
			refuse: func(e *realEnvoy) { e.refuse.Store(1) },
			in:     request{host: "a.test", path: "/", header: login("joe", "secret")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Each worker begins with one of them, and each request is on a connection of its own, to any worker.
			e := startEnvoyWith(t, envoytest.Options{XDS: []string{deadRelay(t)}, Workers: 8}, scaling)
			e.c.SyncApps([]*sources.App{asked.app(e)})
			e.eventually(t, asked.in, status(200))
			before := len(e.waker.asked())
			in := asked.in
			in.header = http.Header{"Connection": {"close"}}
			maps.Copy(in.header, asked.in.header)
			for range n {
				asked.refuse(e)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if a, err := e.send(ctx, in); err != nil || a.status != 200 {
					t.Fatalf("%+v, %v", a, err)
				}
			}
			// An app that may sleep runs here, and answers also when no Relay does.
			if served := len(e.waker.asked()) - before; strings.Contains(name, "wake") && served != 2*n {
				t.Errorf("the Relay that lives was asked %d times about %d requests", served, n)
			}
		})
	}
}
