package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/ignored"
)

// from is a client at another address of this machine, with a User-Agent of its own if it is not empty.
func (c *clients) from(address, agent string) func(url string) answer {
	dialer := &net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, c.http)
		},
		DisableKeepAlives: true,
	}
	client := &http.Client{Transport: transport, Timeout: patience}
	return func(url string) answer {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			c.t.Error(err)
			return answer{}
		}
		if agent != "" {
			req.Header.Set("User-Agent", agent)
		}
		a, err := c.ask(client, req)
		if err != nil {
			c.t.Errorf("from %s, %q: %v", address, agent, err)
		}
		return a
	}
}

// Uptime checkers neither keep an app awake nor wake it: those of a network, and those of a User-Agent. Others do
// both. All get the app's own answer while it runs.
func TestIgnoredClientsNeitherKeepAwakeNorWake(t *testing.T) {
	w := newScalingWorld(t)
	var err error
	if w.relay.config.Scaling.Ignored, err = ignored.Parse([]string{"127.0.9.0/24", "UptimeRobot"}); err != nil {
		t.Fatal(err)
	}
	w.marathon.SetBoot("/sleepy", 50*time.Millisecond)
	w.marathon.deploy(w.dozer("/sleepy", "sleepy.test,*.sleepy.test", "RELAY_IDLE_AFTER", "2s"))
	w.startOften()
	checkers := map[string]func(string) answer{
		"of a network":      w.clients.from("127.0.9.1", ""),
		"by its User-Agent": w.clients.from("127.0.8.1", "Mozilla/5.0 (compatible; uptimerobot/2.0)"),
	}
	urls := []string{"http://sleepy.test/", "http://x.sleepy.test/", "http://SLEEPY.test/"}
	// Somebody who counts keeps it awake first.
	conn := w.clients.echo("ws://sleepy.test/ws")
	stop := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	served := 0
	for what, check := range checkers {
		all.Go(func() {
			for i := 0; ; i++ {
				a := check(urls[i%len(urls)])
				mu.Lock()
				switch code := a.header.Get("X-Relay-Error"); {
				case a.status == http.StatusOK && a.header.Get("X-App") == "/sleepy":
					served++
				case code == "asleep" && a.status == http.StatusServiceUnavailable:
				default:
					t.Errorf("a checker %s gets %d, %q: %.200q", what, a.status, code, a.body)
				}
				mu.Unlock()
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	w.awakeFor("/sleepy", 4*time.Second, "1 requests or connections are in progress")
	w.eventually("checkers are served while the app runs", func() error {
		mu.Lock()
		defer mu.Unlock()
		if served < 20 {
			return fmt.Errorf("%d times", served)
		}
		return nil
	})
	_ = conn.CloseNow()
	w.phase("/sleepy", api.PhaseAsleep)
	// They do not wake it, for all that they try.
	writes, until := w.writes("/sleepy"), time.Now().Add(3*time.Second)
	w.eventually("checkers try for a while", func() error {
		if s := w.scaling("/sleepy"); s.Phase != api.PhaseAsleep || w.writes("/sleepy") != writes {
			t.Fatalf("it was woken: %+v", s)
		}
		if time.Now().Before(until) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	// Somebody else does.
	if a := w.clients.from("127.0.8.1", "Mozilla/5.0")("http://x.sleepy.test/"); a.status != http.StatusOK {
		t.Errorf("a client that counts: %d %.200q", a.status, a.body)
	}
	w.phase("/sleepy", api.PhaseAsleep) // though checkers ask all the time
	close(stop)
	all.Wait()
	w.envoy.nothingRejected()
}
