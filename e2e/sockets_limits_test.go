package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"relay/internal/failure"
)

// What each limit ends, of sockets on which something is said all the time. docs/connections.md has
// the same table. TCP services have no HTTP labels.
func TestLimitsOfBusySockets(t *testing.T) {
	t.Parallel()
	// Some of it passes before a socket is used again, on a busy machine.
	const limit = 6 * time.Second
	all := []string{"WebSocket", "WebSocket by HTTP/2", "events by HTTP/1.1", "events by HTTP/2.0", "long poll", "gRPC stream", "TCP"}
	for label, ends := range map[string][]string{
		"RELAY_0_IDLE_TIMEOUT":        nil,
		"RELAY_0_TIMEOUT":             {"events by HTTP/1.1", "events by HTTP/2.0"},
		"RELAY_0_MAX_STREAM_DURATION": {"WebSocket", "WebSocket by HTTP/2", "events by HTTP/1.1", "events by HTTP/2.0", "gRPC stream"},
	} {
		t.Run(label, func(t *testing.T) {
			w, a, tcp := newSocketWorld(t, label, limit.String())
			began := time.Now()
			lasted := make(map[string]time.Duration)
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i, c := range w.everySocket(a, tcp) {
				wg.Go(func() {
					every := time.NewTicker(limit / 10)
					defer every.Stop()
					for time.Since(began) < 3*limit {
						if err := c.use(); err != nil {
							mu.Lock()
							defer mu.Unlock()
							lasted[all[i]] = time.Since(began)
							return
						}
						<-every.C
					}
				})
			}
			wg.Wait()
			if got, want := slices.Sorted(maps.Keys(lasted)), slices.Sorted(slices.Values(ends)); !slices.Equal(got, want) {
				t.Errorf("%s ends %v, want %v", label, lasted, want)
			}
			for what, d := range lasted {
				if d < limit {
					t.Errorf("%s ended after %s, before its limit", what, d)
				}
			}
		})
	}
}

// Sockets on which nothing is said end by their idle timeout, and not by that of others; with 0s they
// stay. A request that waits for its answer is as silent as they are.
func TestLimitsOfSilentSockets(t *testing.T) {
	t.Parallel()
	for idle, end := range map[string]bool{"2s": true, "0s": false} {
		t.Run(idle, func(t *testing.T) {
			w, a, tcp := newSocketWorld(t, "RELAY_0_IDLE_TIMEOUT", idle)
			other := startSocketApp(t)
			w.marathon.service("/other", []string{other.address}, "HAPROXY_0_VHOST", "other.test", "RELAY_0_IDLE_TIMEOUT", "2s")
			w.clients.expect("http://other.test/", 200, "sockets")
			conns := w.everySocket(a, tcp)
			open := func() int64 { return w.envoy.stat(`^http\.https?\.downstream_rq_active$`) }
			before := int64(len(conns)) - 1 // the TCP connection is none
			w.eventually("all sockets have begun", func() error {
				if n := open(); n != before && !end { // where all end, one may have
					return fmt.Errorf("%d are open of %d", n, before)
				}
				return nil
			})
			// One that begins later ends; so all that end by then have had the time for it.
			last := bounded(w.conns.events(other, "http://other.test", false).use)
			want := before
			if end {
				want = 0
			}
			w.eventually("the sockets end", func() error {
				if n := open(); n > want {
					return fmt.Errorf("%d are open of %d", n, before)
				}
				return nil
			})
			if err := last(); err == nil {
				t.Error("the other app's is open")
			}
			// What is said wakes Envoy before it has seen that nothing was, on a busy machine: the TCP connection has to end by itself, too.
			w.eventually("the TCP connection ends, or does not", func() error {
				if n := w.envoy.stat(`^listener\.` + strings.ReplaceAll(regexp.QuoteMeta(tcp), ":", "_") + `\.downstream_cx_active$`); (n > 0) == end {
					return fmt.Errorf("%d TCP connections are open", n)
				}
				return nil
			})
			for _, c := range conns {
				switch err := c.use(); {
				case end && err == nil:
					t.Errorf("%s is open", c.what)
				case !end && err != nil:
					t.Errorf("%s: %v", c.what, err)
				}
			}
		})
	}
}

