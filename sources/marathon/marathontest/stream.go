package marathontest

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// StreamMode says how /v2/events treats its clients.
type StreamMode int

const (
	// StreamsServe is how a healthy Marathon behaves.
	StreamsServe StreamMode = iota
	// StreamsSilent accepts connections and sends the header, then not one
	// byte more, as a half-open connection. Streams open at the change fall
	// silent for good.
	StreamsSilent
	// StreamsEnd answers 200 and closes at once, as an instance that is elected
	// but not ready. Streams open at the change are cut.
	StreamsEnd
)

// SetStreams changes how event streams are treated.
func (s *Server) SetStreams(mode StreamMode) {
	s.bus.mu.Lock()
	s.bus.mode = mode
	if mode == StreamsSilent {
		for st := range s.bus.streams {
			st.silent.Store(true)
		}
	}
	s.bus.mu.Unlock()
	if mode == StreamsEnd {
		s.bus.cut()
	}
}

// CutStreams closes all event streams and returns how many there were.
func (s *Server) CutStreams() int { return s.bus.cut() }

// Streams returns how many event streams are open.
func (s *Server) Streams() int {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return len(s.bus.streams)
}

// DropEvents loses all events while drop is true, as releases before 1.8 do
// under load: streams stay open, with heartbeats.
func (s *Server) DropEvents(drop bool) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.drop = drop
}

// HoldEvents keeps all events back while hold is true, and then sends them.
func (s *Server) HoldEvents(hold bool) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.hold = hold
	if !hold {
		for _, e := range s.bus.held {
			s.bus.send(e)
		}
		s.bus.held = nil
	}
}

// stream is one client of /v2/events. It owns its connection, since the body
// has no length and no chunks and each heartbeat byte is a write of its own.
type stream struct {
	conn   net.Conn
	queue  chan Event
	types  []string // event_type filter; empty for all
	silent atomic.Bool
	once   sync.Once
	done   chan struct{}
}

func (st *stream) close() {
	st.once.Do(func() {
		close(st.done)
		_ = st.conn.Close()
	})
}

func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	if accept := r.Header.Values("Accept"); r.Method != http.MethodGet || len(accept) != 1 || accept[0] != "text/event-stream" {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	st := &stream{conn: conn, queue: make(chan Event, defaultTo(s.opts.Quirks.Outstanding, outstanding)), done: make(chan struct{})}
	if !s.opts.Quirks.IgnoreEventTypes {
		st.types = r.URL.Query()["event_type"]
	}
	defer st.close()
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	if !s.bus.attach(st, remote) {
		return
	}
	gone := make(chan struct{})
	go func() { // a client never sends more: the end of reading is its end
		defer close(gone)
		_, _ = conn.Read(make([]byte, 1))
		st.close()
	}()
	st.pump(s.opts.Heartbeat)
	st.close()
	<-gone
	s.bus.detach(st, remote)
}

// attach sends the header, then subscribes st and tells everyone, st first. It
// reports false when the stream is over already.
func (b *bus) attach(st *stream, remote string) bool {
	b.mu.Lock()
	mode, cuts := b.mode, b.cuts
	b.mu.Unlock()
	if !st.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\nConnection: close\r\n\r\n") || mode == StreamsEnd {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.cuts != cuts {
		return false
	}
	st.silent.Store(mode == StreamsSilent)
	b.streams[st] = struct{}{}
	b.publishLocked("event_stream_attached", map[string]any{"remoteAddress": remote}, true)
	return true
}

func (b *bus) detach(st *stream, remote string) {
	b.mu.Lock()
	delete(b.streams, st)
	closed := b.closed
	b.mu.Unlock()
	if !closed {
		b.publish("event_stream_detached", map[string]any{"remoteAddress": remote})
	}
}

// pump writes events and heartbeats until the stream is closed.
func (st *stream) pump(heartbeat time.Duration) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		ok := true
		select {
		case <-st.done:
			return
		case e := <-st.queue:
			if len(st.types) == 0 || slices.Contains(st.types, e.Type) {
				ok = st.write(strings.Join([]string{"event: ", e.Type, "\r\ndata: ", string(e.Data), "\r\n\r\n"}, ""))
			}
		case <-beat.C:
			ok = st.write("\r") && st.write("\n")
		}
		if !ok {
			return
		}
	}
}

// write sends b as one write, unless the stream was told to be silent. A client that does not read for 30 s is cut.
func (st *stream) write(b string) bool {
	if st.silent.Load() {
		return true
	}
	_ = st.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, err := st.conn.Write([]byte(b))
	return err == nil
}

// cut closes all streams, silent ones included.
func (b *bus) cut() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cuts++
	n := len(b.streams)
	for st := range b.streams {
		st.close()
	}
	clear(b.streams)
	return n
}

// close lets no stream attach any more.
func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
