package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// crowdOfSockets are clients that each keep a WebSocket open, and open another when it ends.
type crowdOfSockets struct {
	url  string
	http *http.Client
	// pause is how long a client waits before it comes again.
	pause func() time.Duration

	mu sync.Mutex
	// closed are the codes by which sockets ended, refused the statuses of those that did not open.
	closed, refused map[int]int
	opened          []time.Time
	took            []time.Duration // to open each
	ends            []time.Time
}

// keep has one socket open, by one attempt after the other, until the context ends.
func (c *crowdOfSockets) keep(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		conn, resp, err := websocket.Dial(ctx, c.url, &websocket.DialOptions{HTTPClient: c.http})
		if ctx.Err() != nil {
			if conn != nil {
				_ = conn.CloseNow()
			}
			return
		}
		c.mu.Lock()
		if err == nil {
			c.opened, c.took = append(c.opened, time.Now()), append(c.took, time.Since(began))
		} else {
			status := -1
			if resp != nil {
				status = resp.StatusCode
			}
			c.refused[status]++
		}
		c.mu.Unlock()
		if err == nil {
			_, _, err = conn.Read(ctx)
			_ = conn.CloseNow()
			if ctx.Err() != nil {
				return
			}
			c.mu.Lock()
			c.closed[int(websocket.CloseStatus(err))]++
			c.ends = append(c.ends, time.Now())
			c.mu.Unlock()
		}
		select {
		case <-time.After(c.pause()):
		case <-ctx.Done():
		}
	}
}

// counts says how many sockets were opened so far, and how many have ended.
func (c *crowdOfSockets) counts() (opened, ended int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.opened), len(c.ends)
}

// figures says how clients came again after so many were opened: the most that came in a tenth of a
// second, and how long it took from the first end until all were back.
func (c *crowdOfSockets) figures(opened int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	again, peak := c.opened[opened:], 0
	for i := range again {
		n := 0
		for n = i; n < len(again) && again[n].Sub(again[i]) < 100*time.Millisecond; n++ {
		}
		peak = max(peak, n-i)
	}
	took := slices.Sorted(slices.Values(c.took[opened:]))
	return fmt.Sprintf("%d came again in %.1f s, at most %d in 0.1 s; opening took %s (p50), %s (p99); closed by %v, refused by %v",
		len(again), again[len(again)-1].Sub(c.ends[len(c.ends)-len(again)]).Seconds(), peak, took[len(took)/2].Round(100*time.Microsecond),
		took[len(took)*99/100].Round(100*time.Microsecond), c.closed, c.refused)
}

// An app with a thousand sockets is deployed anew. All are told 1001 by the app, come again, and
// none is refused, as there is an instance all the time. So it is when one dies, which tells
// nothing. How they spread over the time is up to the clients.
func TestRestartWithSockets(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]func() time.Duration{
		"at once":    func() time.Duration { return 0 },
		"within 3 s": func() time.Duration { return rand.N(3 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			w.marathon.deploy(app("/ws", "ws.test", 3))
			w.clients.expect("http://ws.test/", http.StatusOK, "/ws")
			const n = 1000
			client := w.clients.client(false)
			client.Timeout = 0
			crowd := &crowdOfSockets{url: "ws://ws.test/ws", http: client, pause: pause, closed: map[int]int{}, refused: map[int]int{}}
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			for range n {
				wg.Go(func() { crowd.keep(ctx) })
			}
			came := func(times int) func() error {
				return func() error {
					opened, ended := crowd.counts()
					if opened-ended != n || opened < times {
						return fmt.Errorf("%d are open, %d were opened", opened-ended, opened)
					}
					return nil
				}
			}
			w.eventually("all sockets are open", came(n))
			if err := w.marathon.Restart("/ws"); err != nil {
				t.Fatal(err)
			}
			w.marathon.idle()
			w.eventually("all come again", came(2*n))
			t.Log("deployed anew:", crowd.figures(n))
			if gone := crowd.closed[int(websocket.StatusGoingAway)]; gone < n {
				t.Errorf("%d were closed by 1001, want all", gone)
			}
			// An instance dies, and says nothing.
			opened, _ := crowd.counts()
			if err := w.marathon.Crash(w.marathon.Tasks("/ws")[0].ID); err != nil {
				t.Fatal(err)
			}
			w.eventually("those of the instance come again", came(opened+n/10))
			t.Log("one of three died:", crowd.figures(opened))
			if len(crowd.refused) > 0 {
				t.Errorf("some were refused: %v", crowd.refused)
			}
		})
	}
}
