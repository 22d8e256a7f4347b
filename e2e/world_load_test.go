package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// load sends requests at a rate until stop is called, which returns how many
// were sent and what failed. On a machine that is too slow for the rate there are fewer: no more are in
// progress at once than half a second brings, or they would wait for each other until clients give up.
type load struct {
	sent *atomic.Int64
	stop func() (failures []string)
}

func (c *clients) load(perSecond int, check func(answer) error, urls ...string) load {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	client := c.client(!c.fresh)
	client.Timeout = patience // one of thousands takes more than ten seconds where many others want the processors
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failures []string
	var sent atomic.Int64
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	places := make(chan struct{}, max(10, perSecond/2))
	wg.Add(1)
	go func() {
		defer wg.Done()
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case <-ctx.Done():
				return
			case places <- struct{}{}:
			}
			sent.Add(1)
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer func() { <-places }()
				began := time.Now()
				came, traced := howFar()
				req, err := http.NewRequestWithContext(traced, http.MethodGet, urls[i%len(urls)], nil)
				var a answer
				if err == nil {
					a, err = c.ask(client, req)
				}
				if err == nil {
					err = check(a)
				}
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					failures = append(failures, fmt.Sprintf("%s at %s for %s: %s: %v", urls[i%len(urls)], began.UTC().Format("15:04:05.000"), time.Since(began).Round(time.Millisecond), came(), err))
				}
			}()
		}
	}()
	return load{sent: &sent, stop: func() []string {
		cancel()
		wg.Wait()
		return failures
	}}
}

// howFar notes how far a request with the context has come, for who looks for the one that was not answered.
func howFar() (came func() string, traced context.Context) {
	var last atomic.Value
	last.Store("no connection")
	return func() string { return last.Load().(string) }, httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) {
			last.Store(fmt.Sprintf("connected from %s, used before: %t", c.Conn.LocalAddr(), c.Reused))
		},
		WroteRequest: func(w httptrace.WroteRequestInfo) {
			last.Store(fmt.Sprintf("%s; written: %v", last.Load(), w.Err == nil))
		},
		GotFirstResponseByte: func() { last.Store(last.Load().(string) + "; the answer began") },
	})
}

// noFailure ends a load, once it has sent so many requests that it proves
// something, and fails the test if one failed.
func (c *clients) noFailure(l load, atLeast int64) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%d requests", atLeast), func() error {
		if n := l.sent.Load(); n < atLeast {
			return fmt.Errorf("%d were sent", n)
		}
		return nil
	})
	if failures := l.stop(); len(failures) > 0 {
		c.t.Errorf("%d of %d requests failed, the first: %s", len(failures), l.sent.Load(), failures[0])
	}
}
