package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/admin/client"
	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/internal/logtest"
	"relay/internal/relay"
	"relay/statuspage"
)

// shownWorld is one in which things break, seen from all sides: two Envoys, a Relay that asks through them, another place that
// asks too and has the status page, and a Prometheus with the alerts of deploy.
type shownWorld struct {
	*edgesWorld
	vault *vaulttest.Server
	mount *vaulttest.Mount
	// slow is an app that takes its time when it is told to.
	slow *slowApp
	// stopped is the instance of an app of which none is left when it ends.
	stopped *httptest.Server
	// machine is that of an agent: its instances take no connection once it is cut off.
	machine    *agentMachine
	far        *runningProbe // the other place
	page       string        // the status page's JSON there
	prometheus *runningPrometheus
	began      time.Time
}

// slowApp answers at once, or after seconds.
type slowApp struct{ slow atomic.Bool }

// slowness is more than what its label allows.
const slowness = 3 * time.Second

func (s *slowApp) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if s.slow.Load() {
		select {
		case <-time.After(slowness):
		case <-r.Context().Done():
		}
	}
}

// agentMachine is a machine whose network is cut: whoever connects gets no answer at all, as its packets are lost.
type agentMachine struct {
	t       *testing.T
	address string
	server  *httptest.Server
}

func newAgentMachine(t *testing.T) *agentMachine {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return &agentMachine{t, s.Listener.Addr().String(), s}
}

// blackHole has it take no connection any more. The kernel drops what wants to connect to a port whose queue is full.
func (m *agentMachine) blackHole() {
	m.t.Helper()
	m.server.CloseClientConnections()
	m.server.Close()
	port := m.server.Listener.Addr().(*net.TCPAddr).Port
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = syscall.Close(fd) })
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		m.t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		m.t.Fatal(err)
	}
	for full := false; !full; {
		c, err := net.DialTimeout("tcp", m.address, 300*time.Millisecond)
		if full = err != nil; !full {
			m.t.Cleanup(func() { _ = c.Close() })
		}
	}
}

// owned are the labels of an app of the world: both Envoys have it, it is asked from outside, and has an owner.
func owned(name, probe string, more ...string) []string {
	return append([]string{"HAPROXY_GROUP", "external,internal", "HAPROXY_0_VHOST", name + ".test", "RELAY_0_PROBE", probe, "RELAY_OWNER", "team-" + name}, more...)
}

// shownServices are the services of the status page: each is one app.
var shownServices = []string{"deployed", "replaced", "scaled", "off", "sleepy", "stopped", "crashing", "slow", "lost", "half", "old", "other"}

// startShown starts all of it, and waits until all is well everywhere.
func startShown(t *testing.T) *shownWorld {
	t.Helper()
	s := &shownWorld{began: time.Now()}
	s.edgesWorld = startEdges(t, func(w *edgesWorld) {
		s.edgesWorld = w
		s.useVault()
		w.relay.config.Apps.Marathon.SyncInterval = 5 * time.Second
		w.relay.config.Scaling = relay.Scaling{Enabled: true, Marathon: w.relay.config.Apps.Marathon, WaitingPerApp: 100, WaitingInAll: 1000, WakeRate: 1000}
		w.relay.config.Admin.Address = freeAddress(t)
		s.deployAll()
		w.askEdges("interval: 5s\n")
	})
	s.relay.running.Loads().Pace("external", time.Second)
	s.relay.running.Loads().Pace("internal", time.Second)
	s.startFar()
	s.prometheus = startPrometheus(t, prometheusSettings{relay: s.admin.address(), probe: strings.TrimPrefix(s.far.url, "http://"), quicker: true})
	s.eventually("all is up", func() error {
		states, err := s.public()
		for name, state := range states {
			if state != statuspage.Up {
				err = fmt.Errorf("%s is %s", name, state)
			}
		}
		return err
	})
	s.eventually("Prometheus sees both places", func() error { return s.prometheus.has("count(relay_probe_envoy_up == 1) == 4") })
	return s
}

