package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/deploy"
	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// deviceWorld is Relay as a process of its own, with certificates, and an Envoy with the limits of
// the machine.
type deviceWorld struct {
	*benchWorld
	apps    *runningMarathon
	relay   *benchProcess
	envoy   *envoytest.Envoy
	ca      *certstest.CA // of servers
	devices *certstest.Authority
	certs   string
	https   string
	configs func(device int) *tls.Config
}

// newDeviceWorld starts Relay. The Envoy is started by startWorkers.
func newDeviceWorld(b *testing.B) *deviceWorld {
	b.Helper()
	w := &deviceWorld{
		benchWorld: newBenchWorld(b, marathontest.Options{KillGrace: time.Second}), ca: certstest.TestCA(b), certs: b.TempDir(), https: freeAddress(b),
		devices: certstest.TestRoot(b, "devices", time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0)),
	}
	w.apps = &runningMarathon{t: b, Server: w.marathon}
	w.apply(app("/seed", "seed.test", 1))
	w.issue(devicesDomain)
	w.write("devices.ca.pem", w.devices.PEM())
	w.configs = deviceConfigs(b, w.ca, w.devices)
	w.relay = w.startProcess("--https", w.https, "--certs-dir", w.certs)
	w.relay.awaitSyncs(1)
	b.Logf("%s; %d processors", loadAverage(b), runtime.NumCPU())
	b.Cleanup(func() { b.Log("at the end:", loadAverage(b)) })
	return w
}

// startWorkers starts an Envoy with so many workers.
func (w *deviceWorld) startWorkers(n int) {
	w.b.Helper()
	limits, err := deploy.LimitsOfMachine()
	if err != nil {
		w.b.Fatal(err)
	}
	w.envoy = envoytest.Start(w.b, envoytest.Options{XDS: []string{w.config.XDS.Address}, Limits: limits, Workers: n})
	w.within(w.envoy.WaitReady)
}

// issue writes a certificate for a name to the directory of certificates.
func (w *deviceWorld) issue(name string) {
	w.b.Helper()
	w.write(name+".pem", w.ca.TestIssue(w.b, []string{name}, certstest.Options{}).Bundle())
}

func (w *deviceWorld) write(name string, content []byte) {
	w.b.Helper()
	path := filepath.Join(w.certs, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		w.b.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.b.Fatal(err)
	}
}

// What a service has labels for: connections that stay, TLS, certificates of clients, and that the server is told
// of them.
var (
	staying    = []string{"RELAY_0_IDLE_TIMEOUT", "0s"}
	secured    = append(slices.Clone(staying), "HAPROXY_0_VHOST", devicesDomain, terminateLabel, "true")
	identified = append(slices.Clone(secured), clientCALabel, "devices", "RELAY_0_CLIENT_SAN", "uri:"+benchTenant+"*")
	introduced = append(slices.Clone(identified), "RELAY_0_PROXY_PROTOCOL", "v2")
)

// byTLS are the labels of a service that has all of these, and more.
func byTLS(more ...string) []string { return slices.Concat(introduced, more) }

// service makes a service of servers, or changes it. Where address is empty it gets a port.
func (w *deviceWorld) service(id, address string, servers []*benchServer, labels ...string) string {
	w.b.Helper()
	if address == "" {
		address = freeAddress(w.b)
	}
	_, port, _ := net.SplitHostPort(address)
	var tasks []string
	for _, s := range servers {
		tasks = append(tasks, s.address)
	}
	w.apps.service(id, tasks, append([]string{modeLabel, "tcp", portLabel, port}, labels...)...)
	return address
}

// listens waits until a service lets a device in.
func (w *deviceWorld) listens(d *benchDevices) {
	w.b.Helper()
	eventually(w.b, "the service", func() error {
		var config *tls.Config
		if d.tls != nil {
			config = d.tls(0)
		}
		conn, err := d.connect(config)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// settled waits until all Envoys have all.
func (w *deviceWorld) settled() {
	w.b.Helper()
	w.within(func(ctx context.Context) error {
		for ctx.Err() == nil && w.relay.metric(`relay_envoys{fleet="external",state="up_to_date"}`) == 0 {
			time.Sleep(50 * time.Millisecond)
		}
		return ctx.Err()
	})
}

// stat is the sum of Envoy's stats that match.
func (w *deviceWorld) stat(pattern string) (sum int64) {
	w.b.Helper()
	w.within(func(ctx context.Context) error {
		stats, err := w.envoy.Stats(ctx, regexp.MustCompile(pattern))
		for _, n := range stats {
			sum += n
		}
		return err
	})
	return sum
}

// mostDevices is how many connections the descriptors of one Envoy are enough for, up to 10 000. Each takes
// two.
func mostDevices(b *testing.B) int {
	b.Helper()
	limits, err := deploy.LimitsOfMachine()
	if err != nil {
		b.Fatal(err)
	}
	const others = 25 // that the benchmark opens itself
	return min(10_000, int(limits.MaxConnections)-others)
}

// loadAverage says how busy the machine is.
func loadAverage(b *testing.B) string {
	b.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	minute, _, _ := strings.Cut(string(text), " ")
	busy := "at rest"
	if load, _ := strconv.ParseFloat(minute, 64); load > float64(runtime.NumCPU())/2 {
		busy = "busy"
	}
	return fmt.Sprintf("the machine is %s: load average %s", busy, minute)
}

const benchUpdates = 10_000

// updateEndpoints updates endpoints of one app, by own, and of others, as many as there are updates a round, and
// waits each time until Envoy has all. A round takes as long as it is told, or longer.
func (w *deviceWorld) updateEndpoints(rounds int, takes time.Duration, own func(round int)) {
	w.b.Helper()
	const sentName = `relay_xds_resources_sent_total{type="endpoints"}`
	sent, began := w.relay.metric(sentName), time.Now()
	others := benchUpdates/rounds - 1
	for round := range rounds {
		for i := range others {
			id := fmt.Sprintf("/other-%d", i)
			w.apps.rawAppQuietly(id, fmt.Sprintf("other-%d.test", i), "127.0.0.1", fmt.Sprint(20000+round))
			w.apps.taskChanged(id)
		}
		own(round)
		eventually(w.b, "Envoy has the endpoints", func() error {
			time.Sleep(20 * time.Millisecond)
			if got, want := w.relay.metric(sentName)-sent, (round+1)*others; got < want {
				return fmt.Errorf("it was sent %d, want %d", got, want)
			}
			return nil
		})
		time.Sleep(time.Until(began.Add(time.Duration(round+1) * takes)))
	}
	w.settled()
	w.b.Logf("%d updates of endpoints in %s; Envoy was sent %d", benchUpdates, time.Since(began).Round(time.Second), w.relay.metric(sentName)-sent)
}
