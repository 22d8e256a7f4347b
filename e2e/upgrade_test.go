package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// upgradeWorld is a world with a service for devices, and an app with WebSockets, that has a field of both.
func upgradeWorld(t *testing.T, start func(w *world)) (w *world, f *field) {
	t.Helper()
	w = newWorld(t)
	start(w)
	port, address := w.tcp.port()
	w.marathon.service("/imp", []string{w.tcp.lines("imp", nil)}, modeLabel, "tcp", portLabel, port, "RELAY_0_IDLE_TIMEOUT", "0s")
	w.tcp.greeted(address, "imp")
	w.marathon.deploy(app("/chat", "chat.test", 2))
	w.clients.expect("http://chat.test/", http.StatusOK, "/chat")
	f = openField(w, address, upgradeDevices, upgradeSockets)
	f.used()
	return w, f
}

// Relay is replaced by another process, after it was told to stop, and after it was killed. Nobody notices.
func TestRelayIsUpgraded(t *testing.T) {
	var running *process
	w, f := upgradeWorld(t, func(w *world) {
		running = w.relay.startProcess()
		w.envoy.start()
		w.envoy.ready()
	})
	stop := f.newcomers()
	for _, end := range []func(*process){(*process).terminate, (*process).kill} {
		end(running)
		f.kept("while no Relay runs")
		running = w.relay.startProcess()
		w.eventually("Relay serves", func() error {
			status, _, err := running.admin.request(http.MethodGet, "/readyz")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("it answers %d", status)
			} else if err == nil && len(running.admin.envoys()) == 0 {
				err = errors.New("to no Envoy")
			}
			return err
		})
		running.admin.settled()
		f.kept("after another Relay has started")
	}
	if came, refused := stop(); refused > 0 || came == 0 {
		t.Errorf("of %d newcomers, %d were refused: %q", came+refused, refused, f.why)
	}
	if n := w.envoy.draining(); n != 0 {
		t.Errorf("%d listeners or filter chains drain", n)
	}
}

// An Envoy of the next version takes over the sockets of the old one, which keeps its connections until
// --parent-shutdown-time-s. docs/upgrading.md has the steps.
func TestEnvoyIsUpgradedByHotRestart(t *testing.T) {
	// All connections are used twice in that time, which a busy machine needs seconds for.
	const keeps = 30 * time.Second
	base := int(envoytest.FreePort(t))
	start := func(w *world, version string, epoch int) *envoytest.Envoy {
		w.envoy.Envoy = envoytest.Start(t, envoytest.Options{
			XDS: []string{w.relay.config.XDS.Address}, Version: version, BaseID: base, RestartEpoch: epoch,
			Args: []string{"--drain-time-s", "2", "--parent-shutdown-time-s", fmt.Sprint(keeps.Seconds())},
		})
		w.envoy.ready()
		return w.envoy.Envoy
	}
	var old *envoytest.Envoy
	w, f := upgradeWorld(t, func(w *world) {
		w.relay.start()
		old = start(w, "1.39", 0)
	})
	stop := f.newcomers()
	start(w, envoytest.Newest, 1)
	began := time.Now()
	f.kept("when the new Envoy has taken over")
	select {
	case <-old.Done():
		t.Fatalf("the old Envoy ended after %s", time.Since(began))
	case <-time.After(time.Until(began.Add(keeps / 2))):
	}
	f.kept("before the time is over that was set")
	select {
	case <-old.Done():
	case <-time.After(patience):
		t.Fatal("the old Envoy does not end")
	}
	f.back(time.Now())
	if came, refused := stop(); refused > 0 || came == 0 {
		t.Errorf("of %d newcomers, %d were refused: %q", came+refused, refused, f.why)
	}
}

// A second Envoy listens at the same ports. The old one is told to take no more connections, and keeps those
// that it has until it is stopped.
func TestEnvoyIsUpgradedBesideTheOld(t *testing.T) {
	start := func(w *world, id string) *envoytest.Envoy {
		w.envoy.Envoy = envoytest.Start(t, envoytest.Options{
			XDS: []string{w.relay.config.XDS.Address}, NodeID: id, Args: []string{"--drain-time-s", "1"},
		})
		w.envoy.ready()
		return w.envoy.Envoy
	}
	var old *envoytest.Envoy
	w, f := upgradeWorld(t, func(w *world) {
		w.relay.start()
		old = start(w, "old")
	})
	start(w, "new")
	post(t, old, "/drain_listeners?graceful")
	// What the system had put into the queue of the old one is lost, unless net.ipv4.tcp_migrate_req
	// is set: the machine decides that. So there are no newcomers until the old one has closed its sockets, one
	// listener after the other.
	w.eventually("the old one listens no more", func() error {
		const stopped, all = "listener_manager.listener_stopped", "listener_manager.total_listeners_active"
		stats, err := old.Stats(t.Context(), regexp.MustCompile(`^listener_manager\.`))
		if err == nil && (stats[all] == 0 || stats[stopped] < stats[all]) {
			err = fmt.Errorf("%d listeners of %d are stopped", stats[stopped], stats[all])
		}
		return err
	})
	f.kept("when the old one takes no more")
	stop := f.newcomers()
	// Those of its admin endpoint are the test's own.
	accepted := func() (n int64) {
		stats, err := old.Stats(t.Context(), regexp.MustCompile(`^listener\.127\.0\.0\.1_\d+\.downstream_cx_total$`))
		if err == nil && len(stats) == 0 {
			err = errors.New("it counts no connections")
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range stats {
			n += of
		}
		return n
	}
	before := accepted()
	w.eventually("newcomers", func() error {
		if f.came.Load() < 200 {
			return errors.New("too few came")
		}
		return nil
	})
	if now := accepted(); now > before {
		t.Errorf("the old one took %d more connections", now-before)
	}
	old.Stop()
	f.back(time.Now())
	if came, refused := stop(); refused > 0 || came == 0 {
		t.Errorf("of %d newcomers, %d were refused: %q", came+refused, refused, f.why)
	}
}

// post calls Envoy's admin endpoint.
func post(t *testing.T, e *envoytest.Envoy, path string) {
	t.Helper()
	response, err := http.Post("http://"+e.Admin+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, response.Status)
	}
}
