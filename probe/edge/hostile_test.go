package edge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/probe"
	"relay/probe/edge"
	"relay/xds/envoytest"
)

// An app can answer anything: it costs its probe, and no more than its bounds. It runs beside no other test, which would
// allocate too.
func TestHostile(t *testing.T) {
	block := strings.Repeat("x", 32<<10)
	endless := func(first, more string) func(net.Conn) {
		return func(conn net.Conn) {
			_, err := io.WriteString(conn, first)
			for err == nil {
				_, err = io.WriteString(conn, more)
			}
		}
	}
	drip := func(first string) func(net.Conn) {
		return func(conn net.Conn) {
			_, err := io.WriteString(conn, first)
			for err == nil {
				time.Sleep(5 * time.Millisecond)
				_, err = io.WriteString(conn, "x")
			}
		}
	}
	tests := []struct {
		name   string
		handle func(net.Conn)
		ask    probe.Ask
		ok     bool
		reason string
	}{
		{"an endless body", endless(head(200), block), probe.Ask{}, true, ""},
		{"an endless body without the text", endless(head(200), block), probe.Ask{Contains: "hello"}, false, `body: the text "hello" is not in the 1048576 bytes`},
		{"endless chunks of one byte", endless(head(200, "Transfer-Encoding: chunked"), "1;"+strings.Repeat("y", 3000)+"\r\nx\r\n"), probe.Ask{}, false, "body: "},
		{"endless headers", endless("HTTP/1.1 200 OK\r\n", "A: "+block+"\r\n"), probe.Ask{}, false, "answer: the head of the answer is larger than 64 kB"},
		{"an endless line", endless("HTTP/1.1 200 OK\r\nA: ", block), probe.Ask{}, false, "answer: the head of the answer is larger than 64 kB"},
		{"an endless status", endless("", block), probe.Ask{}, false, "answer: the head of the answer is larger than 64 kB"},
		{"a body that drips", drip(head(200)), probe.Ask{}, false, "body: the answer 200 does not end"},
		{"a head that drips", drip("HTTP/1.1 200 OK\r\nA: "), probe.Ask{}, false, "answer: no answer in time"},
		{"silence", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, probe.Ask{}, false, "answer: no answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slow := strings.HasSuffix(tt.name, "drips") || tt.name == "silence"
			if slow {
				t.Parallel()
			}
			var sent atomic.Int64
			address := serve(t, func(conn net.Conn) { tt.handle(counting{conn, &sent}) })
			before := allocated()
			timeout := 20 * time.Second
			if slow {
				timeout = 3 * time.Second // which ends them, and is enough for what comes before
			}
			r := ask(t, probe.Target{Kind: probe.HTTP, Address: address, Domain: "a.test", Ask: tt.ask}, timeout)
			if r.OK != tt.ok || !strings.HasPrefix(r.Reason, tt.reason) || len(r.Reason) > 300 {
				t.Errorf("got %+v", r)
			}
			if used := allocated() - before; used > 16<<20 {
				t.Errorf("%d bytes were made for it", used)
			}
			if n := sent.Load(); n > 8<<20 {
				t.Errorf("%d bytes were taken", n)
			}
		})
	}
}

// Of a body no more is waited for than is looked at: what comes slowly after that takes no time of the probe.
func TestRestOfABody(t *testing.T) {
	t.Parallel()
	for name, asks := range map[string]probe.Ask{"large": {}, "with the text, larger": {Contains: "xxx"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := strings.Repeat("x", 64<<10)
			if asks.Contains != "" {
				begin = strings.Repeat("x", 1<<20)
			}
			address := serve(t, func(conn net.Conn) {
				_, err := io.WriteString(conn, head(200, "Content-Length: 10000000")+begin)
				if err == nil {
					_, _ = io.Copy(io.Discard, conn) // until the probe goes
				}
			})
			r := ask(t, probe.Target{Kind: probe.HTTP, Address: address, Domain: "a.test", Ask: asks}, 20*time.Second)
			if !r.OK || r.Duration > 15*time.Second {
				t.Errorf("it took %v: %q", r.Duration, r.Reason)
			}
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// counting counts what is written.
type counting struct {
	net.Conn
	n *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func TestTCP(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		handle func(net.Conn)
		reason string
	}{
		{"waits", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, ""},
		{"speaks", func(conn net.Conn) { _, _ = io.WriteString(conn, "220 hello\r\n") }, ""},
		{"closes", func(net.Conn) {}, "stays open: the connection was closed at once"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			address := serve(t, tt.handle)
			ask := func() (probe.Result, time.Duration) {
				begin := time.Now()
				r := edge.TCP{Prober: &edge.Prober{}}.Probe(ctx, probe.Target{Kind: probe.TCP, Address: address})
				return r, time.Since(begin)
			}
			r, took := ask()
			for tt.reason != "" && r.OK && ctx.Err() == nil { // on a busy machine it may be closed after the probe
				r, _ = ask()
			}
			if r.OK != (tt.reason == "") || !strings.HasPrefix(r.Reason, tt.reason) {
				t.Errorf("got %+v", r)
			}
			if waited := took - r.Duration; tt.name == "waits" && waited < 300*time.Millisecond {
				t.Errorf("it took %v, and %v of it are told: that nothing came counts", took, r.Duration)
			}
		})
	}
	refused := closedPort(t)
	r := edge.TCP{Prober: &edge.Prober{}}.Probe(t.Context(), probe.Target{Kind: probe.TCP, Address: refused})
	if r.OK || r.Answered || r.Reason != "connect: the connection was refused" {
		t.Errorf("got %+v", r)
	}
}

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	return fmt.Sprint("127.0.0.1:", envoytest.FreePort(t))
}
