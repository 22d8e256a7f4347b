package e2e

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/internal/problem"
	"relay/internal/relay"
	"relay/sources/marathon/marathontest"
)

// Relay killed and started again: Envoy goes on, and is sent nothing that it has.
func TestKilledRelay(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.marathon.deploy(app("/a", "a.test", 2, "MARATHON_ACME_0_DOMAIN", "a.test"), app("/zone", "*.zone.test,exact.zone.test", 1))
	first := w.relay.startProcess()
	w.envoy.start()
	w.envoy.ready()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	if sent := first.admin.sum("relay_xds_resources_sent_total"); sent < 5 {
		t.Fatalf("the first Relay counts %v resources sent: the metric is not what is meant", sent)
	}
	ws := w.clients.echo("wss://a.test/ws")
	load := w.clients.load(100, ok, "http://a.test/", "https://a.test/", "http://x.zone.test/")
	first.kill()

	second := w.relay.startProcess()
	w.eventually("Envoy is back", func() error {
		if n := second.admin.sum("relay_xds_streams"); n != 1 {
			return fmt.Errorf("%v streams", n)
		}
		return nil
	})
	// A change comes after all that the reconnect may have caused.
	w.marathon.deploy(app("/late", "late.test", 1))
	w.clients.expect("http://late.test/", http.StatusOK, "/late")
	w.clients.noFailure(load, 20)
	w.clients.says(ws, "still here")
	// One cluster, its endpoints, its scope.
	if sent, removed := second.admin.sum("relay_xds_resources_sent_total"), second.admin.sum("relay_xds_removals_sent_total"); sent > 4 || removed > 0 {
		t.Errorf("after the restart %v resources were sent and %v removed; want the new app's alone", sent, removed)
	}
}

// Relay started while Marathon is down: an Envoy that connects keeps what it
// has, /readyz says why, and all is well once Marathon is back.
func TestMarathonDownAtStart(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.relay.stop()
	w.marathon.Down()
	w.relay.start()
	load := w.clients.load(100, ok, "http://a.test/")
	w.admin.streams(1)
	w.admin.awaitNotReady("apps cannot be read from marathon")
	if err := w.marathon.Up(); err != nil {
		t.Fatal(err)
	}
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	w.clients.noFailure(load, 10)
}

// Marathon goes away from a Relay that has read it: people are told since when,
// Relay stays ready, and the problem goes when Marathon is back.
func TestMarathonAwayLater(t *testing.T) {
	w := newWorld(t)
	w.relay.start()
	told := func() bool {
		return slices.ContainsFunc(w.admin.problems(), func(p problem.Problem) bool {
			return p.Kind == problem.Source && strings.Contains(p.Reason, "not followed since "+time.Now().UTC().Format("2006-"))
		})
	}
	expect := func(what string, away bool) {
		t.Helper()
		w.eventually(what, func() error {
			if told() != away || w.admin.sources()[0].Connected == away {
				return fmt.Errorf("problems %v, source %+v", w.admin.problems(), w.admin.sources()[0])
			}
			return nil
		})
	}
	expect("Marathon is read", false)
	w.admin.awaitReady()
	w.marathon.Down()
	expect("Marathon is away", true)
	if reason := w.admin.notReady(); strings.Contains(reason, "marathon") {
		t.Errorf("not ready: %q", reason)
	}
	if err := w.marathon.Up(); err != nil {
		t.Fatal(err)
	}
	expect("Marathon is back", false)
}

// A panic in the watcher restarts it alone: no stream is cut.
func TestWatcherPanic(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	var bomb atomic.Bool
	w.relay.config.Apps.Marathon.OnEvent = func(string) {
		if bomb.CompareAndSwap(true, false) {
			panic("injected")
		}
	}
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	since := w.admin.streams(1)[0].Since
	bomb.Store(true)
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	if bomb.Load() {
		t.Error("the panic never happened")
	}
	if !strings.Contains(w.relay.log.String(), "a part panicked and is started again") {
		t.Error("the panic is not in the log")
	}
	if got := w.admin.streams(1)[0].Since; !got.Equal(since) {
		t.Errorf("Envoy's stream is of %s, was of %s", got, since)
	}
}

// A connection that Envoy's listeners refuse to be bound to is not hidden.
func TestPortInUse(t *testing.T) {
	w := newWorld(t)
	w.relay.start()
	if _, err := relay.New(w.relay.config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "--xds "+w.relay.config.XDS.Address) {
		t.Errorf("a second Relay on the same port: %v; want an error with the address", err)
	}
}

// What Envoy rejects costs that alone: here the https listener, whose port is
// taken. It is one problem, in Envoy's words, and is tried again when it changes.
func TestRejectedListener(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.marathon.deploy(app("/a", "a.test", 1))
	taken, err := net.Listen("tcp", w.clients.https)
	if err != nil {
		t.Fatal(err)
	}
	w.relay.start()
	w.envoy.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.admin.problem("Envoy envoy", "listeners https: rejected")
	w.admin.problem("Envoy envoy", "bind")
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	if n := strings.Count(w.relay.log.String(), "Envoy rejected a resource"); n != 1 {
		t.Errorf("the log tells of %d rejections, want 1", n)
	}
	_ = taken.Close()
	w.certs.issue("b.test")
	if status := w.admin.hook("usr1"); status != http.StatusNoContent {
		t.Fatalf("hook: status %d", status)
	}
	w.clients.expect("https://b.test/", http.StatusOK, "/b")
	w.eventually("the log tells that it is over", func() error {
		if !strings.Contains(w.relay.log.String(), "Envoy has acknowledged what had been rejected") {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	if problems := w.admin.problems(); len(problems) != 0 {
		t.Errorf("problems that are none any more: %+v", problems)
	}
}

// Marathon's event stream going silent is noticed and healed by a new one.
func TestHalfOpenStream(t *testing.T) {
	w := newWorld(t)
	w.relay.config.Apps.Marathon.IdleTimeout = 3 * time.Second // a busy Marathon is not silent for so long
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	w.marathon.SetStreams(marathontest.StreamsSilent)
	w.marathon.deploy(app("/b", "b.test", 1))
	w.marathon.SetStreams(marathontest.StreamsServe)
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	w.upToDate()
}

// While Marathon is away hup brings certificates to Envoys all the same, each
// time, and answers in time that the rest goes on.
func TestHupWhileMarathonIsAway(t *testing.T) {
	w := newWorldAlone(t)
	mount := w.relay.useVault() // which is polled once an hour
	w.certs.publish(mount, "a.test")
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	serial := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial
	w.marathon.Down()
	for range 2 {
		w.certs.publish(mount, "a.test")
		start := time.Now()
		if status := w.admin.hook("hup"); status != http.StatusAccepted {
			t.Errorf("hup: status %d, want 202", status)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("hup: answered after %s, clients wait for 5 s", took)
		}
		serial = w.clients.renewed("https://a.test/", serial)
	}
}
