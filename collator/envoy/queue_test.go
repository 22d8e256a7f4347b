package envoy_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/scaling/queue"
	"relay/sources"
)

// atOnce sends so many requests at once, by all Envoys in turn, and counts the answers by status.
func (w *queueWorld) atOnce(n int) (statuses map[int]int, answers []*http.Response) {
	w.t.Helper()
	return w.atOnceThen(n, 0, nil)
}

// atOnceThen does something when so many were refused.
func (w *queueWorld) atOnceThen(n, refused int, then func()) (statuses map[int]int, answers []*http.Response) {
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0, DisableKeepAlives: true}}
	statuses = make(map[int]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			resp, _, err := w.get(client, i, "/")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				w.t.Error(err)
				return
			}
			statuses[resp.StatusCode]++
			if then != nil && resp.StatusCode == 523 && statuses[523] == refused {
				then()
			}
			answers = append(answers, resp)
		})
	}
	wg.Wait()
	return statuses, answers
}

func TestQueue(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 40}, 10*time.Millisecond, 3, 1, 1)
	statuses, answers := w.atOnceThen(60, 17, hold(w.instances))
	if statuses[200] != 43 || statuses[523] != 17 {
		t.Errorf("answers by status: %v, want 43 x 200 and 17 x 523", statuses)
	}
	for _, a := range answers {
		if a.StatusCode == 523 && a.Header.Get("Retry-After") != "30" {
			t.Errorf("told to come again: %v", a.Header)
		}
	}
	if w.most() != 1 {
		t.Errorf("an instance had %d requests at once", w.most())
	}
	_, body, err := w.get(http.DefaultClient, 0, "/")
	if err != nil || strings.Contains(strings.ToLower(body), "relay") {
		t.Errorf("the app sees: %s, %v", body, err)
	}
}

// A slow instance delays no more than its own request: all others are answered before it answers one.
func TestQueueSlowInstance(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 40}, 10*time.Millisecond, 3, 1, 1)
	release := hold(w.instances[:1])
	go func() {
		defer release()
		w.eventually("all others are answered", func() bool {
			d := w.relays[0].service.Depth("/shop/web", 0)
			return w.answered() == 42 && d.Waiting == 0 && d.InProgress == 1
		})
	}()
	if statuses, _ := w.atOnce(43); statuses[200] != 43 || w.most() != 1 {
		t.Errorf("answers %v, at most %d at once", statuses, w.most())
	}
	if n := w.instances[0].in.Load(); n != 1 {
		t.Errorf("the slow instance got %d requests", n)
	}
}

// All Envoys share the queue of one Relay; the other Relay is not asked.
func TestQueueIsShared(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 2, Length: 20}, 10*time.Millisecond, 2, 2, 2)
	statuses, _ := w.atOnceThen(40, 16, hold(w.instances))
	if statuses[200] != 24 || statuses[523] != 16 || w.most() != 2 {
		t.Errorf("answers by status: %v, at most %d at once", statuses, w.most())
	}
	if first, second := w.relays[0].asked.Load(), w.relays[1].asked.Load(); first != 40 || second != 0 {
		t.Errorf("the Relays were asked %d and %d times", first, second)
	}
}

// Those that wait for a Relay that ends wait at the next one.
func TestQueueNextRelay(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 40}, 10*time.Millisecond, 2, 2, 1)
	release := hold(w.instances)
	go func() {
		defer release()
		w.eventually("20 in the queue", func() bool { return w.relays[0].service.Depth("/shop/web", 0).Waiting == 18 })
		w.relays[0].server.Stop()
		w.eventually("they are in the next one", func() bool { return w.relays[1].asked.Load() == 18 })
	}()
	statuses, _ := w.atOnce(20)
	if statuses[200] != 20 {
		t.Errorf("answers by status: %v", statuses)
	}
	// The next Relay does not know of the two in progress.
	if most := w.most(); most > 2 {
		t.Errorf("an instance had %d requests at once", most)
	}
	if n := w.relays[1].asked.Load(); n != 18 {
		t.Errorf("the next Relay was asked %d times", n)
	}
	if statuses, _ = w.atOnce(10); statuses[200] != 10 || w.relays[1].asked.Load() != 28 {
		t.Errorf("later: %v, asked %d times", statuses, w.relays[1].asked.Load())
	}
}

