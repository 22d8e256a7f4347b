package monitoring

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

// slow is how long the shop takes when it is slow: longer than its label allows.
const slow = 2 * time.Second

// system is all servers, and what is wrong with them.
type system struct {
	figures *scenario.Figures
	// slow and fails are of the shop.
	slow, fails atomic.Bool
	agents      blackHole
	// agent returns where the agents are.
	agent func() string
}

// blackHole is a machine that takes everything and answers nothing.
type blackHole struct {
	mu   sync.Mutex
	open chan struct{} // closed when it is mended; nil if it is well
}

func (b *blackHole) set(broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil {
		close(b.open)
		b.open = nil
	}
	if broken {
		b.open = make(chan struct{})
	}
}

// pass waits while the machine is away. It returns false if the context ends first.
func (b *blackHole) pass(ctx context.Context) bool {
	b.mu.Lock()
	open := b.open
	b.mu.Unlock()
	if open == nil {
		return true
	}
	select {
	case <-open:
		return true
	case <-ctx.Done():
		return false
	}
}

// shop sells, and search finds.
func (s *system) shop(p *marathontest.Process) {
	s.web(p, func(w http.ResponseWriter, r *http.Request) {
		if s.slow.Load() {
			scenario.Pause(r.Context(), slow)
		}
		if s.fails.Load() {
			http.Error(w, "the database is away", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "welcome to the shop")
	})
}

func (s *system) search(p *marathontest.Process) {
	s.web(p, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "something was found") })
}

func (s *system) web(p *marathontest.Process, handler http.HandlerFunc) {
	counts := s.figures.Server(p)
	defer counts.Left()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /", handler)
	scenario.ServeHTTP(p, mux, nil)
}

// agentsServer has an agent for each device: it is told something, and asked, and calls somebody.
func (s *system) agentsServer(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /agents/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "agent %s heard %s", r.PathValue("id"), r.URL.Query().Get("n"))
	})
	mux.HandleFunc("POST /agents/{id}/calls", func(w http.ResponseWriter, r *http.Request) {
		if _, err := get(r.Context(), r.URL.Query().Get("to")); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	scenario.ServeHTTP(p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.agents.pass(r.Context()) {
			mux.ServeHTTP(w, r)
		}
	}), nil)
}

// connections has the connections of devices, and hands what they say to their agents.
func (s *system) connections(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := p.Listeners[0].Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				defer counts.Opened()()
				s.talk(p.Context(), conn)
			})
		}
	})
	select {
	case <-p.Terminated():
	case <-p.Context().Done():
	}
	_ = p.Listeners[0].Close()
	serving.Wait()
}

// talk answers the lines of a device: who it is, and what it tells its agent.
func (s *system) talk(ctx context.Context, conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewScanner(io.LimitReader(conn, 64<<10))
	id := ""
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch word {
		case "HELLO":
			id = rest
			_, err = fmt.Fprintf(conn, "WELCOME %s\n", id)
		case "SAY":
			var heard string
			if heard, err = get(ctx, "http://"+s.agent()+"/agents/"+id+"?n="+rest); err == nil {
				_, err = fmt.Fprintf(conn, "HEARD %s\n%s\n", rest, heard)
			}
		default:
			return
		}
		if err != nil {
			return
		}
	}
}

// get reads a text.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(text), err
}
