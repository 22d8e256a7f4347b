package imp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relay/proxytlv"
	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

// between is the time between two devices that a server that ends tells to come again.
const between = 10 * time.Millisecond

// system is all servers.
type system struct {
	figures *scenario.Figures
	// agents is how connection servers reach the agents.
	agents *http.Client
	// reached counts connections that came to servers, unknown those of nobody who is known, and lied
	// those of devices that say that they are another one.
	reached, unknown, lied atomic.Int64
}

// connections is a connection server.
type connections struct {
	*system
	process *marathontest.Process
	counts  *scenario.Server

	mu    sync.Mutex
	turns int
}

func (s *system) connections(p *marathontest.Process) {
	c := &connections{system: s, process: p, counts: s.figures.Server(p)}
	defer c.counts.Left()
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := p.Listeners[0].Accept()
			if err != nil {
				return
			}
			accepting.Go(func() { c.serve(conn) })
		}
	})
	select {
	case <-p.Terminated():
		c.awaitNone()
	case <-p.Context().Done():
	}
	_ = p.Listeners[0].Close()
	accepting.Wait()
}

// awaitNone returns when there is no device any more, or the server is killed.
func (c *connections) awaitNone() {
	for scenario.Pause(c.process.Context(), scenario.Settle) {
		if c.figures.Open(c.process.App)[c.process.Task] == 0 {
			return
		}
	}
}

// serve has a device until it leaves.
func (c *connections) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(frameTimeout))
	who, err := proxytlv.Read(conn)
	if err != nil {
		return // a health check
	}
	c.reached.Add(1)
	if !who.Shown() || who.URI() == "" {
		c.unknown.Add(1)
		return
	}
	first, err := readFrame(conn)
	if err != nil || first.kind != hello {
		return
	}
	if first.text != path.Base(who.URI()) {
		c.lied.Add(1)
		return
	}
	defer c.counts.Opened()()
	d := &connected{conn: conn, id: first.text}
	if d.write(frame{welcome, c.counts.Name}) != nil {
		return
	}
	ctx, cancel := context.WithCancel(c.process.Context())
	var telling sync.WaitGroup
	telling.Go(func() {
		select {
		case <-c.process.Terminated():
			if scenario.Pause(ctx, c.turn()) {
				_ = d.write(frame{comeAgain, ""})
			}
		case <-ctx.Done():
		}
	})
	c.talk(ctx, d)
	cancel()
	telling.Wait()
}

// turn is when the next device is told to come again, from when the server was told to end.
func (c *connections) turn() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns++
	return scenario.Settle + time.Duration(c.turns)*between
}

// connected is a device that is connected.
type connected struct {
	conn net.Conn
	id   string
	mu   sync.Mutex // one frame at a time
}

func (d *connected) write(f frame) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.conn.SetWriteDeadline(time.Now().Add(frameTimeout))
	_, err := d.conn.Write(f.bytes())
	return err
}

// talk answers a device until it leaves. It may say nothing for as long as it likes.
func (c *connections) talk(ctx context.Context, d *connected) {
	_ = d.conn.SetReadDeadline(time.Time{})
	for {
		f, err := readFrame(d.conn)
		if err != nil {
			return
		}
		switch f.kind {
		case ping:
			f = frame{pong, f.text}
		case toAgent:
			if f.text, err = c.ask(ctx, d.id, f.text); err != nil {
				return
			}
			f.kind = fromAgent
		default:
			return
		}
		if d.write(f) != nil {
			return
		}
	}
}

// ask hands a message to the agent of a device.
func (c *connections) ask(ctx context.Context, id, text string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://agents.imp.test/agents/"+id, strings.NewReader(text))
	if err != nil {
		return "", err
	}
	resp, err := c.agents.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the agent of %s answers %s", id, resp.Status)
	}
	return string(answer), err
}

// agent has the agents of devices: each counts what its device has told it.
func (s *system) agent(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	var mu sync.Mutex
	told := make(map[string]int)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /agents/{id}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		told[r.PathValue("id")]++
		_, _ = fmt.Fprintf(w, "%d", told[r.PathValue("id")])
	})
	scenario.ServeHTTP(p, mux, nil)
}