// Pings go through as they are, in both directions, and keep a WebSocket open that says nothing
// else.
func TestPingsOfWebSockets(t *testing.T) {
	w, a, _ := newSocketWorld(t, "RELAY_0_IDLE_TIMEOUT", "5s")
	conn := w.clients.echo("wss://sockets.test/ws")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx = conn.CloseRead(ctx)
	began := time.Now()
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	n := 0
	for ; time.Since(began) < 8*time.Second; n++ {
		if err := conn.Ping(ctx); err != nil { // which waits for the pong with the same payload
			t.Fatalf("ping %d, after %s: %v", n, time.Since(began), err)
		}
		<-every.C
	}
	close(a.pings)
	var got []string
	for payload := range a.pings {
		got = append(got, payload)
	}
	if len(got) != n || len(slices.Compact(slices.Sorted(slices.Values(got)))) != n {
		t.Errorf("the app got %q of %d pings", got, n)
	}
	// Without pings it ends.
	w.eventually("it ends", func() error {
		if ctx.Err() == nil {
			return errors.New("it is open")
		}
		return nil
	})
}

// Pings of HTTP/2 are between the client and Envoy, and keep no stream open.
func TestPingsOfHTTP2(t *testing.T) {
	w, _, _ := newSocketWorld(t, "RELAY_0_IDLE_TIMEOUT", "2s")
	f := w.clients.frames("sockets.test")
	if _, err := f.get("/events?id=silent", http2.FrameHeaders); err != nil {
		t.Fatal(err)
	}
	answered := 0
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		<-every.C
		if err := f.framer.WritePing(false, [8]byte{}); err != nil {
			t.Fatal(err)
		}
		frame, err := f.framer.ReadFrame()
		if err != nil {
			t.Fatalf("after %d pings: %v", answered, err)
		}
		switch frame.Header().Type {
		case http2.FramePing:
			answered++
		case http2.FrameRSTStream:
			if answered == 0 {
				t.Error("no ping was answered")
			}
			return
		}
	}
}

// A request whose answer has not begun is told which limit it has reached.
func TestLimitsOfRequests(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(w *world) {
		w.start()
		a := startSocketApp(w.t)
		for label, code := range map[string]string{"IDLE_TIMEOUT": "idle", "TIMEOUT": "timed-out", "MAX_STREAM_DURATION": "other"} {
			host := code + ".test"
			w.marathon.service("/"+code, []string{a.address}, "HAPROXY_0_VHOST", host, "RELAY_0_"+label, "1s")
			w.clients.expect("http://"+host+"/", http.StatusOK, "sockets")
			if got := w.clients.do("http://" + host + "/poll?id=none"); got.status != http.StatusGatewayTimeout || got.header.Get(failure.Header) != code {
				w.t.Errorf("%s: %d %s, want 504 %s", label, got.status, got.header.Get(failure.Header), code)
			}
		}
	})
}

// A long poll may take as long as the app wants: nothing but the labels of the app and the idle
// timeout of the fleet ends it, and these are far above a minute by default.
func TestLongPollsMayTakeLong(t *testing.T) {
	w, _, _ := newSocketWorld(t)
	dump, err := w.envoy.Get(t.Context(), "/config_dump?resource=dynamic_scoped_route_configs")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(dump), "")
	if want := `"timeout":"0s"`; !strings.Contains(text, want) {
		t.Errorf("the routes have no %s: %.3000s", want, text)
	}
	if want := `"idle_timeout":"3600s"`; !strings.Contains(text, want) {
		t.Errorf("the routes have no %s", want)
	}
}
