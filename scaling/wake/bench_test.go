package wake

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkHeldRequest measures what a request takes that is held: memory in Envoy and here. The
// clients are in this process, too, as plain connections that take next to nothing.
func BenchmarkHeldRequest(b *testing.B) {
	const n = 2000
	for b.Loop() {
		w := startEnvoyWorld(b, usual, 2)
		w.apps.set("/app", State{Phase: Waking, Timeout: time.Hour})
		hold := func(n int) (conns []net.Conn) {
			for range n {
				conn, err := net.Dial("tcp", w.http)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: app.test\r\nUser-Agent: %s\r\nAccept: text/html\r\n\r\n", strings.Repeat("a", 120))
				conns = append(conns, conn)
			}
			return conns
		}
		few := hold(50) // what is there once is there
		w.waitHeld(50)
		envoy, here, goroutines := residentOf(b, w.envoy.Pid()), memoryHere(), runtime.NumGoroutine()
		most := hold(n - 50)
		w.waitHeld(n)
		per := func(now, before int) float64 { return float64(now-before) / float64(n-50) }
		b.ReportMetric(per(residentOf(b, w.envoy.Pid()), envoy), "envoy-B/request")
		b.ReportMetric(per(memoryHere(), here), "relay-B/request")
		b.ReportMetric(per(runtime.NumGoroutine(), goroutines), "goroutines/request")
		for _, conn := range append(few, most...) {
			_ = conn.Close()
		}
		w.waitHeld(0)
	}
}

// memoryHere is what is in use of heap and stacks, in bytes.
func memoryHere() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// residentOf is the memory of a process, in bytes.
func residentOf(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kB, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kB << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
