package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"relay/admin/api"
	"relay/internal/guard"
	"relay/internal/panics"
)

const (
	eventsPath = "/api/v1/events"
	// eventsPause is how long events are gathered: each reader is sent them in one piece.
	eventsPause = 250 * time.Millisecond
	// heartbeat keeps proxies from closing a stream on which nothing happens.
	heartbeat = 15 * time.Second
	// maxReaders is how many may read events at a time, and maxUnread how many pieces one of them
	// may be late before it is cut off.
	maxReaders, maxUnread = 100, 16
	// sendTime is how long a piece may take to be written.
	sendTime = 10 * time.Second
	// maxAtOnce is how many changes, and how many failures, are sent in one piece, and maxReplayed
	// how many changes to a reader that comes back.
	maxAtOnce, maxReplayed = 100, 1000
)

// hub makes events while somebody reads them. Each is made and encoded once, for all readers.
type hub struct {
	server *Server
	life   string

	mu      sync.Mutex
	readers map[*reader]struct{}
	// now is what makes events; nil while nobody reads.
	now *gatherer
}

// gatherer makes events, from when the first reader comes until the last has left.
type gatherer struct {
	server *Server
	// idle is closed when the last reader has left.
	idle chan struct{}
	// change and failure are the ids of the last ones sent. Readers that come read change.
	change  atomic.Uint64
	failure uint64
	// etag is that of the last status sent, statusAt is when it was looked at last.
	etag     string
	statusAt time.Time
	problems problemEvents
}

// reader is somebody who reads events.
type reader struct {
	pieces chan []byte
	// late is closed when it is cut off.
	late chan struct{}
}

func newHub(s *Server) *hub {
	return &hub{server: s, life: newLife(), readers: make(map[*reader]struct{})}
}

// events answers /api/v1/events with a stream of server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). It ends when the reader goes
// or does not read, and when the server stops.
func (s *Server) events(w http.ResponseWriter, r *http.Request, _ query) {
	seen, err := parseEventID(r.Header.Get("Last-Event-ID"))
	if err != nil {
		s.fail(w, err)
		return
	}
	one, first := s.hub.join(seen)
	if one == nil {
		s.refusals.Refuse(r.RemoteAddr, guard.Refusal{Kind: guard.TooMany, Who: "readers of events", Reason: fmt.Sprintf(
			"%d read events: see who keeps so many pages open", maxReaders)})
		w.Header().Set("Retry-After", "10")
		s.json(w, http.StatusServiceUnavailable, api.Error{Error: "too many read events"})
		return
	}
	defer s.hub.leave(one)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	stream := newStream(w)
	if r.Method == http.MethodHead || !stream.send(first) {
		return
	}
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		piece := []byte(":\n\n")
		select {
		case <-r.Context().Done():
			return
		case <-s.stopping.Done():
			return
		case <-one.late:
			return
		case piece = <-one.pieces:
		case <-ticker.C:
			if !s.cfg.Access.stillAllows(r) {
				return // its token or certificate has changed or ended
			}
		}
		if !stream.send(piece) {
			return
		}
	}
}

// stream is an answer that goes on. The limits of the server on how long a request may take are
// for others: here each piece has one.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newStream(w http.ResponseWriter) stream {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // a recorder in a test has none
	return stream{w, control}
}

// send reports whether the piece was written.
func (s stream) send(piece []byte) bool {
	_ = s.control.SetWriteDeadline(time.Now().Add(sendTime))
	if _, err := s.w.Write(piece); err != nil {
		return false
	}
	return s.control.Flush() == nil
}

// join adds a reader, unless there are too many. first is what it is sent at once: the status,
// and the changes after those that it has seen.
func (h *hub) join(seen *eventID) (one *reader, first []byte) {
	status := h.server.statusEvent()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) >= maxReaders || h.server.stopping.Err() != nil {
		return nil, nil
	}
	if h.now == nil {
		h.now = newGatherer(h.server)
		go h.run(h.now)
	}
	one = &reader{make(chan []byte, maxUnread), make(chan struct{})}
	h.readers[one] = struct{}{}
	var b bytes.Buffer
	b.WriteString("retry: 2000\n")
	history := h.server.cfg.History
	if history == nil {
		b.WriteString("\n")
		b.Write(status)
		return one, b.Bytes()
	}
	newest := h.now.change.Load()
	after := seen.after(h.life, newest)
	b.WriteString("id: " + eventID{h.life, after}.String() + "\n") // of the status
	b.Write(status)
	if after < newest {
		for _, c := range history.ChangesAfter(after, maxReplayed) {
			if c.ID <= newest {
				writeEvent(&b, api.EventChange, eventID{h.life, c.ID}.String(), c)
			}
		}
	}
	return one, b.Bytes()
}

