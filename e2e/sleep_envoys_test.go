package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/admin/api"
	"relay/deploy"
	"relay/xds/envoytest"
)

// network is what an Envoy reaches Relay by. It can be parted without a word to either side.
type network struct {
	t       *testing.T
	address string
	to      string
	mu      sync.Mutex
	parted  chan struct{} // closed while bytes pass
	open    []net.Conn
}

func newNetwork(t *testing.T, to string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, address: l.Addr().String(), to: to, parted: make(chan struct{})}
	close(n.parted)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			relay, err := net.Dial("tcp", n.to)
			if err != nil {
				_ = conn.Close()
				continue
			}
			n.mu.Lock()
			n.open = append(n.open, conn, relay)
			n.mu.Unlock()
			all.Go(func() { n.pass(conn, relay) })
			all.Go(func() { n.pass(relay, conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		n.join()
		n.cut()
		all.Wait()
	})
	return n
}

func (n *network) pass(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		k, err := from.Read(buffer)
		n.mu.Lock()
		parted := n.parted
		n.mu.Unlock()
		<-parted
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:k]); err != nil {
			return
		}
	}
}

// part has nothing pass any more, and nobody told so.
func (n *network) part() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parted = make(chan struct{})
}

// join ends part.
func (n *network) join() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.parted:
	default:
		close(n.parted)
	}
}

// cut closes all connections.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.open {
		_ = conn.Close()
	}
	n.open = nil
}

// more starts Envoys beside the first one, at the same ports: clients are spread over all.
func (w *world) more(names []string, options envoytest.Options) (all []*envoytest.Envoy) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, name := range names {
		o := options
		o.NodeID, o.Workers = name, 1
		e := envoytest.Start(w.t, o)
		all = append(all, e)
	}
	for _, e := range all {
		if err := e.WaitReady(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

// Of several Envoys one does not reach Relay any more, and serves on. Nobody knows whether the app is used there:
// it does not sleep, and people are told which Envoy it is. It sleeps when that one is back.
func TestNotAsleepWhileAnEnvoyIsPartitioned(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]struct {
		whole int // so many others
		part  func(n *network, e *envoytest.Envoy) (join func())
		why   string // as soon as Relay can know; with | one of several: it may be about to sleep by then
	}{
		// Nothing passes, and no connection ends: it goes on waiting for that Envoy.
		"in silence": {9, func(n *network, _ *envoytest.Envoy) func() { n.part(); return n.join }, "an Envoy had not|acknowledge that: lost"},
		// It has lost its connection, and is not let back.
		"cut off": {1, func(n *network, _ *envoytest.Envoy) func() { n.part(); n.cut(); return n.join }, "Envoy lost has lost its connection at "},
		// It hangs as a process, with all its connections.
		"stopped": {1, func(_ *network, e *envoytest.Envoy) func() {
			_ = syscall.Kill(e.Pid(), syscall.SIGSTOP)
			return func() { _ = syscall.Kill(e.Pid(), syscall.SIGCONT) }
		}, "an Envoy had not|acknowledge that: lost"},
	} {
		t.Run(name, func(t *testing.T) {
			w := dozing(t)
			w.relay.start()
			w.reportOften()
			var names []string
			for i := range lose.whole {
				names = append(names, fmt.Sprintf("whole-%d", i))
			}
			w.more(names, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}})
			// It does not sleep before. The one that is lost must not have it: Relay would know of it.
			conn := w.clients.echo("ws://sleepy.test/ws")
			n := newNetwork(t, w.relay.config.XDS.Address)
			lost := w.more([]string{"lost"}, envoytest.Options{XDS: []string{n.address}})[0]
			w.admin.streams(lose.whole + 1)
			w.eventually("all report", func() error {
				if silent := w.relay.running.Loads().Silent("external", append(names, "lost")); len(silent) > 0 {
					return fmt.Errorf("silent: %q", silent)
				}
				return nil
			})
			w.eventually("it is in use", func() error {
				if s := w.scaling("/sleepy"); !strings.Contains(s.Text, "in progress") {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			join := lose.part(n, lost)
			defer join()
			_ = conn.CloseNow()
			w.awakeFor("/sleepy", 5*time.Second, lose.why)
			if name != "stopped" {
				// It serves on, as all do.
				client := w.clients.client(false)
				for i := range 50 {
					if a, err := w.clients.get(client, "http://sleepy.test/", ""); err != nil || a.status != http.StatusOK {
						t.Fatalf("request %d: %d %v", i, a.status, err)
					}
				}
			}
			join()
			w.phase("/sleepy", api.PhaseAsleep)
			w.has("/sleepy", 0, "2")
		})
	}
}

// An Envoy that has left for good may serve still, for all that is known: people are told of it.
func TestNotAsleepAfterAnEnvoyHasLeft(t *testing.T) {
	w := dozing(t)
	w.startOften()
	gone := w.more([]string{"gone"}, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}})[0]
	w.admin.streams(2)
	gone.Kill()
	w.awakeFor("/sleepy", 5*time.Second, "Envoy gone has lost its connection at ")
	if s := w.scaling("/sleepy"); !strings.Contains(s.Text, "it is waited for until an hour later") {
		t.Errorf("people are told %q", s.Text)
	}
}

// Envoys that cannot tell, or cannot hold requests, keep all apps of their fleets awake, and people are told.
func TestNotAsleepWithEnvoysThatCannot(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options func(t *testing.T, relay string) envoytest.Options
		why     string
	}{
		"of a bootstrap without reports": {func(t *testing.T, relay string) envoytest.Options {
			text, err := deploy.Bootstrap{NodeID: "old", Fleet: "external", XDS: []string{relay}, Admin: localAdmin}.YAML()
			if err != nil {
				t.Fatal(err)
			}
			before, rest, _ := strings.Cut(string(text), "  # How many requests each app has is reported")
			_, after, found := strings.Cut(rest, "\ndeferred_stat_options:")
			if !found {
				t.Fatalf("the bootstrap is another one:\n%s", text)
			}
			return envoytest.Options{Bootstrap: []byte(before + "\ndeferred_stat_options:" + after)}
		}, "Envoy old has not reported its load lately"},
		"of version 1.38": {func(_ *testing.T, relay string) envoytest.Options {
			return envoytest.Options{Version: "1.38", XDS: []string{relay}}
		}, "Envoy old is 1.38."},
	} {
		t.Run(name, func(t *testing.T) {
			w := dozing(t)
			w.startOften()
			w.more([]string{"old"}, tt.options(t, w.relay.config.XDS.Address))
			w.admin.streams(2)
			w.awakeFor("/sleepy", 5*time.Second, tt.why)
			if _, out, _ := w.admin.explain("sleepy.test"); !strings.Contains(out, tt.why) {
				t.Errorf("relay explain does not say %q:\n%s", tt.why, out)
			}
		})
	}
}

var localAdmin = netip.MustParseAddrPort("127.0.0.1:0")
