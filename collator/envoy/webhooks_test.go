package envoy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

// inbox counts, by id, how often instances have read a request.
type inbox struct {
	mu   sync.Mutex
	read map[string]int
}

func (b *inbox) note(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read == nil {
		b.read = make(map[string]int)
	}
	b.read[id]++
}

func (b *inbox) times(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read[id]
}

// hook is an instance that reads each request, notes it, and then does what the test says; end ends its connection.
func (e *realEnvoy) hook(b *inbox, answer func(conn *net.TCPConn)) string {
	return e.instance(func(conn *net.TCPConn) {
		reader := bufio.NewReader(conn)
		for {
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if strings.HasPrefix(r.URL.Path, "/hooks/") {
				b.note(strings.TrimPrefix(r.URL.Path, "/hooks/"))
			}
			answer(conn)
		}
	})
}

func answers(conn *net.TCPConn) {
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

// A webhook that an instance has read is sent to no other, whatever becomes of the instance. One that did not reach an
// instance is sent to another, also while its id belongs to the one that cannot be reached.
func TestWebhooksAreNotSentTwice(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startEnvoyWith(t, envoytest.Options{Version: version, Args: nothingEjected})
		var read inbox
		reset := func(conn *net.TCPConn) { _ = conn.SetLinger(0); _ = conn.Close() }
		bad := map[string]string{
			"refuses":        fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)),
			"resets":         e.hook(&read, reset),
			"closes":         e.hook(&read, func(conn *net.TCPConn) { _ = conn.Close() }),
			"dies-answering": e.hook(&read, func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConte"); reset(conn) }),
		}
		var apps []*sources.App
		for name, address := range bad {
			apps = append(apps, changed(webApp("/"+name, name+".test"), func(p *sources.Port) {
				p.HTTP, p.Upstream = &sources.HTTP{Hash: &sources.Hash{By: sources.HashPathSegment, Segment: 2}}, &sources.Upstream{Balance: sources.BalanceHash}
				p.Endpoints = endpoints(e.hook(&read, answers), address, e.hook(&read, answers))
				for i := range p.Endpoints {
					p.Endpoints[i].Slot = i + 1
				}
			}))
		}
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps(apps)
		client := e.client(t, false)
		for name := range bad {
			e.eventually(t, request{host: name + ".test", path: "/"}, func(a answer) bool { return a.status != 404 })
			failed := 0
			const n = 60
			for i := range n {
				id := fmt.Sprintf("%s-%d", name, i)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+name+".test/hooks/"+id, strings.NewReader("payload"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					failed++
				}
				if got := read.times(id); got != 1 {
					t.Errorf("%s, status %d: %s was read %d times", name, resp.StatusCode, id, got)
				}
			}
			switch {
			case name == "refuses" && failed > 0:
				t.Errorf("%s: %d of %d failed that could have gone to another instance", name, failed, n)
			case name != "refuses" && (failed < n/6 || failed > n/2):
				t.Errorf("%s: %d of %d failed, want those of one instance of three", name, failed, n)
			}
		}
	})
}

// A call to an agent may take longer than other requests of the fleet may, if its labels say so.
func TestLongCalls(t *testing.T) {
	t.Parallel()
	short, ended := 300*time.Millisecond, make(chan struct{})
	defer close(ended)
	e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.Options.StreamIdleTimeout = short })
	// One that is to be given up never answers: else that and its answer might come at one moment.
	slow := e.hook(new(inbox), func(conn *net.TCPConn) {
		timer := time.NewTimer(4 * short)
		defer timer.Stop()
		<-timer.C
		answers(conn)
	})
	silent := e.hook(new(inbox), func(*net.TCPConn) { <-ended })
	call := func(id, instance string, h sources.HTTP) *sources.App {
		return changed(webApp("/"+id, id+".test"), func(p *sources.Port) {
			h.Hash = &sources.Hash{By: sources.HashPathSegment, Segment: 2}
			p.HTTP, p.Upstream, p.Endpoints = &h, &sources.Upstream{Balance: sources.BalanceHash}, endpoints(instance)
		})
	}
	never, long := time.Duration(0), patience
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{
		call("fleet", silent, sources.HTTP{}),
		call("never", slow, sources.HTTP{IdleTimeout: &never}),
		call("longer", slow, sources.HTTP{IdleTimeout: &long, Timeout: &long}),
		call("limited", silent, sources.HTTP{IdleTimeout: &never, Timeout: &short}),
		call("idle", silent, sources.HTTP{IdleTimeout: &short}),
	})
	var all sync.WaitGroup
	for id, want := range map[string]int{"fleet": 504, "never": 200, "longer": 200, "limited": 504, "idle": 504} {
		all.Go(func() {
			e.eventually(t, request{host: id + ".test", path: "/agents/a"}, func(a answer) bool {
				if a.status != 404 && a.status != want {
					t.Errorf("%s: status %d, want %d", id, a.status, want)
					return true
				}
				return a.status == want
			})
		})
	}
	all.Wait()
}
