package e2e

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/admin/api"
)

// What is open for longer than the idle time is use, though nothing is said on it. When it has ended, the app
// sleeps.
func TestInUseNeverSleeps(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(w *world) (check, end func()){
		"a long download":    longDownload,
		"a silent answer":    silentAnswer,
		"a silent WebSocket": silentWebSocket,
		"a TCP connection":   silentConnection,
	} {
		t.Run(name, func(t *testing.T) {
			w := dozing(t, "HAPROXY_GROUP", "external")
			check, end := open(w)
			w.awakeFor("/sleepy", 4*time.Second, "requests or connections are in progress")
			check()
			end()
			w.phase("/sleepy", api.PhaseAsleep)
			w.has("/sleepy", 0, "2")
		})
	}
}

// longDownload takes all the time of the test: a line each 20 ms.
func longDownload(w *world) (check, end func()) {
	w.startOften()
	ctx, cancel := context.WithCancel(w.t.Context())
	client := w.clients.client(false)
	client.Timeout = 0
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sleepy.test/stream?n=1000000&ms=20", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%+v %v", resp, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		ended <- err
	}()
	check = func() {
		select {
		case err := <-ended:
			w.t.Errorf("the download ended: %v", err)
		default:
		}
	}
	return check, func() { cancel(); _ = resp.Body.Close() }
}

// silentAnswer is to a request on which nothing moves for long.
func silentAnswer(w *world) (check, end func()) {
	w.startOften()
	client := w.clients.client(false)
	client.Timeout = patience
	got := make(chan error, 1)
	go func() {
		a, err := w.clients.get(client, "http://sleepy.test/slow?ms=8000", "")
		if err == nil {
			err = ok(a)
		}
		got <- err
	}()
	return func() {
		if err := <-got; err != nil {
			w.t.Errorf("the answer: %v", err)
		}
	}, func() {}
}

func silentWebSocket(w *world) (check, end func()) {
	w.startOften()
	conn := w.clients.echo("ws://sleepy.test/ws")
	return func() { w.clients.says(conn, "still here") },
		func() { _ = conn.Close(websocket.StatusNormalClosure, "") }
}

func silentConnection(w *world) (check, end func()) {
	port, db := w.tcp.port()
	w.marathon.deploy(w.dozer("/sleepy", "", modeLabel, "tcp", portLabel, port, "RELAY_0_WAKE", "any"))
	w.startOften()
	var conn lineConn
	w.eventually("a connection", func() error {
		var err error
		if conn, err = w.tcp.dial(db, nil, ""); err != nil {
			return err
		}
		return askedOver(conn)
	})
	return func() {
		if err := askedOver(conn); err != nil {
			w.t.Errorf("the connection: %v", err)
		}
	}, func() { _ = conn.Close() }
}

// A request that waits in a queue keeps the app awake, though no Envoy reports it.
func TestQueuedIsUse(t *testing.T) {
	w := dozing(t, "HAPROXY_GROUP", "external", "RELAY_0_CONCURRENCY", "1", "RELAY_0_QUEUE", "10")
	w.startOften()
	client := w.clients.client(false)
	client.Timeout = patience
	const requests = 3 // for two instances
	answers := make(chan error, requests)
	for range requests {
		go func() {
			a, err := w.clients.get(client, "http://sleepy.test/slow?ms=12000", "")
			if err == nil {
				err = ok(a)
			}
			answers <- err
		}()
	}
	w.awakeFor("/sleepy", 4*time.Second, "1 request waits in its queue")
	for range requests {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	w.phase("/sleepy", api.PhaseAsleep)
}

// Clients that come now and then, more often than the idle time, keep the app awake at each of its domains.
func TestNowAndThenIsUse(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.deploy(w.dozer("/sleepy", "sleepy.test,*.sleepy.test", "RELAY_IDLE_AFTER", "10s"))
	w.startOften()
	stop := make(chan struct{})
	ended := make(chan struct{})
	client := w.clients.client(false)
	go func() {
		defer close(ended)
		tick := time.NewTicker(1500 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			a, err := w.clients.get(client, "http://"+[]string{"sleepy.test", "a.sleepy.test", "B.Sleepy.Test"}[i%3]+"/", "")
			if err != nil || a.status != http.StatusOK {
				t.Errorf("request %d: %d %v", i, a.status, err)
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	w.awakeFor("/sleepy", 13*time.Second, "the last request was")
	if n := w.relay.count("app_falling_asleep"); n > 0 {
		t.Errorf("it began to fall asleep %d times", n)
	}
	close(stop)
	<-ended
	w.phase("/sleepy", api.PhaseAsleep)
	if s := w.scaling("/sleepy"); s.Before != 2 {
		t.Errorf("%+v", s)
	}
}
