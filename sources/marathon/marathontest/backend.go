package marathontest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// backend is the HTTP server of a task. A nil backend belongs to a phantom.
type backend struct {
	task, app, version string
	page               string // see spec
	// program is run in place of srv if it is not nil; process is it then.
	program Program
	process *Process

	srv       *http.Server
	listeners []net.Listener
	ctx       context.Context // ends with abort
	cancel    context.CancelFunc
	drain     chan struct{} // closed when the server stops gracefully
	drainOnce sync.Once
	wg        sync.WaitGroup // Serve loops and requests

	// booted is when the task began to serve, in nanoseconds of Unix time; 0 until then.
	booted atomic.Int64

	mu   sync.Mutex // guards over, and that no request is added to wg after it
	over bool
}

// PhantomTasks is a value for Options.Phantom that gives each task a host of
// its own in 10.0.0.0/8 and ports from 31000.
func PhantomTasks() func(app string, ports int) (string, []int) {
	var mu sync.Mutex
	var n uint32
	return func(_ string, ports int) (string, []int) {
		mu.Lock()
		defer mu.Unlock()
		n++
		list := make([]int, ports)
		for i := range list {
			list[i] = 31000 + i
		}
		return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String(), list
	}
}

// place gives t a host and ports, with a server behind them unless tasks are
// phantoms, and returns its IP addresses, which show only when it runs.
func (s *Server) place(t *task, def *definition) ([]IPAddress, error) {
	n := def.hostPorts()
	s.mu.Lock()
	s.nextIP++
	ip := s.nextIP
	s.mu.Unlock()
	if s.opts.Phantom != nil {
		host, ports := s.opts.Phantom(t.AppID, n)
		s.mu.Lock()
		t.Host, t.Ports = host, ports
		s.mu.Unlock()
		return taskAddress(def, host, ip, 9), nil
	}
	ips := taskAddress(def, "127.0.0.1", ip, 127)
	b := newBackend(t, def)
	if s.opts.Program != nil {
		b.program = s.opts.Program(t.AppID)
	}
	if b.program != nil {
		b.process = newProcess(b.ctx, t, def)
	}
	ports := make([]int, n)
	for i := range ports {
		ln, err := b.listen("127.0.0.1", 0)
		if err != nil {
			b.abort()
			return nil, err
		}
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	for _, port := range def.containerPorts() {
		if _, err := b.listen(ips[0].Address, port); err != nil {
			b.abort()
			return nil, err
		}
	}
	b.serve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		b.abort()
		return nil, net.ErrClosed
	}
	s.backends[b] = struct{}{}
	t.Host, t.Ports, t.backend = "127.0.0.1", ports, b
	return ips, nil
}

// taskAddress is the agent's address in host mode, a Docker address in bridge
// mode, and the task's own address, in net/8, on a container network.
func taskAddress(def *definition, host string, n uint32, net byte) []IPAddress {
	switch def.mode() {
	case "host":
		return []IPAddress{{host, "IPv4"}}
	case "container/bridge":
		return []IPAddress{{fmt.Sprintf("172.17.%d.%d", byte(n>>8), byte(n)), "IPv4"}}
	}
	return []IPAddress{{fmt.Sprintf("%d.%d.%d.%d", net, 64|byte(n>>16)&63, byte(n>>8), byte(n)), "IPv4"}}
}

// stopBackend ends the server of t, letting requests finish if graceful.
func (s *Server) stopBackend(t *task, graceful bool) {
	s.mu.Lock()
	b := t.backend
	s.mu.Unlock()
	if b == nil {
		return
	}
	if graceful && b.program == nil {
		b.stop(s.ctx)
	}
	b.abort()
	s.mu.Lock()
	delete(s.backends, b)
	s.mu.Unlock()
}