// useVault has Relay read a real Vault, with certificates for all domains.
func (s *shownWorld) useVault() {
	s.t.Helper()
	s.vault = vaulttest.Start(s.t)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var err error
	if s.mount, err = s.vault.Mount(ctx, "secret"); err != nil {
		s.t.Fatal(err)
	}
	token, err := s.mount.ReaderToken(ctx, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	s.relay.readVault(s.vault, writeFile(s.t, "token", token))
	s.relay.pollCertificates(time.Second)
	names := []string{"seed.test"}
	for _, name := range shownServices {
		if name != "old" {
			names = append(names, name+".test")
		}
	}
	s.certs.publish(s.mount, names...)
	// One is not renewed: it has had less than 15 days for some time.
	issued := s.certs.ca.TestIssue(s.t, []string{"old.test"}, certstest.Options{NotAfter: time.Now().AddDate(0, 0, 14)})
	if _, err := s.mount.Publish(ctx, "old.test", issued); err != nil {
		s.t.Fatal(err)
	}
}

// deployAll has Marathon run the apps.
func (s *shownWorld) deployAll() {
	s.t.Helper()
	s.slow = &slowApp{}
	s.machine = newAgentMachine(s.t)
	s.stopped = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.t.Cleanup(well.Close)
	s.marathon.deploy(
		app("/deployed", "", 2, owned("deployed", "/")...), app("/replaced", "", 1, owned("replaced", "/")...),
		app("/scaled", "", 3, owned("scaled", "/")...), app("/off", "", 1, owned("off", "/")...),
		app("/crashing", "", 1, owned("crashing", "/")...), app("/old", "", 1, owned("old", "/")...), app("/other", "", 1, owned("other", "/")...),
		app("/sleepy", "", 1, owned("sleepy", "/", "RELAY_IDLE_AFTER", "5s")...))
	s.marathon.backend("/slow", "", httptest.NewServer(s.slow), owned("slow", "/ 2xx within 2s")...)
	s.marathon.backend("/stopped", "", s.stopped, owned("stopped", "/")...)
	s.marathon.service("/lost", []string{s.machine.address}, owned("lost", "/")...)
	s.marathon.service("/half", []string{s.machine.address, well.Listener.Addr().String()}, owned("half", "/")...)
}

// startFar starts the place that is elsewhere, with its page.
func (s *shownWorld) startFar() {
	s.t.Helper()
	settings := "places: [{name: relay, url: \"" + s.admin.url + "\"}]\nservices:\n"
	for _, name := range shownServices {
		slow := ""
		if name == "slow" || name == "half" { // a busy machine makes others slow that are not to be
			slow = ", slow: 2s"
		}
		settings += fmt.Sprintf("  - {name: %s, domains: [%s.test]%s}\n", name, name, slow)
	}
	page := freeAddress(s.t)
	config := relay.ProbeConfig{
		Probes: s.relay.config.Probes, Relays: []client.Settings{{Address: s.admin.url}}, Port: relay.AdminPort{Address: freeAddress(s.t)},
		StatusPage: relay.StatusPage{File: writeFile(s.t, "page.yaml", settings), Address: page},
	}
	config.Probes.Place = "far"
	if err := config.Validate(); err != nil {
		s.t.Fatal(err)
	}
	log := &logtest.Buffer{}
	program, err := relay.NewProbeProgram(config, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- program.Serve(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("relay probe: %v", err)
		}
		if s.t.Failed() {
			s.t.Logf("the log of the other place:\n%s", log)
		}
	})
	s.page = "http://" + page + "/status.json"
	s.far = &runningProbe{s.t, program.URL()}
}

// public reads the status page: how each service is.
func (s *shownWorld) public() (map[string]statuspage.State, error) {
	r, err := http.Get(s.page)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var view statuspage.View
	if err := json.Unmarshal(body, &view); err != nil {
		return nil, fmt.Errorf("%w: %.200s", err, body)
	}
	states := make(map[string]statuspage.State)
	for _, one := range view.Services {
		states[one.Name] = one.State
	}
	return states, nil
}
