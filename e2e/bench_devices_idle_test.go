package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	idleCertificates, idleListeners = 200, 50
	// idleFor is how long nothing happens.
	idleFor = 20 * time.Second
)

// benchmarkIdle measures what connections that idle take of Envoy, with TLS and certificates of clients, and
// without, and how many are closed by changes that are none of theirs.
func benchmarkIdle(b *testing.B) {
	w := newDeviceWorld(b)
	n := mostDevices(b)
	plain := startBenchServer(b, plainServer)
	d := newBenchDevices(b, w.service("/plain", "", []*benchServer{plain}, "RELAY_0_IDLE_TIMEOUT", "0s"), nil, 50)
	w.startWorkers(2)
	w.listens(d)
	b.ReportMetric(w.memoryOf(d, n), "kB-plain")
	d.end()
	plain.kill()
	w.envoy.Kill()

	first, second := startBenchServer(b, whoServer), startBenchServer(b, whoServer)
	address := w.service("/imp", "", []*benchServer{first}, byTLS()...)
	d = newBenchDevices(b, address, w.configs, 50)
	w.startWorkers(2)
	w.listens(d)
	w.listens(newBenchDevices(b, address, w.configs, 1)) // what the first one costs is no one's
	base := w.idleCPU(idleFor / 4)
	b.ReportMetric(float64(n), "devices")
	atMost(b, w.memoryOf(d, n), 20, "kB-each")
	w.changeAll(address, first, second)
	atMost(b, w.idleCPU(idleFor)-base, 0.5, "%-of-a-core-idle") // beside what an Envoy takes anyway
	open, _ := first.connections()
	atMost(b, float64(d.ended.Load()), 0, "closed")
	if open != n {
		b.Errorf("the server has %d connections, of %d", open, n)
	}
	b.Logf("%d devices; Envoy without any takes %.2f %% of a core: %q", n, base, d.why)
}

// memoryOf connects devices, and returns how much more memory Envoy has for each, in kB (1000 bytes).
func (w *deviceWorld) memoryOf(d *benchDevices, n int) float64 {
	w.b.Helper()
	of := procfs{w.b, w.envoy.Pid()}
	before, began := of.memory("VmRSS"), time.Now()
	d.add(n)
	took := time.Since(began)
	each := float64(of.memory("VmRSS")-before) / float64(n) / 1000
	usage, err := w.envoy.Get(w.b.Context(), "/memory")
	if err != nil {
		w.b.Fatal(err)
	}
	w.b.Logf("%d connected in %s; %.1f kB each; Envoy says %s", n, took.Round(100*time.Millisecond), each, strings.Join(strings.Fields(usage), " "))
	return each
}

// idleCPU is what Envoy uses while nothing happens, in percent of a core.
func (w *deviceWorld) idleCPU(during time.Duration) float64 {
	of := benchProxy{procfs: procfs{w.b, w.envoy.Pid()}}
	before, began := of.spent(w.b), time.Now()
	time.Sleep(during)
	return 100 * (of.spent(w.b) - before).Seconds() / time.Since(began).Seconds()
}

// changeAll changes endpoints of others and of the service itself, makes new certificates and listeners, and
// waits until Envoy has them.
func (w *deviceWorld) changeAll(address string, first, second *benchServer) {
	w.b.Helper()
	const active = `^listener_manager\.total_listeners_active$`
	listeners := w.stat(active)
	const rounds = 100
	w.updateEndpoints(rounds, 0, func(round int) {
		w.service("/imp", address, []*benchServer{first, second}[:1+round%2], byTLS()...)
		for i := range idleCertificates / rounds {
			w.issue(fmt.Sprintf("other-%d-%d.test", round, i))
		}
		if round%(rounds/idleListeners) == 0 {
			w.service(fmt.Sprintf("/service-%d", round), "", []*benchServer{first})
		}
	})
	eventually(w.b, "Envoy has the listeners", func() error {
		if n := w.stat(active) - listeners; n < idleListeners {
			return fmt.Errorf("%d more", n)
		}
		return nil
	})
}
