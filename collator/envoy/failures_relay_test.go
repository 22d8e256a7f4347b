package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/sources"
)

// A Relay that hangs or is away costs no request anything, and Envoy a bounded memory. When it is
// back, it is told of failures again.
func TestRelayThatHangs(t *testing.T) {
	t.Parallel()
	e, other := startEnvoy(t), startEnvoy(t)
	for _, e := range []*realEnvoy{e, other} {
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{e.app("/well", "well.test"), changed(webApp("/offline", "offline.test"), func(p *sources.Port) { p.Endpoints = nil })})
		e.eventually(t, request{host: "well.test", path: "/"}, fromApp("/well"))
	}
	const n = 4000
	e.failQuickly(t, n)
	before := e.memory(t)
	// How long it takes depends on what else the machine does. So an Envoy with a Relay that is well is asked at the same time.
	quick := func(what string) {
		t.Helper()
		var hanging, well took
		var both sync.WaitGroup
		both.Go(func() { hanging = e.failQuickly(t, n) })
		both.Go(func() { well = other.failQuickly(t, n) })
		both.Wait()
		if hanging.median > 3*well.median+2*time.Millisecond {
			t.Errorf("%s: requests take %s in the middle, and %s while all is well", what, hanging.median, well.median)
		}
		if hanging.longest > 20*time.Second { // Envoy takes 40 s to notice
			t.Errorf("%s: a request took %s", what, hanging.longest)
		}
	}
	resume := e.link.hang()
	t.Cleanup(resume)
	for sent := 0; e.dropped(t) == 0; sent += n {
		if sent > 400_000 {
			t.Fatal("Envoy drops nothing of what it cannot send")
		}
		quick("Relay hangs")
	}
	// Each of Envoy's workers keeps what fits into the window of its stream, and memory that is
	// free again is not always given back.
	const room = 64 << 10 // kB
	if got := e.memory(t); got > before+room {
		t.Errorf("Envoy took %d kB before, and %d kB", before, got)
	}
	resume()
	comeBack := e.link.leave()
	quick("Relay is away")
	told := e.counted(t, "offline")
	comeBack()
	e.until(t, "Relay is told again", func() bool {
		e.failQuickly(t, 4)
		return e.counted(t, "offline") > told
	})
}

// dropped is how many entries Envoy did not keep.
func (e *realEnvoy) dropped(t *testing.T) int64 {
	t.Helper()
	const stat = "access_logs.grpc_access_log.logs_dropped"
	stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(stat)+"$"))
	if err != nil {
		t.Fatal(err)
	}
	return stats[stat]
}

// memory is how much Envoy takes, in kB.
func (e *realEnvoy) memory(t testing.TB) (kB int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.envoy.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if kB, err = strconv.Atoi(strings.Fields(value)[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kB
}

// took is how long requests took: the one in the middle, and the longest.
type took struct{ median, longest time.Duration }

// failQuickly sends requests that fail, and returns how long they took.
func (e *realEnvoy) failQuickly(t *testing.T, n int) took {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			client := e.client(t, false)
			for range n / 4 {
				start := time.Now()
				resp, err := client.Do(newRequest(t, http.MethodGet, "offline.test", nil))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("status %d", resp.StatusCode)
				}
				mu.Lock()
				all = append(all, time.Since(start))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if len(all) == 0 {
		t.Error("no request was answered")
		return took{}
	}
	return took{all[len(all)/2], all[len(all)-1]}
}
