package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"relay/certs/certstest"
)

// benchRounds is how often each proxy has its turn.
const benchRounds = 30

// BenchmarkRequests measures the CPU time that a request costs a proxy: an Envoy by itself,
// one with Relay's configuration, with one app and with 10 001, and HAProxy. They take
// turns, so what else runs on the machine hits all alike.
func BenchmarkRequests(b *testing.B) {
	certs := b.TempDir()
	both := filepath.Join(certs, benchDomain+".pem")
	issued := certstest.TestCA(b).TestIssue(b, []string{benchDomain}, certstest.Options{})
	if err := os.WriteFile(both, issued.Bundle(), 0o600); err != nil {
		b.Fatal(err)
	}
	start := benchProxies{b: b, backend: startBenchBackend(b), certs: certs, bundle: both}
	proxies := []*benchProxy{start.bareEnvoy(), start.relayedEnvoy("Relay, 1 app", 0), start.relayedEnvoy("Relay, 10 001 apps", 10_000)}
	if closing := start.haproxy("HAProxy as marathon-lb", false); closing != nil {
		proxies = append(proxies, closing, start.haproxy("HAProxy, keeps connections", true))
	} else {
		b.Log("haproxy is not in PATH: its rows are missing (Debian: apt-get install haproxy)")
	}
	for _, p := range proxies {
		p.await(b)
	}
	apart(b, proxies)
	for _, load := range benchLoads() {
		b.Run(load.name, func(b *testing.B) {
			for b.Loop() {
				compare(b, load, proxies)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			idle(b, proxies)
		}
		b.ReportMetric(0, "ns/op")
	})
}

// idle measures what the proxies use while nothing happens. By default an Envoy does something
// every 5 s.
func idle(b *testing.B, proxies []*benchProxy) {
	b.Helper()
	before := make([]time.Duration, len(proxies))
	for i, p := range proxies {
		before[i] = p.spent(b)
	}
	began := time.Now()
	time.Sleep(15 * time.Second)
	var table strings.Builder
	for i, p := range proxies {
		share := 100 * (p.spent(b) - before[i]).Seconds() / time.Since(began).Seconds()
		fmt.Fprintf(&table, "\n%s: %.2f %% of a core", p.name, share)
		b.ReportMetric(share, "%-"+strings.ReplaceAll(p.name, " ", "-"))
	}
	b.Log(table.String())
}

// await waits until a proxy forwards requests, with TLS and without.
func (p *benchProxy) await(b *testing.B) {
	b.Helper()
	for _, load := range benchLoads() {
		eventually(b, p.name+" answers "+load.name, func() error { return p.warm(load) })
	}
}

func (p *benchProxy) warm(load benchLoad) error {
	clients, err := load.clients(p.address(load))
	closeAll(clients)
	return err
}

func (p *benchProxy) address(load benchLoad) string {
	if load.tls != nil {
		return p.https
	}
	return p.http
}

func closeAll(clients []*benchClient) {
	for _, c := range clients {
		c.close()
	}
}

// apart gives the proxies one core, and all else that the benchmark does another.
func apart(b *testing.B, proxies []*benchProxy) {
	b.Helper()
	if runtime.NumCPU() < 2 {
		b.Fatal("the proxies need a core of their own")
	}
	pin(b, os.Getpid(), 1)
	for _, p := range proxies {
		pin(b, p.pid, 0)
	}
}

// pin binds all threads of a process to a core.
func pin(b *testing.B, pid, core int) {
	b.Helper()
	var cores unix.CPUSet
	cores.Set(core)
	for _, thread := range threads(b, pid) {
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.SchedSetaffinity(id, &cores); err != nil {
			b.Fatalf("bind thread %d to core %d: %v", id, core, err)
		}
	}
}

// threads returns the directories in /proc of the threads of a process.
func threads(b *testing.B, pid int) []string {
	b.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(all) == 0 {
		b.Fatalf("the threads of process %d: %q, %v", pid, all, err)
	}
	return all
}

// spent is the CPU time that the threads of the proxy have used so far, to the nanosecond. See
// https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
func (p *benchProxy) spent(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, thread := range threads(b, p.pid) {
		text, err := os.ReadFile(thread + "/schedstat")
		if err != nil {
			b.Fatal(err)
		}
		onCPU, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(onCPU, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n)
	}
	return sum
}

// compare gives each proxy its turns and reports what a request cost it, the least and the
// median of its turns.
func compare(b *testing.B, load benchLoad, proxies []*benchProxy) {
	b.Helper()
	cost := make([][]float64, len(proxies))
	for range benchRounds {
		for i, p := range proxies {
			cost[i] = append(cost[i], p.turn(b, load))
		}
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\tleast µs\tmedian µs\tto Envoy alone\tmedian of the rounds\n", load.name)
	for i, p := range proxies {
		var ratios []float64
		for round := range benchRounds {
			ratios = append(ratios, cost[i][round]/cost[0][round])
		}
		ratio := slices.Min(cost[i]) / slices.Min(cost[0])
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f\t%.2f\n", p.name, slices.Min(cost[i]), median(cost[i]), ratio, median(ratios))
		b.ReportMetric(ratio, strings.ReplaceAll(p.name, " ", "-"))
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Log(table.String())
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// turn returns what a request costs the proxy, in µs of CPU time.
func (p *benchProxy) turn(b *testing.B, load benchLoad) float64 {
	b.Helper()
	clients, err := load.clients(p.address(load))
	defer closeAll(clients)
	if err != nil {
		b.Fatalf("%s, %s: %v", p.name, load.name, err)
	}
	before := p.spent(b)
	if err := send(clients, load.requests); err != nil {
		b.Fatalf("%s, %s: %v", p.name, load.name, err)
	}
	return float64((p.spent(b) - before).Nanoseconds()) / 1000 / float64(load.requests/len(clients)*len(clients))
}