// newGatherer returns one that tells what happens from now on.
func newGatherer(s *Server) *gatherer {
	g := &gatherer{server: s, idle: make(chan struct{})}
	if s.cfg.History != nil {
		if newest, _ := s.cfg.History.Changes(ChangeQuery{Limit: 1}); len(newest) > 0 {
			g.change.Store(newest[0].ID)
		}
	}
	if s.cfg.Failures != nil {
		if newest, _ := s.cfg.Failures.Failures(FailureQuery{Limit: 1}); len(newest) > 0 {
			g.failure = newest[0].ID
		}
	}
	return g
}

func (h *hub) leave(one *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.readers, one)
	h.restIfIdle()
}

// cut cuts a reader off. The caller holds the lock.
func (h *hub) cut(one *reader) {
	delete(h.readers, one)
	close(one.late)
}

// restIfIdle ends the gatherer if nobody reads. The caller holds the lock.
func (h *hub) restIfIdle() {
	if len(h.readers) == 0 && h.now != nil {
		close(h.now.idle)
		h.now = nil
	}
}

// run gathers events until nobody reads them.
func (h *hub) run(g *gatherer) {
	ticker := time.NewTicker(eventsPause)
	defer ticker.Stop()
	for {
		select {
		case <-g.idle:
			return
		case <-ticker.C:
		}
		var piece []byte
		err := panics.Catch(func() error {
			piece = g.gather(time.Now())
			return nil
		})
		failed := panics.Log(h.server.cfg.Log, err, "subject", "events")
		h.tell(g, piece, failed)
	}
}

// tell sends a piece to all readers, and cuts off those that do not read, or all.
func (h *hub) tell(g *gatherer, piece []byte, cutAll bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now != g || len(piece) == 0 && !cutAll {
		return
	}
	for one := range h.readers {
		if cutAll {
			h.cut(one)
			continue
		}
		select {
		case one.pieces <- piece:
		default:
			h.cut(one)
		}
	}
	h.restIfIdle()
}

// gather returns what has happened since it was called last.
func (g *gatherer) gather(now time.Time) []byte {
	var b bytes.Buffer
	cfg := &g.server.cfg
	if cfg.History != nil {
		for _, c := range cfg.History.ChangesAfter(g.change.Load(), maxAtOnce) {
			g.change.Store(c.ID)
			writeEvent(&b, api.EventChange, eventID{g.server.hub.life, c.ID}.String(), c)
		}
	}
	if cfg.Failures != nil {
		for _, f := range cfg.Failures.FailuresAfter(g.failure, maxAtOnce) {
			g.failure = f.ID
			writeEvent(&b, api.EventFailure, "", f)
		}
	}
	if now.Sub(g.statusAt) < statusAge {
		return b.Bytes()
	}
	g.statusAt = now
	if _, e, err := g.server.currentStatus(); err == nil && e.etag != g.etag {
		g.etag = e.etag
		b.Write(g.server.statusEvent())
	}
	if event, any := g.problems.next(g.server.problems.current(cfg.Views, now)); any {
		writeEvent(&b, api.EventProblem, "", event)
	}
	return b.Bytes()
}

// statusEvent returns the status as an event, with the newest point in place of the series.
func (s *Server) statusEvent() []byte {
	s.shared.events.Lock()
	defer s.shared.events.Unlock()
	status, e, err := s.currentStatus()
	if err != nil {
		return nil
	}
	if s.shared.eventOf != e.etag {
		short := *status
		short.Series, short.Point = nil, pointOf(status.Series)
		var b bytes.Buffer
		writeEvent(&b, api.EventStatus, "", short)
		s.shared.event, s.shared.eventOf = b.Bytes(), e.etag
	}
	return s.shared.event
}

// pointOf returns the newest point of a series; nil if there is none.
func pointOf(s *api.Series) *api.Point {
	if s == nil || len(s.Requests) == 0 {
		return nil
	}
	last := len(s.Requests) - 1
	return &api.Point{
		Time: s.Start.Add(time.Duration(last*s.Step) * time.Second), Requests: s.Requests[last], Errors: s.Errors[last],
		Failures: s.Failures[last], Changes: s.Changes[last], P50: s.P50[last], P99: s.P99[last],
	}
}

// writeEvent writes an event; id may be empty.
func writeEvent(b *bytes.Buffer, name, id string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		return // it was encoded before, as a part of an answer
	}
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("event: " + name + "\ndata: ")
	b.Write(text) // one line: JSON has none in it
	b.WriteString("\n\n")
}