func newBackend(t *task, def *definition) *backend {
	b := &backend{task: t.ID, app: t.AppID, version: def.Version, page: def.Env.Page, drain: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.srv = &http.Server{
		Handler:           b,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	return b
}

// ServeHTTP answers every path, unclean ones included.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	over := b.over
	if !over {
		b.wg.Add(1)
	}
	b.mu.Unlock()
	if over {
		panic(http.ErrAbortHandler)
	}
	defer b.wg.Done()
	w.Header().Set("X-App", b.app)
	w.Header().Set("X-Task", b.task)
	w.Header().Set("X-Version", b.version)
	booted := b.booted.Load()
	if booted == 0 {
		http.Error(w, "the task still boots", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("X-Serves-Since", time.Unix(0, booted).UTC().Format(time.RFC3339Nano))
	switch r.URL.Path {
	case "/ws":
		b.webSocket(w, r)
	case "/slow":
		b.slow(w, r)
	case "/stream":
		b.stream(w, r)
	default:
		if b.page != "" {
			_, _ = io.WriteString(w, b.page)
			return
		}
		b.echo(w, r)
	}
}

func (b *backend) listen(host string, port int) (net.Listener, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("task %s: %w", b.task, err)
	}
	b.listeners = append(b.listeners, ln)
	if b.process != nil {
		b.process.Listeners = append(b.process.Listeners, ownListener{ln, b.process})
	}
	return ln, nil
}

// serve serves, unless a program does from when the task has booted.
func (b *backend) serve() {
	if b.program != nil {
		return
	}
	for _, ln := range b.listeners {
		b.wg.Go(func() { _ = b.srv.Serve(ln) })
	}
}

// stop lets requests in flight finish, for at most five seconds.
func (b *backend) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	b.drainOnce.Do(func() { close(b.drain) })
	_ = b.srv.Shutdown(ctx)
	b.refuse()
	finished := make(chan struct{})
	go func() { // WebSockets; abort, which follows, ends what is left
		b.wg.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
	}
}

func (b *backend) refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

// abort closes everything at once.
func (b *backend) abort() {
	if b == nil {
		return
	}
	b.refuse()
	b.cancel()
	_ = b.srv.Close()
	for _, ln := range b.listeners {
		_ = ln.Close()
	}
	if b.process != nil {
		b.process.kill()
	}
	b.wg.Wait()
}

// echo answers with what it knows of itself and of the request.
func (b *backend) echo(w http.ResponseWriter, r *http.Request) {
	_, port, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	body := map[string]any{
		"app": b.app, "task": b.task, "version": b.version, "port": port,
		"request": r.Method + " " + r.RequestURI + " " + r.Proto, "host": r.Host, "headers": r.Header,
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body)
}

func intParam(r *http.Request, name string, def int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n >= 0 {
		return n
	}
	return def
}

// slow answers after ms milliseconds.
func (b *backend) slow(w http.ResponseWriter, r *http.Request) {
	if b.wait(r, intParam(r, "ms", 1000)) {
		b.echo(w, r)
	}
}

// stream writes n lines (10), ms milliseconds (100) apart.
func (b *backend) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	for i := range intParam(r, "n", 10) {
		if i > 0 && !b.wait(r, intParam(r, "ms", 100)) {
			return
		}
		fmt.Fprintf(w, "%d %s\n", i, b.task)
		_ = http.NewResponseController(w).Flush()
	}
}

func (b *backend) wait(r *http.Request, ms int) bool {
	return sleep(r.Context(), time.Duration(ms)*time.Millisecond)
}

// webSocket echoes messages. A graceful stop says so to the client.
func (b *backend) webSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	over := make(chan struct{})
	defer close(over)
	b.wg.Go(func() {
		select {
		case <-b.drain:
			_ = c.Close(websocket.StatusGoingAway, "the task stops")
		case <-over:
		}
	})
	for {
		kind, data, err := c.Read(b.ctx)
		if err != nil || c.Write(b.ctx, kind, data) != nil {
			return
		}
	}
}
