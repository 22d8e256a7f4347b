package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/admin"
	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// process is Relay as a process of its own.
type process struct {
	admin string
	cmd   *exec.Cmd
}

// startProcess runs this test binary as relay serve, configured by flags,
// environment and a file.
func (w *world) startProcess() *process {
	w.t.Helper()
	p := &process{admin: fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(w.t))}
	file := w.t.TempDir() + "/relay.yaml"
	text := "marathon: [" + w.marathon.URL() + "]\nfleets:\n- name: external\n  http: " + w.http + "\n  https: " + w.https + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0], "serve", "--config", file, "--xds", w.config.XDS, "--admin", p.admin)
	p.cmd.Env = append(os.Environ(), "RELAY_TEST_MAIN=1", "RELAY_CERTS_DIR="+w.certs)
	p.cmd.Stderr = w.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// metrics returns the lines of /metrics.
func (w *world) metrics(p *process) []string {
	w.t.Helper()
	var body []byte
	w.eventually("metrics", func() error {
		resp, err := http.Get("http://" + p.admin + "/metrics")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err = io.ReadAll(resp.Body)
		return err
	})
	http.DefaultClient.CloseIdleConnections()
	return strings.Split(string(body), "\n")
}

// sum adds up the series of a metric.
func (w *world) sum(p *process, metric string) (sum float64) {
	w.t.Helper()
	for _, line := range w.metrics(p) {
		var value float64
		if name, rest, ok := strings.Cut(line, " "); ok && (name == metric || strings.HasPrefix(name, metric+"{")) {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				w.t.Fatalf("metric %q: %v", line, err)
			}
			sum += value
		}
	}
	return sum
}

// Relay killed and started again: Envoy goes on, and is sent nothing that it has.
func TestKilledRelay(t *testing.T) {
	w := newWorld(t)
	w.issue("a.test")
	w.deploy(app("/a", "a.test", 2, "MARATHON_ACME_0_DOMAIN", "a.test"), app("/zone", "*.zone.test,exact.zone.test", 1))
	first := w.startProcess()
	w.startEnvoy()
	w.ready()
	w.expect("http://a.test/", http.StatusOK, "/a")
	w.expect("https://a.test/", http.StatusOK, "/a")
	if sent := w.sum(first, "relay_xds_resources_sent_total"); sent < 5 {
		t.Fatalf("the first Relay counts %v resources sent: the metric is not what is meant", sent)
	}
	ws := w.echo("wss://a.test/ws")
	load := w.load(100, ok, "http://a.test/", "https://a.test/", "http://x.zone.test/")
	first.kill()

	second := w.startProcess()
	w.eventually("Envoy is back", func() error {
		if n := w.sum(second, "relay_xds_streams"); n != 1 {
			return fmt.Errorf("%v streams", n)
		}
		return nil
	})
	// A change comes after all that the reconnect may have caused.
	w.deploy(app("/late", "late.test", 1))
	w.expect("http://late.test/", http.StatusOK, "/late")
	w.noFailure(load, 20)
	w.says(ws, "still here")
	// One cluster, its endpoints, its scope.
	if sent, removed := w.sum(second, "relay_xds_resources_sent_total"), w.sum(second, "relay_xds_removals_sent_total"); sent > 4 || removed > 0 {
		t.Errorf("after the restart %v resources were sent and %v removed; want the new app's alone", sent, removed)
	}
}

// Relay started while Marathon is down: an Envoy that connects keeps what it
// has, /readyz says why, and all is well once Marathon is back.
func TestMarathonDownAtStart(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	w.start()
	w.expect("http://a.test/", http.StatusOK, "/a")
	w.stop()
	w.marathon.Down()
	w.startRelay()
	load := w.load(100, ok, "http://a.test/")
	w.streams(1)
	w.notReady("apps cannot be read from marathon")
	if err := w.marathon.Up(); err != nil {
		t.Fatal(err)
	}
	w.deploy(app("/b", "b.test", 1))
	w.expect("http://b.test/", http.StatusOK, "/b")
	w.noFailure(load, 10)
}

// Marathon goes away from a Relay that has read it: people are told since when,
// Relay stays ready, and the problem goes when Marathon is back.
func TestMarathonAwayLater(t *testing.T) {
	w := newWorld(t)
	w.startRelay()
	told := func() bool {
		return slices.ContainsFunc(w.relay.Problems(), func(p admin.ProblemView) bool {
			return p.Kind == admin.ProblemSource && strings.Contains(p.Reason, "not followed since "+time.Now().UTC().Format("2006-"))
		})
	}
	expect := func(what string, away bool) {
		t.Helper()
		w.eventually(what, func() error {
			if told() != away || w.relay.Sources()[0].Connected == away {
				return fmt.Errorf("problems %v, source %+v", w.relay.Problems(), w.relay.Sources()[0])
			}
			return nil
		})
	}
	expect("Marathon is read", false)
	w.eventually("Envoys are served", func() error {
		if reasons := w.relay.NotReady(); len(reasons) > 0 {
			return fmt.Errorf("%q", reasons)
		}
		return nil
	})
	w.marathon.Down()
	expect("Marathon is away", true)
	if slices.ContainsFunc(w.relay.NotReady(), func(reason string) bool { return strings.Contains(reason, "marathon") }) {
		t.Errorf("not ready: %q", w.relay.NotReady())
	}
	if err := w.marathon.Up(); err != nil {
		t.Fatal(err)
	}
	expect("Marathon is back", false)
}

