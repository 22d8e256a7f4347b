package envoy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"relay/sources"
)

// BenchmarkHosts measures the CPU time of Envoy for a request that needs no app,
// by what has to be done to find the domain of its host, among few and among
// 1000 wildcard domains.
func BenchmarkHosts(b *testing.B) {
	closed := func(id string, domains ...string) *sources.App {
		return changed(webApp(id, domains...), func(p *sources.Port) { p.HTTP = &sources.HTTP{Closed: true} })
	}
	for _, wildcards := range []int{1, 1000} {
		e := startEnvoy(b)
		apps := []*sources.App{closed("/app", "app.test", "x.zone.test"), closed("/zone", "*.zone.test")}
		for i := 1; i < wildcards; i++ {
			apps = append(apps, closed(fmt.Sprint("/zone", i), fmt.Sprintf("*.zone%d.test", i)))
		}
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps(apps)
		e.eventually(b, request{host: "a.zone.test", path: "/"}, status(403))
		for _, host := range []string{"app.test", "APP.test", "x.zone.test", "a.zone.test", "A.zone.test.:80", "unknown.test", strings.Repeat("a.", 5000) + "zone.test"} {
			b.Run(fmt.Sprintf("%d/%.20s", wildcards, host), func(b *testing.B) { e.load(b, host) })
		}
	}
}

// load sends b.N requests on a few connections.
func (e *realEnvoy) load(b *testing.B, host string) {
	const clients = 4
	before := cpuTicks(b, e.envoy.Pid())
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			if err := repeat(e.fleet.HTTP.String(), host, b.N/clients+min(1, max(0, b.N%clients-i))); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	const tick = 10_000 // µs
	b.ReportMetric(float64(cpuTicks(b, e.envoy.Pid())-before)*tick/float64(b.N), "µs-Envoy-CPU/op")
}

// repeat asks for a host n times on one connection.
func repeat(address, host string, n int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	request, r := "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n", bufio.NewReader(conn)
	for range n {
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
	}
	return nil
}

// cpuTicks is the CPU time of a process. See proc_pid_stat(5).
func cpuTicks(tb testing.TB, pid int) int {
	tb.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		tb.Fatalf("/proc/%d/stat: %s", pid, stat)
	}
	return user + system
}
