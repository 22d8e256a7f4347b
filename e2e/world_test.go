package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"relay/certs/certstest"
	"relay/certs/dir"
	"relay/collator/routing"
	"relay/internal/logtest"
	"relay/internal/relay"
	"relay/sources/marathon"
	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// Nothing may run when the tests have ended. What a Relay was doing for a client that floods it
// ends a moment after the client.
func TestMain(m *testing.M) {
	if kind := os.Getenv(benchServerKind); kind != "" {
		os.Exit(serveAsChild(kind))
	}
	// Most of the time they wait for Envoys to report, for apps to fall asleep, and for people to be told.
	envoytest.MoreAtOnce(3)
	status := m.Run()
	if status == 0 {
		leaked := goleak.Find()
		for deadline := time.Now().Add(patience); leaked != nil && time.Now().Before(deadline); {
			leaked = goleak.Find()
		}
		if leaked != nil {
			fmt.Fprintln(os.Stderr, leaked)
			status = 1
		}
	}
	program.remove()
	os.Exit(status)
}

// onDemand names the choice of that what Envoys load when a request needs it.
const onDemand = "on-demand"

// patience bounds every wait for something that must happen. Rates are of up to 20 s ago.
const patience = 40 * time.Second

// world is the main job on one machine. Each part has what a test does with it.
type world struct {
	t        *testing.T
	marathon *runningMarathon
	certs    *certificates
	relay    *runningRelay
	admin    *adminClient // of relay
	envoy    *runningEnvoy
	// Clients of Envoy.
	clients *clients
	conns   *connections
	tls     *tlsClients
	tcp     *tcpClients
	// byPeople counts changes of apps by people.
	byPeople int
}

// newWorld starts Marathon; the rest is started by the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return newWorldAlone(t)
}

// newWorldAlone is newWorld for a test that runs beside no other, as what it holds is a matter of time, and
// others take it.
func newWorldAlone(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, admin: newAdminClient(t), certs: &certificates{t: t, ca: certstest.TestCA(t), dir: t.TempDir()}, tcp: &tcpClients{t: t}}
	w.clients = &clients{t: t, certs: w.certs, http: freeAddress(t), https: freeAddress(t)}
	w.conns = &connections{t: t, certs: w.certs, clients: w.clients, tcp: w.tcp}
	w.tls = &tlsClients{t: t, certs: w.certs, clients: w.clients, tcp: w.tcp}
	// A task that is told to stop serves on for a while, as Mesos lets it: less
	// than it does by default, more than a busy machine takes to tell Envoy.
	w.marathon = &runningMarathon{t: t, Server: marathontest.Start(t, marathontest.Options{KillGrace: time.Second})}
	// An empty list would have to be confirmed by a second read, seconds later.
	w.marathon.deploy(app("/seed", "seed.test", 1))
	w.relay = &runningRelay{t: t, certs: w.certs, admin: w.admin, log: &logtest.Buffer{}, config: relay.Config{
		Apps: relay.Apps{Marathon: marathon.Config{URLs: []string{w.marathon.URL()}, SyncInterval: time.Hour}, ACME: "/marathon-acme"},
		Fleets: []relay.Fleet{{Fleet: routing.Fleet{
			Name: "external", HTTP: netip.MustParseAddrPort(w.clients.http), HTTPS: netip.MustParseAddrPort(w.clients.https), Options: routing.DefaultOptions(), Redis: true,
		}}},
		Certificates: relay.Certificates{Dir: dir.Config{Paths: []string{w.certs.dir}}, Grace: time.Hour},
		XDS:          relay.XDSPort{Address: freeAddress(t)},
		Admin:        relay.AdminPort{Address: "127.0.0.1:0"},
	}}
	w.relay.fleet = &w.relay.config.Fleets[0]
	w.relay.pollCertificates(time.Hour)
	w.envoy = &runningEnvoy{t: t, relay: w.relay, admin: w.admin}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Relay's log:\n%s", w.relay.log)
		}
	})
	return w
}

func freeAddress(t testing.TB) string { return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)) }

// start starts Relay and an Envoy, and waits until Envoy serves.
func (w *world) start() {
	w.t.Helper()
	w.relay.start()
	w.envoy.start()
	w.envoy.ready()
}

// eventually waits until check is content.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	eventuallyWithin(t, patience, what, check)
}

// eventuallyWithin is eventually for what takes longer.
func eventuallyWithin(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	// Checks of many tests would take the processor from what they wait for. None waits a fiftieth longer.
	wait(t, limit, what, check, func(waited time.Duration) time.Duration {
		return min(max(waited/50, shortly), 10*time.Millisecond)
	})
}

// shortly is the pause between checks for what may soon be over.
const shortly = 2 * time.Millisecond

// forAMoment is eventually for what may soon be over.
func forAMoment(t testing.TB, what string, check func() error) {
	t.Helper()
	wait(t, patience, what, check, func(time.Duration) time.Duration { return shortly })
}

// wait checks with a pause between that depends on how long it has waited.
func wait(t testing.TB, limit time.Duration, what string, check func() error, pause func(waited time.Duration) time.Duration) {
	t.Helper()
	for began := time.Now(); ; {
		err := check()
		if err == nil {
			return
		}
		waited := time.Since(began)
		if waited > limit {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(pause(waited))
	}
}

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	eventually(w.t, what, check)
}