// notReady waits until /readyz refuses with these words.
func (w *world) notReady(words string) {
	w.t.Helper()
	w.eventually("not ready", func() error {
		resp, err := http.Get("http://" + w.relay.adminListener.Addr().String() + "/readyz")
		if err != nil {
			return err
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), words) {
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
		return nil
	})
}

// A panic in the watcher restarts it alone: no stream is cut.
func TestWatcherPanic(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	var bomb atomic.Bool
	w.config.onMarathonEvent = func(string) {
		if bomb.CompareAndSwap(true, false) {
			panic("injected")
		}
	}
	w.start()
	w.expect("http://a.test/", http.StatusOK, "/a")
	since := w.streams(1)[0].Since
	bomb.Store(true)
	w.deploy(app("/b", "b.test", 1))
	w.expect("http://b.test/", http.StatusOK, "/b")
	if bomb.Load() {
		t.Error("the panic never happened")
	}
	if !strings.Contains(w.log.String(), "a part panicked and is started again") {
		t.Error("the panic is not in the log")
	}
	if got := w.streams(1)[0].Since; !got.Equal(since) {
		t.Errorf("Envoy's stream is of %s, was of %s", got, since)
	}
}

// A connection that Envoy's listeners refuse to be bound to is not hidden.
func TestPortInUse(t *testing.T) {
	w := newWorld(t)
	w.startRelay()
	other := w.config
	other.XDS = w.config.XDS
	if _, err := newRelay(&other, w.relay.log); err == nil || !strings.Contains(err.Error(), "--xds "+w.config.XDS) {
		t.Errorf("a second Relay on the same port: %v; want an error with the address", err)
	}
}

// What Envoy rejects costs that alone: here the https listener, whose port is
// taken. It is one problem, in Envoy's words, and is tried again when it changes.
func TestRejectedListener(t *testing.T) {
	w := newWorld(t)
	w.issue("a.test")
	w.deploy(app("/a", "a.test", 1))
	taken, err := net.Listen("tcp", w.https)
	if err != nil {
		t.Fatal(err)
	}
	w.startRelay()
	w.startEnvoy()
	w.expect("http://a.test/", http.StatusOK, "/a")
	w.problem("Envoy envoy", "listeners https: rejected")
	w.problem("Envoy envoy", "bind")
	w.deploy(app("/b", "b.test", 1))
	w.expect("http://b.test/", http.StatusOK, "/b")
	if n := strings.Count(w.log.String(), "Envoy rejected a resource"); n != 1 {
		t.Errorf("the log tells of %d rejections, want 1", n)
	}
	_ = taken.Close()
	w.issue("b.test")
	if status := w.hook("usr1"); status != http.StatusNoContent {
		t.Fatalf("hook: status %d", status)
	}
	w.expect("https://b.test/", http.StatusOK, "/b")
	w.eventually("the log tells that it is over", func() error {
		if !strings.Contains(w.log.String(), "Envoy has acknowledged what had been rejected") {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	if problems := w.relay.Problems(); len(problems) != 0 {
		t.Errorf("problems that are none any more: %+v", problems)
	}
}

// Marathon's event stream going silent is noticed and healed by a new one.
func TestHalfOpenStream(t *testing.T) {
	w := newWorld(t)
	w.config.marathonIdleTimeout = 300 * time.Millisecond
	w.deploy(app("/a", "a.test", 1))
	w.start()
	w.marathon.SetStreams(marathontest.StreamsSilent)
	w.deploy(app("/b", "b.test", 1))
	w.marathon.SetStreams(marathontest.StreamsServe)
	w.expect("http://b.test/", http.StatusOK, "/b")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.relay.reloadApps(ctx); err != nil {
		t.Errorf("reload: %v", err)
	}
}

// While Marathon is away hup brings certificates to Envoys all the same, each
// time, and answers in time that the rest goes on.
func TestHupWhileMarathonIsAway(t *testing.T) {
	w := newWorld(t)
	mount := w.vault() // which is polled once an hour
	w.publish(mount, "a.test")
	w.deploy(app("/a", "a.test", 1))
	w.start()
	serial := w.expect("https://a.test/", http.StatusOK, "/a").serial
	w.marathon.Down()
	for range 2 {
		w.publish(mount, "a.test")
		start := time.Now()
		if status := w.hook("hup"); status != http.StatusAccepted {
			t.Errorf("hup: status %d, want 202", status)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("hup: answered after %s, clients wait for 5 s", took)
		}
		serial = w.renewed("https://a.test/", serial)
	}
}
