package device

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/probe"
)

func within(t *testing.T, w *world, d time.Duration) probe.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return w.prober.Probe(ctx, w.target)
}

// A probe ends soon after its context, wherever it is.
func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*world){
		TLS:              func(w *world) { w.serverTLS, w.answer = nil, nothing },
		Hello:            instead("HELLO", nothing),
		MessageFromAgent: instead("SAY", says("HEARD %s\n")),
		HTTPToAgent:      agentInstead(deviceID, silent),
		HTTPFromAgent:    agentInstead("/calls", silent),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.limits(8 * time.Second)
			broken(w)
			w.start()
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan probe.Result, 1)
			go func() { ended <- w.prober.Probe(ctx, w.target) }()
			eventually(t, "it is connected", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.conns) > 0
			})
			cancel()
			begin := time.Now()
			r := <-ended
			if took := time.Since(begin); r.OK || took > 4*time.Second {
				t.Errorf("it ended %s after its context: %+v", took, r)
			}
		})
	}
}

// A server that sends without end, all at once or byte by byte, costs a bounded amount.
func TestFloods(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]int{"all at once": 64 << 10, "byte by byte": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.limits(8 * time.Second)
			var sent atomic.Int64
			instead("HELLO", func(conn net.Conn, _ string) {
				for text := bytes.Repeat([]byte("x"), piece); ; {
					n, err := conn.Write(text)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			})(w)
			w.start()
			fails(t, w.probe(), Hello, "much came that does not fit")
		})
	}
}

// Two hundred devices at once, some of which are hung up on, cost little each, and none disturbs another one.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	w.limits(time.Minute)
	var hear sync.WaitGroup
	hear.Add(200)
	release := make(chan struct{})
	instead("SAY", func(conn net.Conn, line string) {
		hear.Done()
		<-release
		if strings.HasSuffix(line, "0") || strings.HasSuffix(line, "1") { // of its nonce
			_ = conn.Close()
			return
		}
		wellAnswered(conn, line)
	})(w)
	w.start()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	count := make(map[string]int)
	var probing sync.WaitGroup
	for range 200 {
		probing.Go(func() {
			r := w.prober.Probe(ctx, w.target)
			mu.Lock()
			defer mu.Unlock()
			count[fmt.Sprint(r.OK, " ", r.Reason)]++
		})
	}
	hear.Wait()
	runtime.GC()
	runtime.ReadMemStats(&during)
	if each := int64(during.HeapAlloc-before.HeapAlloc) / 200; each > 256<<10 {
		t.Errorf("each takes %d bytes, with its server", each)
	}
	close(release)
	probing.Wait()
	for what, n := range count {
		if !strings.HasPrefix(what, "true") && what != "false message to the agent: the connection was closed" {
			t.Errorf("%d are %s", n, what)
		}
	}
	if count["true "] == 0 || len(count) > 2 {
		t.Errorf("%v", count)
	}
	w.prober.callbacks.mu.Lock()
	defer w.prober.callbacks.mu.Unlock()
	if n := len(w.prober.callbacks.waiting); n != 0 {
		t.Errorf("%d calls are still waited for", n)
	}
}