// Without any Relay, requests go through at once, also those that wait.
func TestQueueWithoutRelay(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 40}, 10*time.Millisecond, 2, 1, 1)
	release := hold(w.instances)
	go func() {
		defer release()
		w.eventually("20 in the queue", func() bool { return w.relays[0].service.Depth("/shop/web", 0).Waiting == 18 })
		w.relays[0].server.Stop()
		w.eventually("all are at the instances", func() bool { return w.inProgress() == 20 })
	}()
	if statuses, _ := w.atOnce(20); statuses[200] != 20 {
		t.Errorf("answers %v", statuses)
	}
	later := hold(w.instances)
	go func() {
		defer later()
		w.eventually("all are at the instances later", func() bool { return w.inProgress() == 10 })
	}()
	if statuses, _ := w.atOnce(10); statuses[200] != 10 {
		t.Errorf("later: %v", statuses)
	}
}

// A WebSocket has its instance until it ends, and so has a client that sends much.
func TestQueueWebSocketAndUpload(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 1}, 10*time.Millisecond, 1, 1, 1)
	ctx, cancel := contextOf(t)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+w.envoys[0]+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	say := func() {
		if err := ws.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	say()
	uploaded := make(chan string, 1)
	go func() {
		resp, err := http.Post("http://"+w.envoys[0]+"/", "application/octet-stream", bytes.NewReader(make([]byte, 5<<20)))
		if err != nil {
			uploaded <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		first, _, _ := strings.Cut(string(body), "\n")
		uploaded <- first
	}()
	w.eventually("the upload waits", func() bool { return w.relays[0].service.Depth("/shop/web", 0).Waiting == 1 })
	if statuses, _ := w.atOnce(1); statuses[523] != 1 {
		t.Errorf("one more than may wait: %v", statuses)
	}
	say()
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	if got := <-uploaded; got != "5242880 bytes" {
		t.Errorf("the app got %s", got)
	}
	w.eventually("nothing is left", func() bool { return w.relays[0].service.Depth("/shop/web", 0).InProgress == 0 })
}

// A client that leaves while it waits, or while its request is in progress, leaves no trace.
func TestQueueClientLeaves(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 10}, time.Hour, 1, 1, 1)
	depth := func() queue.Depth { return w.relays[0].service.Depth("/shop/web", 0) }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.envoys[0]+"/", nil)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
				t.Errorf("answered: %s", resp.Status)
			}
		})
	}
	w.eventually("4 wait", func() bool { return depth().Waiting == 4 && depth().InProgress == 1 })
	cancel()
	wg.Wait()
	w.eventually("nobody waits", func() bool { return depth().Waiting == 0 && depth().InProgress == 0 })
}

// A request that has waited for too long is refused. An instance that comes takes one that waits.
func TestQueueTimeoutAndNewInstance(t *testing.T) {
	t.Parallel()
	w := startQueue(t, sources.Queue{Concurrency: 1, Length: 10, Timeout: 300 * time.Millisecond}, 10*time.Millisecond, 2, 1, 1)
	both := w.apps.port.Endpoints
	w.apps.set(func(p *queue.Port) { p.Endpoints = both[:1] })
	statuses, _ := w.atOnceThen(3, 2, hold(w.instances))
	if statuses[200] != 1 || statuses[523] != 2 {
		t.Errorf("with one instance: %v", statuses)
	}
	w.apps.set(func(p *queue.Port) { p.Queue = &sources.Queue{Concurrency: 1, Length: 10} })
	release := hold(w.instances)
	go func() {
		defer release()
		w.eventually("2 wait", func() bool { return w.relays[0].service.Depth("/shop/web", 0).Waiting == 2 })
		w.apps.set(func(p *queue.Port) { p.Endpoints = both })
		w.eventually("one waits", func() bool { return w.relays[0].service.Depth("/shop/web", 0).Waiting == 1 && w.inProgress() == 2 })
	}()
	if statuses, _ = w.atOnce(3); statuses[200] != 3 || w.most() != 1 {
		t.Errorf("with one more: %v, at most %d", statuses, w.most())
	}
}
