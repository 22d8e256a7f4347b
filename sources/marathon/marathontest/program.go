package marathontest

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"time"
)

// defaultGrace is how long a program may go on after SIGTERM, unless its app says so by
// taskKillGracePeriodSeconds: as long as Mesos lets it by default.
const defaultGrace = 3 * time.Second

// Program is what the tasks of an app run in place of the server that echoes requests: see
// Options.Program. It begins when the task serves, and returns when it has ended. One that returns
// without having been told to is a failed task.
type Program func(p *Process)

// Process is a task as its program sees it.
type Process struct {
	// App, Task and Version name the task.
	App, Task, Version string
	// Env is that of the definition, but for what is no text.
	Env map[string]string
	// Listeners are those of the task's ports, in their order. What they accept is closed when the
	// process is killed.
	Listeners []net.Listener

	grace      time.Duration
	ctx        context.Context
	terminated chan struct{}
	terminate  func() // closes terminated
	ended      chan struct{}
	started    bool // guarded by Server.mu

	mu     sync.Mutex
	killed bool
	open   map[net.Conn]struct{}
}

// Terminated is closed when the process is told to end (SIGTERM).
func (p *Process) Terminated() <-chan struct{} { return p.terminated }

// Context ends when the process is killed (SIGKILL): when the grace period is over, or with Server.Crash.
func (p *Process) Context() context.Context { return p.ctx }

func newProcess(ctx context.Context, t *task, def *definition) *Process {
	p := &Process{
		App: t.AppID, Task: t.ID, Version: def.Version, Env: make(map[string]string), grace: defaultGrace, ctx: ctx,
		terminated: make(chan struct{}), ended: make(chan struct{}), open: make(map[net.Conn]struct{}),
	}
	p.terminate = sync.OnceFunc(func() { close(p.terminated) })
	if s := def.KillGraceSeconds; s != nil {
		p.grace = time.Duration(*s * float64(time.Second))
	}
	var given struct{ Env map[string]any }
	_ = json.Unmarshal(def.json, &given) // it was read before
	for name, value := range given.Env {
		if text, ok := value.(string); ok {
			p.Env[name] = text
		}
	}
	return p
}

// run runs the program unless the task is over.
func (p *Process) run(program Program) {
	defer close(p.ended)
	program(p)
}

// kill closes all connections, and all that are still accepted.
func (p *Process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	for conn := range p.open {
		_ = conn.Close()
	}
	clear(p.open)
}

// ownListener notes the connections of a process.
type ownListener struct {
	net.Listener
	process *Process
}

// Accept returns the next connection.
func (l ownListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p := l.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	p.open[conn] = struct{}{}
	return &ownConn{conn, p}, nil
}

// ownConn is a connection of a process.
type ownConn struct {
	net.Conn
	process *Process
}

// Close closes the connection.
func (c *ownConn) Close() error {
	c.process.mu.Lock()
	delete(c.process.open, c.Conn)
	c.process.mu.Unlock()
	return c.Conn.Close()
}

// startProgram runs the program of a task, if it has one, and notes when that ends by itself. The
// caller holds s.mu.
func (s *Server) startProgram(t *task) {
	b := t.backend
	if b == nil || b.program == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || s.closed || t.dead || t.killing || t.inst.stop {
		return
	}
	b.process.started = true
	b.wg.Go(func() { b.process.run(b.program) })
	s.spawn(func() {
		select {
		case <-b.process.ended:
		case <-s.ctx.Done():
			return
		}
		select {
		case <-b.process.terminated:
		default:
			s.fail(t, "Command exited with status 0", true)
		}
	})
}

// outlive waits for as long as a task may go on after it was told to stop. It returns false if the
// Server ends first.
func (s *Server) outlive(t *task) bool {
	if t == nil {
		return sleep(s.ctx, s.opts.KillGrace)
	}
	s.mu.Lock()
	b := t.backend
	started := b != nil && b.process != nil && b.process.started
	s.mu.Unlock()
	if !started {
		return sleep(s.ctx, s.opts.KillGrace)
	}
	p := b.process
	p.terminate()
	ctx, cancel := context.WithTimeout(s.ctx, p.grace)
	defer cancel()
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
	return s.ctx.Err() == nil
}
