package scenario

import (
	"context"
	"io"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"relay/sources/marathon/marathontest"
)

// Settle is how long a server that is told to end still takes what comes, as Envoys may not know yet.
const Settle = 500 * time.Millisecond

// ServeHTTP is how a web server that behaves well ends: told to end, it takes requests for a moment
// longer, finishes all that it has, WebSockets included, and returns.
func ServeHTTP(p *marathontest.Process, handler http.Handler, sockets *Sockets) {
	ctx := p.Context()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(p.Listeners[0]) })
	select {
	case <-p.Terminated():
		if Pause(ctx, Settle) && server.Shutdown(ctx) == nil && sockets != nil {
			sockets.open.Wait()
		}
	case <-ctx.Done():
	}
	_ = server.Close()
	serving.Wait()
}

// Sockets are the WebSockets of a server.
type Sockets struct {
	process *marathontest.Process
	figures *Server
	every   time.Duration
	open    sync.WaitGroup

	mu    sync.Mutex
	turns int
}

// NewSockets returns those of a process. When that is told to end, each client is told to go (close
// code 1001), one after the other: all at once, they would come back all at once.
func NewSockets(p *marathontest.Process, figures *Server, every time.Duration) *Sockets {
	return &Sockets{process: p, figures: figures, every: every}
}

// Serve accepts a WebSocket, and runs talk until that returns or its context ends.
func (s *Sockets) Serve(w http.ResponseWriter, req *http.Request, protocol string, talk func(ctx context.Context, conn *websocket.Conn) error) {
	s.open.Add(1)
	defer s.open.Done()
	conn, err := websocket.Accept(w, req, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{protocol}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	defer s.figures.Opened()()
	ctx, cancel := context.WithCancel(s.process.Context())
	var telling sync.WaitGroup
	telling.Go(func() {
		select {
		case <-s.process.Terminated():
		case <-ctx.Done():
			return
		}
		if Pause(ctx, s.turn()) {
			_ = conn.Close(websocket.StatusGoingAway, "this server ends: come again")
		}
	})
	if err := talk(ctx, conn); err == nil {
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}
	cancel()
	telling.Wait()
}

// turn is when the next socket is told to go, from when the process was.
func (s *Sockets) turn() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns++
	return Settle + time.Duration(s.turns)*s.every
}
